# SPDX-License-Identifier: GPL-2.0-or-later
"""Block backends as seen from the machine."""
