# SPDX-License-Identifier: GPL-2.0-or-later
"""From what a user gave, on a command line or in a machine file, to a checked configuration."""
