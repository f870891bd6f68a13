# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus against VMs under load: the demo, and what tests and pictures are made with.

    VM (mainloop) -> recording -> exporter, target label variant=mainloop --+
    VM (iothread) -> recording -> exporter, target label variant=iothread --+-> Prometheus

Everything is below one private directory: recordings, target list, Prometheus's data. The shipped
Prometheus configuration is used with shorter intervals, so what runs here is what people install.

Rule: a process that was started is in `_processes` before anything else can fail, and ends with
the block, Prometheus first, so that it does not note scrapes of exporters that are gone.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import click
import yaml

from grafana.alerts import alert_groups
from grafana.files import HOME, yaml_text
from grafana.rules import recording_groups

PLACEMENTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "mainloop": ((), ""),
    "iothread": (("--object", "iothread,id=io0"), ",iothread=io0"),
}
"""By variant: options of `bqlscope run`, and what to append to its disk's."""

GUEST = "rw=read iodepth=32 bs=4096 irq=1 ms=86400000"
IMAGE_BYTES = 64 << 20
START_SECONDS = 60.0
END_SECONDS = 10.0
STEP_SECONDS = 0.1


@dataclass(frozen=True)
class Options:
    """How the demo runs. `scrape` is seconds between scrapes, at least 1."""

    scrape: int = 1
    accel: str = "auto"
    prometheus: str = "prometheus"


@dataclass(frozen=True)
class Live:
    """What runs: base address of Prometheus, exporters' addresses by variant."""

    prometheus: str
    exporters: Mapping[str, str]


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The caller does not want it any more."""


class _Home:
    """The private directory, and the processes that use it."""

    def __init__(self, path: Path, stop: threading.Event) -> None:
        self.path, self._stop = path, stop
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a process whose output goes to NAME.log.

        What stands behind the last hyphen of NAME is where it keeps and looks for recordings: no
        other VM of this user gets into the figures.
        """
        runtime = self.path / name.rpartition("-")[2]
        runtime.mkdir(mode=0o700, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(HOME.parent)}
        environment |= dict.fromkeys(("XDG_RUNTIME_DIR", "TMPDIR"), str(runtime))
        with (self.path / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us; they end in our order
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process said."""
        return (self.path / f"{name}.log").read_text(errors="replace")

    def wait(self, found: Callable[[], str], what: str) -> str:
        """Until `found` gives something."""
        deadline = time.monotonic() + START_SECONDS
        while not (value := found()):
            if time.monotonic() > deadline:
                raise click.ClickException(f"{what} did not start within {START_SECONDS:.0f} s")
            if self._stop.wait(STEP_SECONDS):
                raise Stopped
        return value

    def end(self) -> None:
        """End all processes, the last one first."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def live(options: Options, stop: threading.Event | None = None) -> Iterator[Live]:
    """VMs in both placements, an exporter for each and Prometheus, until the block ends.

    Raises click.ClickException if something is missing or does not start, Stopped if `stop` is set
    before all has started.
    """
    program = shutil.which(options.prometheus)
    if program is None:
        raise click.ClickException(
            f"no {options.prometheus} here; on Debian or Ubuntu: sudo apt install prometheus"
        )
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bqlscope-demo-"))
        home = _Home(Path(directory), stop or threading.Event())
        stack.callback(home.end)
        drive = _make_image(home.path / "disk.img")
        exporters = {variant: _start_vm(home, variant, drive, options) for variant in PLACEMENTS}
        _write_targets(home.path, exporters)
        yield Live(_start_prometheus(home, program, options), exporters)


def _make_image(path: Path) -> str:
    """A disk without holes, for several readers; past the page cache where that is possible."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(IMAGE_BYTES // len(block)):
            file.write(block)
    drive = f"file={str(path).replace(',', ',,')},readonly=on"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return f"{drive},cache=writeback"
    return f"{drive},cache=none"


def _start_vm(home: _Home, variant: str, drive: str, options: Options) -> str:
    """A VM and its exporter; gives the exporter's address once it shows the VM."""
    python = (sys.executable, "-m")
    objects, placed = PLACEMENTS[variant]
    vm = home.start(
        f"vm-{variant}",
        *(*python, "vmm", "run", "--kernel", "micro", "--smp", "2", "--serial", "null"),
        *("--accel", options.accel, "--append", GUEST, *objects, "--drive", drive + placed),
    )
    listing = home.path / f"{variant}.json"
    exporter = home.start(
        f"exporter-{variant}",
        *(*python, "exporters", "--listen", "127.0.0.1:0", "--sd", str(listing)),
    )

    def shown() -> str:
        for name, process in ((f"vm-{variant}", vm), (f"exporter-{variant}", exporter)):
            if process.poll() is not None:
                raise click.ClickException(f"{name} ended: {home.log(name).strip()}")
        if not listing.exists():
            return ""
        address = str(json.loads(listing.read_text())[0]["targets"][0])
        return address if "bql_process_up{" in _get(f"http://{address}/metrics") else ""

    return home.wait(shown, f"the exporter of {variant}")


def _write_targets(directory: Path, exporters: Mapping[str, str]) -> None:
    targets = [
        {"targets": [address], "labels": {"variant": variant}}
        for variant, address in exporters.items()
    ]
    (directory / "targets").mkdir()
    (directory / "targets" / "demo.json").write_text(json.dumps(targets, indent=2))


def _start_prometheus(home: _Home, program: str, options: Options) -> str:
    interval = f"{options.scrape}s"
    config = yaml.safe_load((HOME / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
    for name, document in (
        ("prometheus.yml", config),
        ("recording_rules.yml", recording_groups(interval)),
        ("alerts.yml", alert_groups(interval)),
    ):
        (home.path / name).write_text(yaml_text(document))
    address = f"127.0.0.1:{_free_port()}"
    process = home.start(
        "prometheus",
        program,
        f"--config.file={home.path / 'prometheus.yml'}",
        f"--storage.tsdb.path={home.path / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    )

    def ready() -> str:
        if process.poll() is not None:
            raise click.ClickException(f"Prometheus ended: {home.log('prometheus').strip()}")
        return f"http://{address}" if "eady" in _get(f"http://{address}/-/ready") else ""

    return home.wait(ready, "Prometheus")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _get(url: str) -> str:
    """An answer, or nothing."""
    with suppress(URLError, OSError), urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
    return ""
