# SPDX-License-Identifier: GPL-2.0-or-later
"""The RFB protocol (RFC 6143 and the community's extensions) without I/O.

Bytes in, typed events out; calls in, bytes out. Sockets, clocks and threads live in
``vmm.display.vnc``. A peer that breaks the protocol raises RfbError and nothing else; whatever it
sends, a session keeps at most one incomplete message of bounded length.
"""
