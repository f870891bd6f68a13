# SPDX-License-Identifier: GPL-2.0-or-later
"""One dashboard, one file."""

from grafana.board import Board
from grafana.boards import blame, fleet, health, overview, virtio_blk


def boards() -> tuple[Board, ...]:
    """All dashboards."""
    return tuple(module.board() for module in (overview, blame, virtio_blk, fleet, health))
