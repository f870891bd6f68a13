# SPDX-License-Identifier: GPL-2.0-or-later
"""Serves the numbers of lock recordings to monitoring systems."""
