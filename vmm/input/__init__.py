# SPDX-License-Identifier: GPL-2.0-or-later
"""Keyboard and pointer input: names and codes of keys, and the way from a client to a device."""
