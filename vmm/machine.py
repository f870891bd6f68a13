# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine, composed in one explicit order and taken apart in the reverse one.

The thread that makes a Machine is its main thread: it holds the BQL from ``__init__`` to the end of
``close``, except while the main loop polls and while it waits for threads to end.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vmm._native import ffi, lib
from vmm.accel.base import Accelerator
from vmm.accel.detect import AccelChoice, choose_accelerator
from vmm.accel.kvm import KvmAccelerator
from vmm.accel.qtest import QtestAccelerator
from vmm.block.backend import BlockBackend, open_backend
from vmm.block.options import DriveError, DriveOptions
from vmm.boot import mptable, pvh
from vmm.boot.native_guest import NativeGuest
from vmm.bql import Bql, Recorder
from vmm.config import MachineConfig
from vmm.cpu import X86Cpu, pause_all, resume_all
from vmm.devices.python_region import PythonRegion, RegionHandler
from vmm.devices.serial import COM1_BASE, COM1_IRQ, SerialPort
from vmm.devices.virtio_blk import VirtioBlkDevice, VirtioBus
from vmm.devices.window_mark import MARK_PORT, WindowMark
from vmm.errors import VmmError, check, check_pointer
from vmm.events import EventBus
from vmm.iothread import IoThread
from vmm.machine_object import MachineObject
from vmm.main_loop import MainLoop
from vmm.memory import GuestMemory
from vmm.object_types import type_registry
from vmm.qom import QomTree
from vmm.qom.create import create_object
from vmm.requests import Request, Requests

SCRATCH_PORT = 0x5F8
PYTHON_SCRATCH_PORT = 0x5E8
WORKERS = 64
WORKER_IDLE_NS = 10_000_000_000

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
        self.cpus: list[X86Cpu] = []
        self.disks: list[VirtioBlkDevice] = []
        self.notes: list[str] = []
        """One-line remarks for the person who starts the machine; usually none."""
        self.running_since_ns: int | None = None
        self._python_regions: list[PythonRegion] = []
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
        self._build_cpus()
        self._build_iothreads()
        self._build_devices()
        self._build_disks()
        self._load()

    # Core: lock, loop, memory, address spaces.

    def _build_core(self) -> None:
        config = self.config
        self.recorder: Recorder | None = None
        if config.record:
            self.recorder = self._open_recorder()
            self._on_close(self._close_recorder)
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

    def _open_recorder(self) -> Recorder:
        try:
            name = self.config.name or self.config.kernel.stem
            return Recorder(self.config.recording, vm_name=name)
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
            guest = self._native_guest()
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
        guest = NativeGuest(self.memory, self.config.command_line)
        self._on_close(guest.close)
        return guest

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

    def _build_iothreads(self) -> None:
        for options in self.config.objects:
            made = create_object(self.types, self.qom, options.type, options.id, options.properties)
            if isinstance(made, IoThread):
                made.realize(self._recorder_native())
                self._on_close(self._end_iothread, made)

    def _end_iothread(self, iothread: IoThread) -> None:
        with self.bql.blocked(lib.BQLREC_BLOCKED_JOIN):
            iothread.unrealize()

    def _build_devices(self) -> None:
        self._serial_irq = ffi.new(
            "IrqLine *", {"vm_fd": self.accelerator.irq_vm_fd, "gsi": COM1_IRQ}
        )
        self.serial = SerialPort(self.config.serial, self.main_loop, self._serial_irq)
        self._on_close(self.serial.close)
        serial_ops = lib.ops_serial16550()
        self.add_region(lib.IO_PIO, COM1_BASE, 8, "serial", serial_ops, self.serial.native)
        exit_ops = lib.ops_debug_exit()
        port, ports = lib.DEBUG_EXIT_PORT, lib.DEBUG_EXIT_PORTS
        self.add_region(lib.IO_PIO, port, ports, "debug-exit", exit_ops, self.requests.native)
        self._scratch = ffi.new("uint64_t *")
        scratch_ops = lib.ops_scratch_register()
        self.add_region(lib.IO_PIO, SCRATCH_PORT, 4, "scratch", scratch_ops, self._scratch)
        self.add_python_region(
            lib.IO_PIO, PYTHON_SCRATCH_PORT, 4, "python-scratch", _PythonScratch()
        )
        copy = self.recorder if self.config.window_recording else None
        self.window_mark = WindowMark(Path(copy.path) if copy else None, self._sync_clock)
        self.add_python_region(
            lib.IO_PIO, MARK_PORT, 1, "bqlscope-mark", self.window_mark, lock_free=True
        )

    def _sync_clock(self) -> None:
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
        pool = lib.worker_pool_new(WORKERS, WORKER_IDLE_NS, self._recorder_native())
        self._pool = check_pointer(ffi, pool, "creating the worker pool")
        self._on_close(lib.worker_pool_free, self._pool)
        bus = VirtioBus(
            self.bql.handle,
            self.memory.native,
            self.iospace,
            self.main_loop.context,
            self.accelerator,
        )
        for slot, options in enumerate(self.config.drives):
            backend = self._open_drive(options)
            self._on_close(backend.close)
            self.notes += backend.notes
            disk = VirtioBlkDevice(options.device_id or f"disk{slot}", slot)
            self.qom.add(f"/machine/peripheral/{disk.id}", disk)
            disk.apply(options)
            disk.drive = options.id or f"drive{slot}"
            self._link_iothreads(disk, options)
            disk.realize(bus, backend.native)
            self.disks.append(disk)
            self._on_close(disk.unrealize)

    def _open_drive(self, options: DriveOptions) -> BlockBackend:
        try:
            return open_backend(options, self._pool)
        except (DriveError, OSError) as error:
            twice = [d for d in self.config.drives if d.file and d.file == options.file]
            hint = " (this machine has it as two drives)" if len(twice) > 1 else ""
            raise VmmError(f"--drive: {error}{hint}") from None

    def _link_iothreads(self, disk: VirtioBlkDevice, options: DriveOptions) -> None:
        if options.iothread:
            disk.set("iothread", self.qom.find(options.iothread, IoThread.TYPE))
        mapping = options.iothread_vq_mapping
        mapped = [self.qom.find(each.iothread, IoThread.TYPE) for each in mapping]
        disk.mapped = tuple(thread for thread in mapped if isinstance(thread, IoThread))

    def _load(self) -> None:
        if self.accel_choice.name != "kvm":
            return  # the native guest needs no loading
        text = self.config.command_line
        if not self.config.micro_guest:
            text = " ".join([text, *(disk.linux_parameter() for disk in self.disks)]).strip()
        boot = pvh.BootFiles(self.config.kernel, text, self.config.initrd)
        mptable.write(self.memory, self.config.cpus)
        self.accelerator.set_entry(self.cpus[0].native, pvh.load(self.memory, boot))

    # Running.

    def start(self) -> None:
        """Let the vCPUs run."""
        self.running_since_ns = time.monotonic_ns()
        resume_all(self.cpus)

    def stop(self) -> None:
        """Pause all vCPUs and wait until they are paused."""
        pause_all(self.cpus)

    def run(self) -> Request:
        """Run until the guest, a device or :meth:`Requests.file` asks for the end.

        Raises:
            CallbackError: a Python device callback raised; its exception is the cause.
        """
        self.start()
        request = self.main_loop.asyncio.run_until_complete(self.requests.wait())
        self.stop()
        self.serial.flush()
        self._sync_clock()
        for region in self._python_regions:
            request.raise_callback_error(region.error)
        return request

    def close(self) -> None:
        """Stop the vCPUs and take everything apart. Idempotent."""
        pause_all([cpu for cpu in self.cpus if cpu.native is not None])
        self._undo.close()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _PythonScratch:
    """Plain state behind a Python handler: the yardstick for Python device callbacks."""

    def __init__(self) -> None:
        self._value = 0

    def read(self, offset: int, size: int) -> int:
        return self._value >> (8 * offset)

    def write(self, offset: int, value: int, size: int) -> None:
        self._value = value
