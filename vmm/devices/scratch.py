# SPDX-License-Identifier: GPL-2.0-or-later
"""A register that does nothing, in Python: the yardstick for Python device callbacks."""


class PythonScratch:
    """A RegionHandler: plain state, whose low bytes are read and written."""

    def __init__(self) -> None:
        self._value = 0

    def read(self, offset: int, size: int) -> int:
        """The value from byte ``offset`` on."""
        return self._value >> (8 * offset)

    def write(self, offset: int, value: int, size: int) -> None:
        """Replace the value."""
        self._value = value
