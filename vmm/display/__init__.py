# SPDX-License-Identifier: GPL-2.0-or-later
"""What the guest shows: the framebuffer device, its console, screen dumps, and VNC."""
