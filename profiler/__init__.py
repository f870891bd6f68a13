# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads lock recordings and turns them into tables, comparisons and verdicts."""
