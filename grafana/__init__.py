# SPDX-License-Identifier: GPL-2.0-or-later
"""Dashboards, recording rules and alerts, generated from the table of metrics; not installed."""
