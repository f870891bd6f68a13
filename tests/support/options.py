# SPDX-License-Identifier: GPL-2.0-or-later
"""Machine options from short texts, for tests that build a MachineConfig themselves."""

from vmm.block.options import DriveError, DriveOptions, parse_drive
from vmm.cmdline.given import from_text
from vmm.cmdline.objects import ObjectOptions, object_options
from vmm.errors import VmmError
from vmm.object_types import type_registry


def parse_object(text: str) -> ObjectOptions:
    """``iothread,id=io0,poll-max-ns=32768``, as QEMU's -object.

    Raises:
        VmmError: not of that form.
    """
    return object_options(from_text("--object", text, "qom-type"), type_registry())


def parse_drives(texts: tuple[str, ...]) -> tuple[DriveOptions, ...]:
    """All ``--drive`` strings.

    Raises:
        VmmError: one of them is wrong; the message names it.
    """
    drives = []
    for text in texts:
        try:
            drives.append(parse_drive(text))
        except DriveError as error:
            raise VmmError(f"--drive {text}: {error}") from None
    return tuple(drives)
