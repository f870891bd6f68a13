# SPDX-License-Identifier: GPL-2.0-or-later
"""The ``iothread`` object: an event loop in a thread of its own, off the BQL."""

from typing import Any

from vmm._native import ffi, lib
from vmm.errors import VmmError, check_pointer
from vmm.qom import HostCpu, Integer, Property, QomObject

DEFAULT_POLL_MAX_NS = 32768  # QEMU's
_NATURAL = Integer(low=0)


class IoThread(QomObject):
    """An iothread. Set properties, then ``realize``; poll parameters may change while it runs."""

    TYPE = "iothread"
    USER_CREATABLE = True

    poll_max_ns = Property(_NATURAL, DEFAULT_POLL_MAX_NS, "longest busy poll in ns", live=True)
    poll_grow = Property(_NATURAL, 0, "factor by which polling grows (0: 2)", live=True)
    poll_shrink = Property(_NATURAL, 0, "divisor by which it shrinks (0: to none)", live=True)
    cpu = Property(HostCpu(), -1, "host CPU to run on (-1: any)")

    def __init__(self, object_id: str) -> None:
        if not 0 < len(object_id.encode()) <= 12:
            raise VmmError(f"iothread id '{object_id}' must be 1 to 12 bytes long")
        super().__init__(object_id)
        self._native: Any = None

    def realize(self, recorder: Any) -> None:
        """Start the thread (``IO <id>``). ``recorder``: native BqlRec or NULL.

        Raises:
            VmmError: the thread or its event loop could not be made.
        """
        config = ffi.new("AioConfig *", {"ring": True, "poll_max_ns": self.poll_max_ns})
        config.poll_grow, config.poll_shrink = self.poll_grow, self.poll_shrink
        native = lib.iothread_new(self.id.encode(), config, self.cpu, recorder)
        try:
            self._native = check_pointer(ffi, native, f"starting iothread {self.id}")
        except OSError as error:
            hint = f": does the host have CPU {self.cpu}?" if self.cpu >= 0 else ""
            raise VmmError(f"{error.strerror}{hint}") from error
        self.realized = True

    @property
    def tid(self) -> int:
        """OS thread id. The thread must be running."""
        return int(lib.iothread_tid(self._native))

    @property
    def context(self) -> Any:
        """The native AioContext."""
        return lib.iothread_context(self._native)

    def property_changed(self, name: str) -> None:
        """Apply new poll parameters from the next iteration on."""
        lib.aio_set_poll_params(self.context, self.poll_max_ns, self.poll_grow, self.poll_shrink)

    def unrealize(self) -> None:
        """Stop and join the thread; nothing may be attached to it any more."""
        if self.realized:
            lib.iothread_free(self._native)
            self.realized = False
