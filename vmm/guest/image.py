# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the built micro-guest is."""

from pathlib import Path

from vmm.errors import VmmError


def micro_guest_path() -> Path:
    """Path of ``microguest.elf``.

    Raises:
        VmmError: it has not been built.
    """
    path = Path(__file__).with_name("microguest.elf")
    if not path.exists():
        raise VmmError("the micro-guest is not built: run 'make build'")
    return path
