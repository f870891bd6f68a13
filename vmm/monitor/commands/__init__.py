# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands, by subject as QEMU's qapi/ has them. Each module gives ``COMMANDS``."""
