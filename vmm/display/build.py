# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a framebuffer into a machine that is to have one."""

from typing import TYPE_CHECKING

from vmm._native import lib
from vmm.display.framebuffer import REGISTERS_BASE, REGISTERS_SIZE, Framebuffer
from vmm.display.options import VRAM_BASE, FramebufferOptions

if TYPE_CHECKING:
    from vmm.boot.native_guest import NativeGuest
    from vmm.machine import Machine


def build_framebuffer(
    machine: "Machine", options: FramebufferOptions, native_guest: "NativeGuest | None"
) -> Framebuffer:
    """Make the device, wire it, and put it on the machine's console. Before the vCPUs are made.

    Raises:
        OSError: no memory, or no memory slot.
    """
    framebuffer = Framebuffer("framebuffer")
    framebuffer.width, framebuffer.height = options.width, options.height
    framebuffer.vgamem = options.vgamem
    framebuffer.realize(machine.accelerator, machine.console)
    machine.on_reset(framebuffer.reset)
    machine.qom.add(f"/machine/unattached/{framebuffer.id}", framebuffer)
    machine.add_python_region(
        lib.IO_MMIO, REGISTERS_BASE, REGISTERS_SIZE, "framebuffer", framebuffer
    )
    if native_guest is not None:
        native_guest.map_vram(VRAM_BASE, framebuffer.vgamem, framebuffer.memory)
    return framebuffer
