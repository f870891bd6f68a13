# SPDX-License-Identifier: GPL-2.0-or-later
"""Accelerators: who executes the guest."""
