# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU that shows pixels of the test's choice over VNC.

No guest runs (``-S``), so the accelerator plays no part: through QEMU's test protocol (``-qtest``)
the display's registers are set and its video memory is written from outside. ``bochs-display`` on
PCI is the display with the fewest of them: mode registers behind BAR 2, pixels behind BAR 0.

    with qemu_display(qemu, tmp_path, 1024, 768) as display:
        display.show(pixels)
        RfbStream.connect(display.vnc)
"""

import base64
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRWPair
from pathlib import Path

from tests.support.pictures import Picture
from tests.support.rig import wait_until

SLOT = 2
CONFIG_ADDRESS, CONFIG_DATA = 0xCF8, 0xCFC
COMMAND, BAR0, BAR2 = 0x04, 0x10, 0x18
MEMORY_SPACE = 2
VRAM, REGISTERS = 0xE0000000, 0xF0000000
DISPI = 0x500  # offset of the mode registers, two bytes each
X_RES, Y_RES, BPP, ENABLE, VIRTUAL_WIDTH, VIRTUAL_HEIGHT, X_OFFSET, Y_OFFSET = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
ENABLED_LINEAR = 0x41
CHUNK = 1 << 16
PATIENCE_SECONDS = 60.0


@dataclass
class QemuDisplay:
    """The running QEMU."""

    process: "subprocess.Popen[bytes]"
    vnc: Path
    width: int
    height: int
    _qtest: BufferedRWPair

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self.process.pid

    def command(self, text: str) -> None:
        """One command of the test protocol that answers OK."""
        self._qtest.write(text.encode() + b"\n")
        self._qtest.flush()
        while (answer := self._qtest.readline()).startswith(b"IRQ"):
            continue
        if not answer.startswith(b"OK"):
            raise AssertionError(f"QEMU answered {answer!r} to {text[:60]!r}")

    def _configure(self, register: int, value: int) -> None:
        self.command(f"outl {CONFIG_ADDRESS:#x} {1 << 31 | SLOT << 11 | register:#x}")
        self.command(f"outl {CONFIG_DATA:#x} {value:#x}")

    def set_mode(self) -> None:
        """Give the display its addresses and its size."""
        self._configure(BAR0, VRAM)
        self._configure(BAR2, REGISTERS)
        self._configure(COMMAND, MEMORY_SPACE)
        mode = {X_RES: self.width, Y_RES: self.height, BPP: 32, VIRTUAL_WIDTH: self.width}
        mode |= {VIRTUAL_HEIGHT: self.height, X_OFFSET: 0, Y_OFFSET: 0, ENABLE: ENABLED_LINEAR}
        for register, value in mode.items():
            self.command(f"writew {REGISTERS + DISPI + 2 * register:#x} {value:#x}")

    def show(self, pixels: Picture) -> None:
        """Write a whole screen."""
        assert pixels.shape == (self.height, self.width)
        data = pixels.astype("<u4").tobytes()
        for start in range(0, len(data), CHUNK):
            chunk = data[start : start + CHUNK]
            text = base64.b64encode(chunk).decode()
            self.command(f"b64write {VRAM + start:#x} {len(chunk):#x} {text}")


@contextmanager
def qemu_display(
    qemu: Path, directory: Path, width: int, height: int, options: str = ""
) -> Iterator[QemuDisplay]:
    """Start QEMU; it is gone when the block ends. ``options`` are appended to those of -vnc."""
    vnc, control = directory / "qemu-vnc", directory / "qtest"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(PATIENCE_SECONDS)
        listener.bind(str(control))
        listener.listen(1)
        process = subprocess.Popen(
            [
                str(qemu), "-M", "q35", "-m", "32", "-accel", "kvm", "-accel", "tcg",
                "-S", "-nodefaults", "-no-user-config", "-display", "none",
                "-name", "display,debug-threads=on",
                "-device", f"bochs-display,addr={SLOT}", "-vnc", f"unix:{vnc}{options}",
                "-qtest", f"unix:{control}", "-qtest-log", "/dev/null",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE_SECONDS)
            with connection, connection.makefile("rwb") as qtest:
                display = QemuDisplay(process, vnc, width, height, qtest)
                display.set_mode()
                wait_until(vnc.exists, "QEMU's VNC socket")
                yield display
        finally:
            process.kill()
            process.wait()
