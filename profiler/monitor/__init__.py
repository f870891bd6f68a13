# SPDX-License-Identifier: GPL-2.0-or-later
"""Talking to a monitor, ours or QEMU's: `bqlscope monitor`.

a line -> syntax -> client (a thread with the qemu.qmp library) -> output
             completion <- query-commands, query-qmp-schema, help
"""
