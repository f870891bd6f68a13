# SPDX-License-Identifier: GPL-2.0-or-later
"""An unmodified QEMU: its monitor, memory map and lock statistics, and how it is recorded."""
