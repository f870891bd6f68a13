# SPDX-License-Identifier: GPL-2.0-or-later
"""Stop, go on, reset, end: the run state of a machine and what changes it.

::

    prelaunch --cont--> running <--stop / cont--> paused
        ^                  |  guest or device asks, or quit()
        +------reset-------+--> shutdown, guest-panicked, internal-error --(default)--> the end

The counterpart of QEMU's system/runstate.c and system/cpus.c: names are QAPI's (run-state.json),
and events come in QEMU's order: ``stop()`` emits STOP once the vCPUs stand still and before the
disks are drained, ``cont()`` RESUME before the vCPUs run, a reset RESET after the devices were
reset. Two things differ. ``quit()`` and ``reset()`` act at once instead of filing a request, so
their event precedes a monitor's reply. And an internal error ends the machine (QEMU waits for a
monitor to look at it) unless ``--no-shutdown`` is given.

Everything here runs in the main thread under the BQL.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from vmm.errors import VmmError
from vmm.events import EventBus
from vmm.requests import Request, RequestKind, Requests

log = logging.getLogger("vmm.runstate")


class RunState(Enum):
    """QAPI's RunState, as far as a machine here gets into them."""

    PRELAUNCH = "prelaunch"
    RUNNING = "running"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    INTERNAL_ERROR = "internal-error"
    GUEST_PANICKED = "guest-panicked"
    IO_ERROR = "io-error"
    INMIGRATE = "inmigrate"
    POSTMIGRATE = "postmigrate"
    FINISH_MIGRATE = "finish-migrate"
    WATCHDOG = "watchdog"
    SUSPENDED = "suspended"

    @property
    def needs_reset(self) -> bool:
        """Whether only a reset leads on from here (runstate_needs_reset)."""
        return self in (RunState.INTERNAL_ERROR, RunState.SHUTDOWN)


class ShutdownCause(Enum):
    """QAPI's ShutdownCause: the ``reason`` of SHUTDOWN and RESET."""

    HOST_ERROR = "host-error"
    HOST_QMP_QUIT = "host-qmp-quit"
    HOST_QMP_SYSTEM_RESET = "host-qmp-system-reset"
    HOST_SIGNAL = "host-signal"
    HOST_UI = "host-ui"
    GUEST_SHUTDOWN = "guest-shutdown"
    GUEST_RESET = "guest-reset"
    GUEST_PANIC = "guest-panic"

    def event_data(self) -> dict[str, Any]:
        """Data of SHUTDOWN and RESET."""
        return {"guest": self.value.startswith("guest-"), "reason": self.value}


@dataclass(frozen=True)
class RunOptions:
    """QEMU's -S, --no-reboot and --no-shutdown.

    Attributes:
        paused: wait in ``prelaunch`` for cont().
        no_reboot: a reset ends the machine instead.
        no_shutdown: what would end the machine stops it instead; quit() and signals still do.
    """

    paused: bool = False
    no_reboot: bool = False
    no_shutdown: bool = False


class Controlled(Protocol):
    """What MachineControl needs of a machine."""

    events: EventBus
    requests: Requests

    def start_vcpus(self) -> None:
        """Undo stop_vcpus(); the first time, start them."""

    def stop_vcpus(self) -> None:
        """Return when no vCPU runs guest code or a device's handler."""

    def drain_disks(self) -> None:
        """No request is in flight from here to undrain_disks(); then flush the images."""

    def undrain_disks(self) -> None:
        """The disks take requests again. Without a drain before: nothing."""

    def system_reset(self) -> None:
        """Devices, vCPUs and boot files as at the start. The vCPUs are stopped."""


class MachineControl:
    """The run state of one machine."""

    def __init__(
        self, machine: Controlled, options: RunOptions, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.state = RunState.PRELAUNCH
        self._machine = machine
        self._options = options
        self._events = machine.events
        self._end: asyncio.Future[Request] = loop.create_future()
        self._explained = False
        self._on_powerdown: list[Callable[[], None]] = []

    @property
    def running(self) -> bool:
        """query-status's ``running``."""
        return self.state is RunState.RUNNING

    @property
    def ending(self) -> bool:
        """Whether the machine is on its way out."""
        return self._end.done()

    # Commands.

    def stop(self) -> None:
        """Pause the machine (vm_stop). The BQL is dropped while vCPUs come to their stop, held
        while the disks are drained, and that is marked. Elsewhere than in ``running``: nothing.
        """
        self._stop(RunState.PAUSED)

    def cont(self) -> None:
        """Let the machine run (qmp_cont). In ``running``: nothing.

        Raises:
            VmmError: it has stopped for good and needs a reset.
        """
        if self.state.needs_reset:
            raise VmmError("Resetting the Virtual Machine is required")
        if self.running:
            return
        self.state = RunState.RUNNING
        self._events.emit("RESUME")
        self._machine.undrain_disks()
        self._machine.start_vcpus()

    def reset(self, cause: ShutdownCause = ShutdownCause.HOST_QMP_SYSTEM_RESET) -> None:
        """Reset the machine; it runs on if it ran, else it is in ``prelaunch`` (system_reset).

        With --no-reboot the machine ends instead, as QEMU does even for a monitor's reset.

        Raises:
            VmmError: the boot files no longer fit, or KVM refused.
        """
        self._reset(cause, Request(RequestKind.RESET, 0, -1, cause.value))

    def powerdown(self) -> None:
        """Press the power button (system_powerdown). Whether the guest notices is a device's
        business: see on_powerdown(). Without such a device only the event tells.
        """
        self._events.emit("POWERDOWN")
        for callback in self._on_powerdown:
            callback()

    def on_powerdown(self, callback: Callable[[], None]) -> None:
        """Have a device told of powerdown()."""
        self._on_powerdown.append(callback)

    def quit(
        self,
        cause: ShutdownCause = ShutdownCause.HOST_QMP_QUIT,
        *,
        code: int = 0,
        message: str = "quit",
    ) -> None:
        """End the machine whatever --no-shutdown says; ``code`` is a signal's number."""
        self._shutdown(cause, Request(RequestKind.SHUTDOWN, code, -1, message), force=True)

    @contextmanager
    def vcpus_paused(self) -> Iterator[None]:
        """A section in which no vCPU runs guest code or a device's handler; no events, no drain."""
        if not self.running:
            yield
            return
        self._machine.stop_vcpus()
        try:
            yield
        finally:
            self._machine.start_vcpus()

    # The machine's life.

    def begin(self) -> None:
        """The machine is built: run it, unless it is to start paused."""
        if not self._options.paused and not self.ending:
            self.cont()

    async def serve(self) -> Request:
        """Answer what vCPUs and devices ask for until the machine is to end; returns why it ends.

        Raises:
            VmmError: a reset failed.
        """
        serving = asyncio.ensure_future(self._serve_requests())
        try:
            return await self._end
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    async def _serve_requests(self) -> None:
        try:
            while True:
                self._handle(await self._machine.requests.wait())
        except (VmmError, OSError) as error:
            if not self._end.done():
                self._end.set_exception(error)

    def _handle(self, request: Request) -> None:
        kind = request.kind
        if self.ending:
            return
        if kind.is_reset:
            self._explain_reset(request)
            self._reset(ShutdownCause.GUEST_RESET, request)
        elif kind in (RequestKind.DEBUG_EXIT, RequestKind.SHUTDOWN):
            self._shutdown(ShutdownCause.GUEST_SHUTDOWN, request)
        elif kind is RequestKind.GUEST_CRASH:
            action = "pause" if self._options.no_shutdown else "poweroff"
            self._events.emit("GUEST_PANICKED", {"action": action})
            self._stop(RunState.GUEST_PANICKED)
            if not self._options.no_shutdown:
                self._shutdown(ShutdownCause.GUEST_PANIC, request)
        elif kind is RequestKind.INTERNAL_ERROR:
            self._stop(RunState.INTERNAL_ERROR)
            if not self._options.no_shutdown:
                self._shutdown(ShutdownCause.HOST_ERROR, request)
        else:  # a Python device raised: nobody knows in what state it is
            self._shutdown(ShutdownCause.HOST_ERROR, request, force=True)

    def _explain_reset(self, request: Request) -> None:
        """A triple fault is hardly what the guest wanted: say so, once, lest it be in a loop."""
        if request.kind is RequestKind.TRIPLE_FAULT and not self._explained:
            self._explained = True
            if not self._options.no_reboot:
                log.warning("guest reset after a %s (--no-reboot ends the VM)", request.message)

    def _stop(self, state: RunState) -> None:
        if not self.running:
            return
        self._machine.stop_vcpus()
        self.state = state
        self._events.emit("STOP")
        self._machine.drain_disks()

    def _shutdown(self, cause: ShutdownCause, request: Request, *, force: bool = False) -> None:
        if self.ending:
            return
        self._events.emit("SHUTDOWN", cause.event_data())
        if self._options.no_shutdown and not force:
            self._stop(RunState.SHUTDOWN)
        else:
            self._end.set_result(request)

    def _reset(self, cause: ShutdownCause, request: Request) -> None:
        if self._options.no_reboot:
            self._shutdown(cause, request)
            return
        self._machine.stop_vcpus()
        self._machine.requests.drop_resets()
        self._machine.system_reset()
        self._events.emit("RESET", cause.event_data())
        if self.running:
            self._machine.start_vcpus()
        else:
            self.state = RunState.PRELAUNCH
