# SPDX-License-Identifier: GPL-2.0-or-later
"""The human monitor: a line in, text out, in QEMU's words."""
