# SPDX-License-Identifier: GPL-2.0-or-later
"""The devices every machine has on its ports: COM1, and what the micro-guest measures with."""

from pathlib import Path
from typing import TYPE_CHECKING

from vmm._native import ffi, lib
from vmm.devices.python_scratch import PythonScratch
from vmm.devices.serial import COM1_BASE, COM1_IRQ, SerialPort
from vmm.devices.window_mark import MARK_PORT, WindowMark

if TYPE_CHECKING:
    from vmm.machine import Machine

SCRATCH_PORT = 0x5F8
PYTHON_SCRATCH_PORT = 0x5E8


def add_serial(machine: "Machine") -> SerialPort:
    """COM1, where the configuration says; its ``close`` is the caller's.

    Raises:
        VmmError: the target cannot be opened.
    """
    irq = ffi.new("IrqLine *", {"vm_fd": machine.accelerator.irq_vm_fd, "gsi": COM1_IRQ})
    serial = SerialPort(machine.config.serial, machine.main_loop, irq)
    ops = lib.ops_serial16550()
    machine.add_region(lib.IO_PIO, COM1_BASE, 8, "serial", ops, serial.native)
    machine.on_reset(serial.reset)
    return serial


def add_measuring_ports(machine: "Machine") -> WindowMark:
    """The exit port, two scratch registers (native and Python), and the mark of the window."""
    exit_ops, ports = lib.ops_debug_exit(), lib.DEBUG_EXIT_PORTS
    machine.add_region(
        lib.IO_PIO, lib.DEBUG_EXIT_PORT, ports, "debug-exit", exit_ops, machine.requests.native
    )
    machine.scratch = ffi.new("uint64_t *")
    scratch_ops = lib.ops_scratch_register()
    machine.add_region(lib.IO_PIO, SCRATCH_PORT, 4, "scratch", scratch_ops, machine.scratch)
    machine.add_python_region(lib.IO_PIO, PYTHON_SCRATCH_PORT, 4, "python-scratch", PythonScratch())
    copy = machine.recorder if machine.config.window_recording else None
    mark = WindowMark(Path(copy.path) if copy else None, machine.sync_clock)
    machine.add_python_region(lib.IO_PIO, MARK_PORT, 1, "bqlscope-mark", mark, lock_free=True)
    machine.on_reset(mark.reset)
    return mark
