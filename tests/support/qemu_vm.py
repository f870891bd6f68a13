# SPDX-License-Identifier: GPL-2.0-or-later
"""A real QEMU with the recorder preloaded by hand and the micro-guest in it, for e2e tests.

with preloaded(qemu, tmp_path, *NAMED, *NULL_DISK, words="smp=2 ms=60000", cpus=2) as vm:
    vm.monitor.execute("stop")
    snapshot = vm.snapshot()
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from profiler.model import Snapshot
from profiler.preload import library_path
from profiler.qemu.qmp import Qmp, QmpError
from profiler.reader import Recording, find_recordings
from tests.support.micro_guest import ELF
from tests.support.rig import wait_until

MICROVM = (
    "-M", "microvm,pic=off,pit=off,rtc=off", "-bios", "qboot.rom",
    "-global", "virtio-mmio.force-legacy=false", "-accel", "kvm", "-cpu", "qemu64", "-m", "64",
    "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
    "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
)  # fmt: skip
NULL_DISK = (
    "-drive", "if=none,id=d0,driver=null-co,size=64M", "-device", "virtio-blk-device,drive=d0",
)  # fmt: skip
NAMED = ("-name", "test,debug-threads=on")
ENDLESS = "ms=3600000"


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """What preloads the recorder, with its recordings below `directory`."""
    return {
        **os.environ,
        "LD_PRELOAD": str(library_path()),
        "XDG_RUNTIME_DIR": str(directory),
        **settings,
    }


def command(qemu: Path, *options: str, words: str, cpus: int = 1) -> list[str]:
    """A microvm with the micro-guest, which gets `words`."""
    guest = ["-kernel", str(ELF), "-append", f"smp={cpus} {words}", "-smp", str(cpus)]
    return [str(qemu), *MICROVM, *guest, *options]


def listens(socket: Path) -> bool:
    """Whether somebody accepts connections there: bound is not enough, and trying is a client."""
    listening = "00010000"
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    sockets = (line.split(maxsplit=7) for line in lines)
    return any(s[3] == listening and s[7:] == [str(socket)] for s in sockets)


def recording_in(directory: Path) -> Path:
    """The one recording that a QEMU has below its runtime directory, as soon as it is there."""

    def find() -> list[Path]:
        return [found.path for found in find_recordings([directory / "bqlscope"])]

    wait_until(lambda: bool(find()), "a recording")
    (path,) = find()
    return path


@dataclass
class PreloadedQemu:
    """A running QEMU, its monitor, and where its recording is."""

    process: "subprocess.Popen[str]"
    monitor: Qmp
    directory: Path

    @property
    def recording(self) -> Path:
        """Path of the recording."""
        return recording_in(self.directory)

    def snapshot(self) -> Snapshot:
        """The recording as of now, with events."""
        with Recording.open(self.recording) as recording:
            return recording.snapshot(events=True)

    def acquisitions(self) -> int:
        """Acquisitions of all threads so far."""
        return sum(row.total for row in self.snapshot().rows)


def _monitor(socket: Path) -> Qmp:
    """A connection as soon as QEMU listens, which is a moment after the socket is there."""
    found: list[Qmp] = []

    def connect() -> bool:
        with suppress(QmpError):
            found.append(Qmp(str(socket)))
        return bool(found)

    wait_until(connect, "a monitor")
    return found[0]


@contextmanager
def preloaded(
    qemu: Path, directory: Path, *options: str, words: str, cpus: int = 1
) -> Iterator[PreloadedQemu]:
    """Start QEMU with a monitor; it is gone when the block ends."""
    socket = directory / "qmp"
    monitor = ("-qmp", f"unix:{socket},server=on,wait=off", "-serial", "null")
    process = subprocess.Popen(
        command(qemu, *monitor, *options, words=words, cpus=cpus),
        env=environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with _monitor(socket) as connection:
            yield PreloadedQemu(process, connection, directory)
    finally:
        process.kill()
        process.communicate()
