# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of the VMM, and the one translator from C return codes to exceptions."""

import errno as _errno
import os
from typing import Any, ClassVar


class VmmError(Exception):
    """Something a person can fix: the message is one line and names the way out."""

    QAPI_CLASS: ClassVar[str] = "GenericError"
    """QAPI's QapiErrorClass, for monitors."""


class DeviceNotFoundError(VmmError):
    """There is no device or object of this id; the message is QEMU's."""

    QAPI_CLASS = "DeviceNotFound"

    def __init__(self, device_id: str) -> None:
        super().__init__(f"Device '{device_id}' not found")


class KeyedError(VmmError):
    """An error about one key of a set of keys and values.

    Args:
        key: which, so that its line in a machine file can be told; nested keys with dots.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class CallbackError(VmmError):
    """A Python device callback raised; the original exception is the cause."""


def check(result: int, what: str) -> int:
    """Return ``result`` when it is not negative, else raise the OSError of errno ``-result``.

    Raises:
        OSError: of the errno's own subclass, its text starting with ``what``.
    """
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


def check_pointer(ffi: Any, pointer: Any, what: str) -> Any:
    """Return ``pointer`` unless it is NULL, in which case raise OSError from C's errno."""
    if pointer == ffi.NULL:
        code = ffi.errno or _errno.ENOMEM
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return pointer
