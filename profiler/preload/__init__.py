# SPDX-License-Identifier: GPL-2.0-or-later
"""The library that is preloaded into QEMU: its C sources, and where the built one is."""

from pathlib import Path

from profiler.errors import UserError

_NAME = "libbqlrecorder.so"


def library_path() -> Path:
    """Absolute path of libbqlrecorder.so.

    Raises UserError if it was not built, as in a source tree that was never installed.
    """
    path = Path(__file__).resolve().parent / _NAME
    if not path.is_file():
        raise UserError(f"{_NAME} is missing; 'make build' or 'pip install .' builds it")
    return path
