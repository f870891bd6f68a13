# SPDX-License-Identifier: GPL-2.0-or-later
"""The one kind of error that a monitor command gives its client."""

from enum import Enum

from vmm.errors import VmmError


class ErrorClass(Enum):
    """QAPI's QapiErrorClass: what a program may act on; everything else is GenericError."""

    GENERIC = "GenericError"
    COMMAND_NOT_FOUND = "CommandNotFound"
    DEVICE_NOT_ACTIVE = "DeviceNotActive"
    DEVICE_NOT_FOUND = "DeviceNotFound"
    KVM_MISSING_CAP = "KVMMissingCap"


class MonitorError(VmmError):
    """A refused command; the text is for people, QEMU's own where QEMU has that error."""

    def __init__(self, desc: str, error_class: ErrorClass = ErrorClass.GENERIC) -> None:
        super().__init__(desc)
        self.error_class = error_class
