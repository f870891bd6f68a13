# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM virtual machine monitor with QEMU's thread architecture and a timed big lock."""
