# SPDX-License-Identifier: GPL-2.0-or-later
"""What changed between two recordings, or between two saved comparisons.

Rule: nothing is called a change that the data cannot carry. Two recordings have no interval, so
their figures stand side by side without a judgement; two comparisons have trials, so a ratio of
medians gets a bootstrap interval, and one that contains 1 is no finding.
"""
