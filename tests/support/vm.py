# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual machines in processes of their own, as a user starts them.

    result = run_vm("--kernel", "micro", "--append", "ms=50", report=tmp_path / "r.json")
    assert result.status == 0, result.stderr
    assert result.guest["blk"]["errors"] == 0

    with start_vm("--kernel", "micro", "--append", ENDLESS) as vm:
        vm.wait_for_recording()
        vm.process.send_signal(signal.SIGINT)
        assert vm.finish().status == 130

Every process has a time limit and a runtime directory of its own, so that what it leaves behind
can be looked at.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.rig import wait_until
from vmm.guest.pattern import pattern

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_SECONDS = 60
ENDLESS = "mode=idle ms=3600000"
PLACEMENTS = {
    "vcpu": ((), "ioeventfd=off"),
    "mainloop": ((), ""),
    "iothread": (("iothread,id=io0",), "iothread=io0"),
    "iothread-vq-mapping": (
        ("iothread,id=io0", "iothread,id=io1"),
        "iothread-vq-mapping=io0+io1,num-queues=2",
    ),
}
"""By placement: the --object texts and what to append to --drive."""


@dataclass(frozen=True)
class VmResult:
    """How a VM process ended. ``report``: what --json wrote, empty without it."""

    status: int
    stdout: str
    stderr: str
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def guest(self) -> dict[str, Any]:
        """The micro-guest's result line."""
        found: dict[str, Any] = self.report["guest"]
        return found

    def complaint(self) -> str:
        """The one line by which a failed start explains itself; checks that it is just that."""
        assert self.status != 0
        assert "Traceback" not in self.stderr
        usual = ("bqlscope: accelerator:", "Usage: ", "Try ")
        lines = [line for line in self.stderr.splitlines() if line and not line.startswith(usual)]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith(("Error: ", "bqlscope: ")), self.stderr
        return lines[0]


def drive(image: Path, placement: str, *more: str) -> list[str]:
    """Options of one disk in a placement of PLACEMENTS, with the iothreads it needs."""
    objects, placed = PLACEMENTS[placement]
    words = [f"file={image}", placed, *more]
    options = ["--drive", ",".join(word for word in words if word)]
    for text in objects:
        options += ["--object", text]
    return options


def make_image(path: Path, size: int, fill: int = 0xA5) -> Path:
    """A file without holes, every byte ``fill``."""
    path.write_bytes(bytes([fill]) * size)
    return path


def holds_pattern(image: Path, length: int, seed: int) -> bool:
    """Whether the first ``length`` bytes are what a guest with rw=verify and ``seed`` writes."""
    with image.open("rb") as file:
        return file.read(length) == pattern(0, length, seed)


def command_line(*options: str, program: Sequence[str] = ()) -> list[str]:
    """The command that runs a VM; ``program`` goes in front (a wrapper).

    A guest that resets itself ends the VM: a test that goes wrong so must not go on for ever.
    """
    return [*program, sys.executable, "-m", "vmm", "run", "--no-reboot", *options]


def environment(runtime: Path | None) -> dict[str, str]:
    """Our environment, with recordings under ``runtime``."""
    merged = {**os.environ, "PYTHONPATH": str(ROOT)}
    if runtime is not None:
        runtime.mkdir(mode=0o700, exist_ok=True)
        merged["XDG_RUNTIME_DIR"] = str(runtime)
    return merged


class Vm:
    """A VM process that is running."""

    def __init__(self, command: list[str], runtime: Path | None, report: Path | None) -> None:
        self.runtime = runtime
        self._report = report
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(runtime),
        )

    def recordings(self) -> list[Path]:
        """Recordings below the runtime directory."""
        assert self.runtime is not None
        return sorted(self.runtime.glob("**/*.bql"))

    def wait_for_thread(self, name: str) -> None:
        """Until a thread of this OS name is there."""
        tasks = Path(f"/proc/{self.process.pid}/task")

        def found() -> bool:
            assert self.process.poll() is None, self.finish().stderr
            return any(_comm(entry) == name for entry in tasks.iterdir())

        wait_until(found, f"thread {name}")

    def wait_until_running(self) -> None:
        """Until the guest runs and signals are taken as requests: the line on stderr says so."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("bqlscope: accelerator:"), line
        self.wait_for_signal_handler()

    def wait_for_signal_handler(self) -> None:
        """Until the process has its own handler for SIGTERM."""

        def caught() -> bool:
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> 14 & 1)
            return False

        wait_until(caught, "the handler of SIGTERM")

    def finish(self) -> VmResult:
        """Wait for the end."""
        stdout, stderr = self.process.communicate(timeout=TIME_LIMIT_SECONDS)
        report = {}
        if self._report is not None and self._report.exists():
            report = json.loads(self._report.read_text())
        return VmResult(self.process.returncode, stdout, stderr, report)


def _comm(entry: Path) -> str:
    try:
        return (entry / "comm").read_text().rstrip("\n")
    except OSError:
        return ""


@contextmanager
def start_vm(
    *options: str,
    program: Sequence[str] = (),
    runtime: Path | None = None,
    report: Path | None = None,
) -> Iterator[Vm]:
    """Start a VM and give it; it is killed at the end of the block if it still runs.

    Args:
        options: of ``bqlscope run``.
        program: words in front of the command (setpriv, unshare).
        runtime: directory for recordings.
        report: where --json goes.
    """
    if report is not None:
        options = (*options, "--json", str(report))
    vm = Vm(command_line(*options, program=program), runtime, report)
    try:
        yield vm
    finally:
        if vm.process.poll() is None:
            vm.process.kill()
        if vm.process.stdout is not None and not vm.process.stdout.closed:
            vm.process.communicate()


def run_vm(
    *options: str,
    program: Sequence[str] = (),
    runtime: Path | None = None,
    report: Path | None = None,
) -> VmResult:
    """Run a VM to its end; arguments as for start_vm()."""
    with start_vm(*options, program=program, runtime=runtime, report=report) as vm:
        return vm.finish()
