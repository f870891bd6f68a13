# SPDX-License-Identifier: GPL-2.0-or-later
"""The screen: framebuffer device, console, screen dumps."""
