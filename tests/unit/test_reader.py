# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader against recordings whose content is known to the last tick."""
