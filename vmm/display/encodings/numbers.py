# SPDX-License-Identifier: GPL-2.0-or-later
"""Encoding numbers (the RFB registry; RFC 6143 section 8.4.1)."""

RAW = 0
COPYRECT = 1
HEXTILE = 5
ZLIB = 6
TIGHT = 7
TRLE = 15
ZRLE = 16
CURSOR = -239
CURSOR_WITH_ALPHA = -314
