# SPDX-License-Identifier: GPL-2.0-or-later
"""Device models in Python: the callback path, in five steps.

1. A vCPU exit finds the region; unless it is lock-free, the BQL is taken at the region's site.
2. C (native/python/pyregion.h) takes the GIL and books that wait into the hold's GIL column.
3. cffi calls ``vmm_py_io_read`` / ``vmm_py_io_write`` below with the region's handle.
4. The device's method runs. An exception never crosses C: ``_on_error`` keeps it in the region and
   files a VM request; the guest reads all ones.
5. The main loop takes the request, stops the vCPUs and re-raises the exception with its traceback.
"""

from types import TracebackType
from typing import Any, Protocol

from vmm._native import ffi, lib


class RegionHandler(Protocol):
    """A device in Python. ``offset`` is relative to the region, ``size`` 1, 2, 4 or 8 bytes."""

    def read(self, offset: int, size: int) -> int:
        """Value of a register; cut to ``size`` bytes by the caller."""

    def write(self, offset: int, value: int, size: int) -> None:
        """A register write."""


class PythonRegion:
    """Binds a RegionHandler to the native dispatch.

    Args:
        name: the region's name in recordings.
        handler: the device.
        bql: native Bql; requests: native VmRequests.
    """

    def __init__(self, name: str, handler: RegionHandler, bql: Any, requests: Any) -> None:
        self.name = name
        self.handler = handler
        self.error: BaseException | None = None
        self._requests = requests
        self._handle = ffi.new_handle(self)
        self.native = ffi.new("PyRegion *", {"bql": bql, "handle": self._handle})

    @staticmethod
    def ops() -> Any:
        """The native ops table whose opaque is ``native``."""
        return lib.python_region_ops()

    def failed(self, error: BaseException) -> None:
        """Keep the first exception and ask the main loop to stop the VM."""
        if self.error is None:
            self.error = error
        message = f"device '{self.name}': {type(error).__name__}: {error}"
        text = ffi.new("char[]", message.encode(errors="replace")[:400])
        lib.vm_request_file(
            self._requests,
            ffi.cast("int", lib.VM_REQUEST_CALLBACK_ERROR),
            ffi.cast("int", 0),
            ffi.cast("int", -1),
            b"%s",
            text,
        )


def _on_error(
    _kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> int | None:
    """cffi's onerror: find the region in the failed frame's arguments."""
    handle = traceback.tb_frame.f_locals.get("handle") if traceback is not None else None
    if handle is None:
        return None
    ffi.from_handle(handle).failed(error.with_traceback(traceback))  # cffi leaves that to us
    return 0xFFFF_FFFF_FFFF_FFFF


@ffi.def_extern(name="vmm_py_io_read", error=0xFFFF_FFFF_FFFF_FFFF, onerror=_on_error)  # type: ignore[untyped-decorator, unused-ignore]
def _io_read(handle: Any, offset: int, size: int) -> int:
    region: PythonRegion = ffi.from_handle(handle)
    return region.handler.read(offset, size) & 0xFFFF_FFFF_FFFF_FFFF


def _on_write_error(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _on_error(kind, error, traceback)


@ffi.def_extern(name="vmm_py_io_write", onerror=_on_write_error)  # type: ignore[untyped-decorator, unused-ignore]
def _io_write(handle: Any, offset: int, value: int, size: int) -> None:
    region: PythonRegion = ffi.from_handle(handle)
    region.handler.write(offset, value, size)
