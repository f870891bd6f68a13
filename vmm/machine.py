# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine, composed in one explicit order and taken apart in the reverse one.

The thread that makes a Machine is its main thread: it holds the BQL from ``__init__`` to the end of
``close``, except while the main loop polls and while it waits for threads to end.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.accel.detect import AccelChoice, choose_accelerator
from vmm.accel.kvm import KvmAccelerator
from vmm.accel.qtest import QtestAccelerator
from vmm.boot import linux64, mptable, pvh
from vmm.boot.loading import BootFiles, read_files
from vmm.boot.native_guest import NativeGuest
from vmm.bql import Bql, Recorder
from vmm.config import MachineConfig
from vmm.cpu import X86Cpu, pause_all, resume_all
from vmm.devices import virtio_slots
from vmm.devices.block_accounting import TickClock
from vmm.devices.board import add_measuring_ports, add_serial
from vmm.devices.python_region import PythonRegion, RegionHandler
from vmm.devices.virtio_blk import VirtioBlkDevice, VirtioBus
from vmm.errors import VmmError, check, check_pointer
from vmm.events import EventBus
from vmm.hotplug import Hotplug
from vmm.input.build import build_input
from vmm.machine_object import MachineObject
from vmm.main_loop import MainLoop
from vmm.memory import GuestMemory
from vmm.object_types import type_registry
from vmm.qom import QomTree
from vmm.requests import Request, Requests
from vmm.runstate import MachineControl
from vmm.trace import trace_as_asked

if TYPE_CHECKING:
    from vmm.display.console import Console
    from vmm.display.framebuffer import Framebuffer
    from vmm.display.vnc.displays import VncDisplays

log = logging.getLogger("vmm.machine")


class Machine:
    """A VM. Use as a context manager, then :meth:`run`.

    Raises:
        VmmError: the configuration cannot be carried out; one line with the way out.
    """

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self.accel_choice: AccelChoice = choose_accelerator(config.accel)
        self.types = type_registry()
        self.qom = QomTree()
        self.qom.add("/machine", MachineObject(config, self.accel_choice.name))
        self.events = EventBus()
        self.trace = trace_as_asked(config.trace, self.events)
        self.cpus: list[X86Cpu] = []
        self.notes: list[str] = []
        """One-line remarks for the person who starts the machine; usually none."""
        self.running_since_ns: int | None = None
        self.framebuffer: Framebuffer | None = None
        self.scratch: Any = None
        self.vnc: VncDisplays | None = None
        self._guest: NativeGuest | None = None
        self._python_regions: list[PythonRegion] = []
        self._reset_handlers: list[Callable[[], None]] = []
        self._undo = ExitStack()
        try:
            self._build()
        except OSError as error:  # the host refused: memory, descriptors, KVM, threads
            self._undo.close()
            raise VmmError(error.strerror or str(error)) from error
        except BaseException:
            self._undo.close()
            raise

    def _on_close(self, fn: Callable[..., Any], *args: Any) -> None:
        self._undo.callback(fn, *args)

    def _build(self) -> None:
        self._build_core()
        self._build_accelerator()
        self._build_display()
        self._build_cpus()
        self._build_hotplug()
        self._build_devices()
        self.input = build_input(self)
        self._on_close(self.input.close)
        self._build_disks()
        self._build_vnc()
        self._load()
        self._build_monitors()

    # Core: lock, loop, memory, address spaces.

    def _build_core(self) -> None:
        config = self.config
        self.recorder: Recorder | None = None
        if config.record:
            self.recorder = self._open_recorder()
            self._on_close(self._close_recorder)
        self.tick_clock = TickClock(self.recorder)
        self.bql = Bql(config.bql_policy, self.recorder)
        self._on_close(self.bql.close)
        if self.recorder is not None:
            self.recorder.enter_thread(lib.BQLREC_ROLE_MAIN, "main")
        self.bql.lock()
        self._on_close(self.bql.unlock)
        self.main_loop = MainLoop(self.bql.handle)
        self._on_close(self.main_loop.close)
        self.memory = GuestMemory(config.memory_bytes)
        self._on_close(self.memory.close)
        self.iospace: Any = check_pointer(ffi, lib.iospace_new(self.bql.handle), "address spaces")
        self._on_close(lib.iospace_free, self.iospace)
        self.requests = Requests(self.main_loop.asyncio)
        self._on_close(self.requests.close)
        self.control = MachineControl(self, config.run, self.main_loop.asyncio)

    def _open_recorder(self) -> Recorder:
        try:
            return Recorder(self.config.recording, vm_name=self.config.vm_name)
        except OSError as error:
            raise VmmError(f"recording: {error.strerror} (or use --no-record)") from None

    def _recorder_native(self) -> Any:
        return self.recorder.handle if self.recorder is not None else ffi.NULL

    def _close_recorder(self) -> None:
        if self.recorder is not None:
            self.recorder.close(unlink=not self.config.keep_recording)

    # Accelerator and vCPUs.

    def _build_accelerator(self) -> None:
        if self.accel_choice.name == "kvm":
            self.accelerator: Accelerator = KvmAccelerator()
        else:
            guest = self._guest = self._native_guest()
            self.accelerator = QtestAccelerator(self.iospace, guest.function, guest.opaque)
        self._on_close(self.accelerator.close)
        for gpa, size, host in self.memory.regions():
            try:
                self.accelerator.map_memory(gpa, size, host)
            except OSError as error:
                size_mib = self.config.memory_bytes >> 20
                raise VmmError(f"--memory {size_mib}M: {error.strerror}: less fits") from None

    def _native_guest(self) -> NativeGuest:
        if not self.config.micro_guest:
            raise VmmError(
                "the qtest accelerator executes no CPU: only --kernel micro runs on it"
                f" ({self.accel_choice.reason})"
            )
        guest = NativeGuest(self.memory, self._command_line())
        self._on_close(guest.close)
        return guest

    @cached_property
    def console(self) -> "Console":
        """What is on the screen; a black one without a framebuffer."""
        from vmm.display.console import Console  # noqa: PLC0415

        return Console(self.config.kernel.stem, self.main_loop.asyncio)

    def _build_display(self) -> None:
        options = self.config.framebuffer
        if options is None:
            return
        # Here, as in console and screendump: numpy and Pillow take as long to load as a machine
        # without a screen takes to start.
        from vmm.display.build import build_framebuffer  # noqa: PLC0415

        self.framebuffer = build_framebuffer(self, options, self._guest)

    def _build_cpus(self) -> None:
        native = lib.vcpu_set_new(
            self.bql.handle, self.iospace, self.memory.native, self.requests.native
        )
        self._vcpu_set = check_pointer(ffi, native, "vCPUs")
        self._on_close(lib.vcpu_set_free, self._vcpu_set)
        lib.vcpu_set_use_python(self._vcpu_set)
        lib.vcpu_set_use_main_loop(self._vcpu_set, self.main_loop.context)
        self._on_close(self._end_cpus)
        for index in range(self.config.cpus):
            cpu = X86Cpu(index, self.accelerator, self._vcpu_set)
            self.cpus.append(cpu)
            self.qom.add(f"/machine/unattached/{cpu.id}", cpu)
            cpu.realize()

    def _end_cpus(self) -> None:
        for cpu in self.cpus:
            cpu.unrealize()

    # Objects and devices.

    def _build_hotplug(self) -> None:
        bus = VirtioBus(
            self.bql.handle,
            self.memory.native,
            self.iospace,
            self.main_loop.context,
            self.accelerator,
            self.control.vcpus_paused,
        )
        recorder = self._recorder_native()
        self.hotplug = Hotplug(self.bql, self.qom, self.types, self.events, bus, recorder)
        self._on_close(self.hotplug.close)
        for options in self.config.objects:
            self.hotplug.object_add(options.type, options.id, options.properties)

    @property
    def disks(self) -> list[VirtioBlkDevice]:
        """The disks that are plugged in."""
        return self.hotplug.disks

    def _build_devices(self) -> None:
        self.serial = add_serial(self)
        self._on_close(self.serial.close)
        self.window_mark = add_measuring_ports(self)

    def _build_vnc(self) -> None:
        if not self.config.vnc:
            return
        from vmm.display.vnc.displays import VncDisplays  # noqa: PLC0415 - as in _build_display

        host = (self.main_loop, self.bql, self.events)
        options = self.config
        self.vnc = VncDisplays(options.vnc, self.console, self.input, *host, options.vnc_encode)
        self._on_close(self.vnc.close)
        self.notes += self.vnc.notes()

    def sync_clock(self) -> None:
        """Store a fresh clock calibration in the recording, if there is one."""
        if self.recorder is not None:
            self.recorder.sync_clock()

    def add_region(
        self,
        kind: int,
        base: int,
        size: int,
        name: str,
        ops: Any,
        opaque: Any,
        *,
        lock_free: bool = False,
    ) -> None:
        """Register a PIO or MMIO region with native handlers.

        Raises:
            OSError: it overlaps another one.
        """
        added = lib.iospace_add(
            self.iospace, kind, base, size, name.encode(), lock_free, ops, opaque
        )
        check(added, f"region {name} at 0x{base:x}")

    def add_python_region(
        self,
        kind: int,
        base: int,
        size: int,
        name: str,
        handler: RegionHandler,
        *,
        lock_free: bool = False,
    ) -> None:
        """Register a region whose handler is written in Python."""
        region = PythonRegion(name, handler, self.bql.handle, self.requests.native)
        self._python_regions.append(region)
        ops = PythonRegion.ops()
        self.add_region(kind, base, size, name, ops, region.native, lock_free=lock_free)

    def _build_disks(self) -> None:
        for node in self.config.blockdevs:
            self.hotplug.nodes.add(node)
        for options in self.config.drives:
            self.notes += self.hotplug.add_drive(options, self.config.drives)

    def _command_line(self) -> str:
        """What the user gave, and what only the VMM knows: in front where a later word wins."""
        text, screen = self.config.command_line, self.config.framebuffer
        if self.config.micro_guest:
            return f"{screen.guest_parameter()} {text}" if screen is not None else text
        return " ".join([text, virtio_slots.linux_parameters()]).strip()

    def _load(self) -> None:
        if self.accel_choice.name != "kvm":
            return  # the native guest needs no loading
        files = BootFiles(self.config.kernel, self._command_line(), self.config.initrd)
        self._image = read_files(files)
        self._linux64 = self.config.framebuffer is not None and linux64.is_linux(files.kernel)
        if self.config.framebuffer and not (self._linux64 or self.config.micro_guest):
            self.notes.append(f"{files.kernel} is no Linux: nothing tells it of the screen")
        self._boot()

    def _boot(self) -> None:
        """Boot files and tables into memory, CPU 0 at the kernel's entry."""
        if self._guest is not None:
            self._guest.reset()
            return
        mptable.write(self.memory, self.config.cpus)
        screen = self.config.framebuffer
        if screen is not None and self._linux64:
            entry = linux64.load(self.memory, self._image, screen)
        else:
            entry = pvh.load(self.memory, self._image)
        self.accelerator.set_entry(self.cpus[0].native, entry)

    def _build_monitors(self) -> None:
        if self.config.monitors:
            from vmm.monitor.server import Monitors  # noqa: PLC0415 (most machines have none)

            monitors = Monitors(self, self.config.monitors)
            self._on_close(monitors.close)
            self.notes += monitors.notes()

    # Running.

    def run(self) -> Request:
        """Run until the guest, a device or ``control.quit()`` ends the machine; see MachineControl.

        Raises:
            CallbackError: a Python device callback raised; its exception is the cause.
            VmmError: a reset failed.
        """
        self.running_since_ns = time.monotonic_ns()
        self.control.begin()
        request = self.main_loop.asyncio.run_until_complete(self.control.serve())
        pause_all(self.cpus)
        self.serial.flush()
        self.sync_clock()
        for region in self._python_regions:
            request.raise_callback_error(region.error)
        return request

    async def screendump(self, path: Path, image_format: str = "ppm") -> None:
        """Write what the screen shows as ``png`` or ``ppm``; see vmm.display.screendump."""
        from vmm.display.screendump import screendump  # noqa: PLC0415

        await screendump(self.console, path, image_format)

    def on_reset(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` at each system reset: main thread, under the BQL, the vCPUs stopped."""
        self._reset_handlers.append(handler)

    # What MachineControl does to a machine; see vmm.runstate.Controlled.

    def start_vcpus(self) -> None:
        """Let the vCPUs run."""
        self.accelerator.start_clock([cpu.native for cpu in self.cpus])
        resume_all(self.cpus)

    def stop_vcpus(self) -> None:
        """Pause all vCPUs and wait until they are paused."""
        pause_all(self.cpus)
        self.accelerator.stop_clock()

    def drain_disks(self) -> None:
        """No disk request is in flight from here on; then flush."""
        self.hotplug.drain()

    def undrain_disks(self) -> None:
        """Disks take requests again."""
        self.hotplug.undrain()

    def system_reset(self) -> None:
        """Devices first, so that they lower their interrupts, then vCPUs, then the boot files."""
        self.hotplug.reset()
        for handler in self._reset_handlers:
            handler()
        self.accelerator.reset([cpu.native for cpu in self.cpus])
        self._boot()

    def close(self) -> None:
        """Stop the vCPUs and take everything apart. Idempotent."""
        pause_all([cpu for cpu in self.cpus if cpu.native is not None])
        self._undo.close()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
