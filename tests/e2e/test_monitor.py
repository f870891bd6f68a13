# SPDX-License-Identifier: GPL-2.0-or-later
"""A real machine's monitor, driven by QEMU's own client, by qmp-shell and by hand."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from profiler.qemu.qmp import Qmp, QmpError
from profiler.qemu.sync_profile import parse_sync_profile
from tests.support.monitors import MonitoredVm, Schema, Wire, everything, monitored_vm
from tests.support.rig import somebody_listens, wait_until
from tests.support.vm import make_image

pytestmark = pytest.mark.kvm

SIZE = 1 << 20
KEYS = [{"type": "qcode", "data": "ret"}]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredVm]:
    """A machine with everything that a command could be about."""
    with everything(tmp_path_factory.mktemp("monitored")) as vm:
        yield vm


@pytest.fixture
def qmp(machine: MonitoredVm) -> Iterator[Qmp]:
    with machine.qmp() as connection:
        yield connection


@pytest.fixture
def schema(qmp: Qmp) -> Schema:
    return Schema(qmp.execute("query-qmp-schema"))


PLAIN = (
    "query-version", "query-commands", "query-qmp-schema", "query-status", "query-name",
    "query-uuid", "query-kvm", "query-accelerators", "query-cpus-fast", "query-iothreads",
    "query-block", "query-named-block-nodes", "query-blockstats", "query-vnc",
    "query-vnc-servers", "query-stats-schemas", "qom-list-types", "x-query-bql",
)  # fmt: skip
ARGUED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("stop", {}),
    ("cont", {}),
    ("system_reset", {}),
    ("system_powerdown", {}),
    ("query-named-block-nodes", {"flat": True}),
    ("query-stats", {"target": "vm"}),
    ("query-stats", {"target": "vcpu"}),
    ("query-stats", {"target": "vm", "providers": [{"provider": "kvm", "names": ["pages_4k"]}]}),
    ("block-latency-histogram-set", {"id": "disk0", "boundaries": [1000, 1_000_000]}),
    ("query-blockstats", {}),
    ("block-latency-histogram-set", {"id": "disk0"}),
    ("object-add", {"qom-type": "iothread", "id": "io1", "poll-max-ns": 0}),
    ("x-blockdev-set-iothread", {"node-name": "d0", "iothread": "io1"}),
    ("x-blockdev-set-iothread", {"node-name": "d0", "iothread": None}),
    ("blockdev-add", {"driver": "raw", "node-name": "n1", "file": {"driver": "null-co"}}),
    ("query-named-block-nodes", {}),
    ("device_add", {"driver": "virtio-blk-device", "id": "disk9", "drive": "n1"}),
    ("query-block", {}),
    ("device_del", {"id": "disk9"}),
    ("blockdev-del", {"node-name": "n1"}),
    ("qom-set", {"path": "/objects/io1", "property": "poll-max-ns", "value": 5}),
    ("object-del", {"id": "io1"}),
    ("qom-list", {"path": "/objects"}),
    ("qom-list", {"path": "/machine/peripheral/disk0"}),
    ("qom-get", {"path": "/objects/io0", "property": "poll-max-ns"}),
    ("qom-list-get", {"paths": ["/objects/io0", "/machine/peripheral/disk0"]}),
    ("send-key", {"keys": KEYS}),
    ("input-send-event", {"events": [{"type": "rel", "data": {"axis": "x", "value": 3}}]}),
    ("set_password", {"protocol": "vnc", "password": "secret"}),
    ("change-vnc-password", {"password": "other"}),
    ("expire_password", {"protocol": "vnc", "time": "+60"}),
    ("trace-event-get-state", {"name": "*"}),
    ("trace-event-set-state", {"name": "monitor_*", "enable": False}),
    ("human-monitor-command", {"command-line": "info status"}),
)
ELSEWHERE = {"qmp_capabilities", "quit", "screendump"}
"""Commands with a test of their own."""


def test_every_answer_is_what_the_schema_says(qmp: Qmp, schema: Schema) -> None:
    for name in PLAIN:
        schema.check_reply(name, qmp.execute(name))
    for name, arguments in ARGUED:
        schema.check_reply(name, qmp.execute(name, arguments))


def test_every_command_of_the_schema_is_tried_here(qmp: Qmp, schema: Schema) -> None:
    tried = set(PLAIN) | {name for name, _ in ARGUED} | ELSEWHERE
    assert schema.names("command") == tried
    assert {row["name"] for row in qmp.execute("query-commands")} == tried


def test_a_screendump_is_a_picture_of_the_screen(qmp: Qmp, tmp_path: Path) -> None:
    qmp.execute("screendump", {"filename": str(tmp_path / "s.ppm")})
    assert (tmp_path / "s.ppm").read_bytes().startswith(b"P6\n640 480\n")
    qmp.execute("screendump", {"filename": str(tmp_path / "s.png"), "format": "png"})
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(QmpError, match="Could not create"):
        qmp.execute("screendump", {"filename": str(tmp_path / "no" / "s.ppm")})


@pytest.fixture
def wire(machine: MonitoredVm) -> Iterator[Wire]:
    connection = Wire(machine.socket)
    yield connection
    connection.close()


def test_events_come_before_the_reply_of_the_command_that_caused_them(wire: Wire) -> None:
    done: dict[str, Any] = {"return": {}}
    assert wire.until_reply({"execute": "stop"}) == ["STOP", done]
    assert wire.until_reply({"execute": "cont"}) == ["RESUME", done]
    assert wire.until_reply({"execute": "system_reset"}) == ["RESET", done]
    assert wire.until_reply({"execute": "system_powerdown"}) == ["POWERDOWN", done]


def test_events_reach_every_client_that_has_negotiated(machine: MonitoredVm, wire: Wire) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(machine.socket))
    other = Wire(machine.socket)
    assert wire.until_reply({"execute": "stop"})[0] == "STOP"
    assert other.read()["event"] == "STOP"
    wire.until_reply({"execute": "cont"})
    assert other.read()["event"] == "RESUME"
    other.close()
    silent.settimeout(20)
    assert silent.recv(65536).count(b"\r\n") == 1  # the greeting
    silent.close()


def test_every_event_is_what_the_schema_says(
    machine: MonitoredVm, wire: Wire, schema: Schema
) -> None:
    address = wire.until_reply({"execute": "query-vnc"})[0]["return"]
    with socket.create_connection((address["host"], int(address["service"])), 20):
        seen = [wire.read()]
    with machine.qmp() as other:
        for name, arguments in ARGUED:
            other.execute(name, arguments)
    seen += wire.events_so_far()
    names = {each["event"] for each in seen}
    assert names >= {"VNC_CONNECTED", "VNC_DISCONNECTED", "STOP", "RESUME", "RESET", "POWERDOWN"}
    assert "DEVICE_DELETED" in names
    for each in seen:
        schema.check_event(each)


def test_a_stopped_machine_says_so_and_goes_on(qmp: Qmp) -> None:
    qmp.execute("stop")
    assert qmp.execute("query-status") == {"running": False, "status": "paused"}
    assert qmp.hmp("info status") == "VM status: paused\n"
    qmp.execute("cont")
    assert qmp.execute("query-status") == {"running": True, "status": "running"}


def test_thread_ids_are_those_of_the_threads(machine: MonitoredVm, qmp: Qmp) -> None:
    def name(tid: int) -> str:
        path = Path(f"/proc/{machine.vm.process.pid}/task/{tid}/comm")
        return path.read_text().strip()

    cpus = qmp.execute("query-cpus-fast")
    assert [name(each["thread-id"]) for each in cpus] == ["CPU 0/KVM", "CPU 1/KVM"]
    (iothread,) = qmp.execute("query-iothreads")
    assert name(iothread["thread-id"]) == "IO io0"
    threads = Path(f"/proc/{machine.vm.process.pid}/task").iterdir()
    assert "IO mon_iothread" in {name(int(each.name)) for each in threads}


def test_qmp_shell_drives_the_machine(machine: MonitoredVm) -> None:
    program = shutil.which("qmp-shell", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None, "qmp-shell comes with qemu.qmp"
    typed = "stop\nquery-status\ncont\nqom-get path=/objects/io0 property=poll-max-ns\nnosuch\n"
    done = subprocess.run(
        [program, str(machine.socket)],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": "/nonexistent"},
    )
    assert "Connected to QEMU 10." in done.stdout
    assert "'status': 'paused'" in done.stdout.replace('"', "'")
    assert "32768" in done.stdout
    assert "The command nosuch has not been found" in done.stdout


def test_quit_ends_the_machine_and_takes_the_socket_away(tmp_path: Path) -> None:
    with monitored_vm(tmp_path) as vm:
        wire = Wire(vm.socket)
        assert stat.S_IMODE(vm.socket.stat().st_mode) == 0o600
        assert wire.until_reply({"execute": "quit"}) == ["SHUTDOWN", {"return": {}}]
        assert wire.socket.recv(1) == b""
        wire.close()
        assert vm.vm.finish().status == 0
        assert not vm.socket.exists()


def test_bytes_of_disk_requests_and_their_latencies_are_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", SIZE)
    append = "mode=blk rw=read bs=4096 iodepth=4 ms=600000"
    drive = ("--drive", f"file={image},id=d0")
    with monitored_vm(tmp_path, *drive, append=append) as vm, vm.qmp() as qmp:
        boundaries = [1000, 100_000, 10_000_000]
        qmp.execute("block-latency-histogram-set", {"id": "disk0", "boundaries": boundaries})

        def stats() -> dict[str, Any]:
            found: dict[str, Any] = qmp.execute("query-blockstats")[0]["stats"]
            return found

        def timed() -> int:
            return sum(stats()["rd_latency_histogram"]["bins"])

        wait_until(lambda: timed() > 100, "reads")
        qmp.execute("stop")
        found = stats()
        histogram = found["rd_latency_histogram"]
        assert histogram["boundaries"] == boundaries
        assert 100 < sum(histogram["bins"]) <= found["rd_operations"]
        assert found["rd_bytes"] == found["rd_operations"] * 4096
        assert 0 < found["rd_total_time_ns"] / found["rd_operations"] < 10e9
        assert found["wr_operations"] == found["failed_rd_operations"] == 0
        qmp.execute("block-latency-histogram-set", {"id": "disk0"})
        assert "rd_latency_histogram" not in stats()
        with pytest.raises(QmpError, match="set read boundaries fail"):
            qmp.execute("block-latency-histogram-set", {"id": "disk0", "boundaries": [2, 1]})


def test_without_a_recording_the_lock_is_silent_and_the_disks_are_not(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", SIZE)
    append = "mode=blk rw=read bs=4096 iodepth=1 ms=600000"
    options = ("--no-record", "--drive", f"file={image}")
    with monitored_vm(tmp_path, *options, append=append) as vm, vm.qmp() as qmp:
        assert qmp.hmp("sync-profile") == "sync-profile is off\n"
        assert parse_sync_profile(qmp.hmp("info sync-profile")) == {}
        assert "--no-record" in qmp.hmp("sync-profile on")
        with pytest.raises(QmpError, match="--no-record"):
            qmp.execute("x-query-bql")

        def reads() -> dict[str, Any]:
            found: dict[str, Any] = qmp.execute("query-blockstats")[0]["stats"]
            return found

        wait_until(lambda: reads()["rd_operations"] > 10, "reads")
        assert 0 < reads()["rd_total_time_ns"] / reads()["rd_operations"] < 10e9


def test_trace_events_are_told_on_standard_error(tmp_path: Path) -> None:
    with monitored_vm(tmp_path, "--trace", "vm_state_*") as vm, vm.qmp() as qmp:
        qmp.execute("stop")
        qmp.execute("trace-event-set-state", {"name": "monitor_qmp_cmd_*", "enable": True})
        qmp.execute("query-status")
        qmp.execute("trace-event-set-state", {"name": "*", "enable": False})
        qmp.execute("cont")
        vm.vm.process.terminate()
        told = vm.vm.finish().stderr
    assert "@" in told
    assert ":vm_state_notify running 0" in told
    assert "running 1" not in told.partition("running 0")[2]
    assert ":monitor_qmp_cmd_in_band" in told


def test_the_stuck_lock_is_explained_out_of_band(tmp_path: Path) -> None:
    """A Python device sleeps under the lock: in-band commands wait, x-query-bql does not."""
    path = tmp_path / "qmp"
    program = [sys.executable, "tests/support/slow_device.py", str(tmp_path / "r.bql"), "kvm", "3"]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([*program, str(path)], cwd=root, env=environment)
    try:
        wait_until(lambda: somebody_listens(path), "the monitor")
        wire = Wire(path, oob=True)
        assert wire.until_reply({"execute": "cont"}) == ["RESUME", {"return": {}}]
        held: list[dict[str, Any]] = []

        def seen() -> bool:
            wire.send({"exec-oob": "x-query-bql", "id": len(held)})
            held.append(wire.read()["return"])
            holder: dict[str, Any] = held[-1].get("holder", {})
            return holder.get("site") == "slow-device" and holder["held-ns"] < 1_000_000_000

        wait_until(seen, "the slow device")
        # It will think for two seconds more: a command that needs the lock waits for that long.
        wire.send({"execute": "query-status", "id": "slow"})
        wire.send({"exec-oob": "x-query-bql", "id": "fast"})
        first = wire.read()
        assert first["id"] == "fast"
        assert first["return"]["holder"]["role"] == "vcpu"
        assert first["return"]["waiters"] >= 1
        wire.close()
    finally:
        process.kill()
        process.wait()
