# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives a machine its input: a router, and an i8042 with keyboard and mouse behind it."""

from typing import TYPE_CHECKING

from vmm._native import ffi, lib
from vmm.devices.i8042 import I8042, KEYBOARD_IRQ, MOUSE_IRQ
from vmm.devices.ps2_keyboard import Ps2Keyboard
from vmm.devices.ps2_mouse import Ps2Mouse
from vmm.events import Event
from vmm.input.router import InputRouter
from vmm.requests import RequestKind

if TYPE_CHECKING:
    from vmm.display.console import Console
    from vmm.machine import Machine


def build_input(machine: "Machine") -> InputRouter:
    """Make router and devices. A machine that does not run takes no input, as in QEMU."""
    router = InputRouter(machine.main_loop.asyncio.call_later)
    router.enabled = False  # until it runs

    def follow_run_state(event: Event) -> None:
        if event.name in ("STOP", "RESUME"):
            router.enabled = event.name == "RESUME"

    machine.events.subscribe(follow_run_state)
    if machine.framebuffer is not None:
        machine.console.add_listener(_ScreenSize(machine.console, router))
    _add_i8042(machine, router)
    return router


class _ScreenSize:
    """Keeps the router told of the screen's size, so that absolute positions fit it."""

    def __init__(self, console: "Console", router: InputRouter) -> None:
        self._console, self._router = console, router
        self.surface_switched()

    def surface_switched(self) -> None:
        """See vmm.display.console.Listener."""
        self._router.screen = (self._console.surface.width, self._console.surface.height)

    def cursor_defined(self) -> None:
        """See vmm.display.console.Listener; a pointer's picture moves nothing."""


def _add_i8042(machine: "Machine", router: InputRouter) -> None:
    keyboard = Ps2Keyboard("ps2-kbd", router.set_leds)
    mouse = Ps2Mouse("ps2-mouse")
    vm_fd = machine.accelerator.irq_vm_fd
    keyboard_irq, mouse_irq = (
        ffi.new("IrqLine *", {"vm_fd": vm_fd, "gsi": gsi}) for gsi in (KEYBOARD_IRQ, MOUSE_IRQ)
    )

    def request_reset() -> None:
        machine.requests.file(RequestKind.RESET, 0, "reset through the keyboard controller")

    controller = I8042("i8042", keyboard, mouse, (keyboard_irq, mouse_irq), request_reset)
    for device in (controller, keyboard, mouse):
        machine.qom.add(f"/machine/unattached/{device.id}", device)
        device.realized = True
    for port, handler in controller.ports():
        machine.add_python_region(lib.IO_PIO, port, 1, "i8042", handler)
    router.attach(keyboard, mouse)
    machine.on_reset(controller.reset)
