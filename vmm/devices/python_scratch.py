# SPDX-License-Identifier: GPL-2.0-or-later
"""A register in Python: the yardstick for Python device callbacks."""


class PythonScratch:
    """Plain state behind a Python handler."""

    def __init__(self) -> None:
        self._value = 0

    def read(self, offset: int, size: int) -> int:
        """What was written, from ``offset`` on."""
        return self._value >> (8 * offset)

    def write(self, offset: int, value: int, size: int) -> None:
        """Keep the value."""
        self._value = value
