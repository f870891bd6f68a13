# SPDX-License-Identifier: GPL-2.0-or-later
"""A real VM, a real exporter and a real Prometheus."""

import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from profiler.reader import Recording
from tests.support.exporting import Scraped
from tests.support.prometheus import prometheus
from tests.support.qemu_vm import ENDLESS, command
from tests.support.qemus import QEMUS, qemu_id
from tests.support.rig import PATIENCE_SECONDS, REGISTER, Gate, Later, Rig, wait_until
from tests.support.vm import Vm, environment, start_vm
from vmm.cpu import resume_all

LOAD = "rw=read iodepth=16 bs=4096 ms=600000 warmup_ms=1"
ACCELERATORS = pytest.mark.parametrize(
    "accel", [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
)


@contextmanager
def exporting(*options: str, runtime: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """An exporter of what runs under `runtime`, and of nothing else on this machine."""
    runtime.mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-m", "exporters", "--listen", "127.0.0.1:0", *options]
    env = {**environment(runtime), "TMPDIR": str(runtime)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stderr is not None
        match = re.search(r"serving (http://[\d.:]+)/metrics", process.stderr.readline())
        assert match
        yield process, match[1]
    finally:
        process.kill()
        process.communicate()


def scrape(url: str) -> Scraped:
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ups(url: str) -> list[float]:
    return [up for key, up in scrape(url).items() if key[0] == "bql_process_up"]


@contextmanager
def busy_vm(runtime: Path, accel: str, *options: str) -> Iterator[Vm]:
    """A VM whose main loop and vCPUs want the lock all the time."""
    with start_vm(
        *("--kernel", "micro", "--smp", "2", "--accel", accel, "--append", LOAD),
        *("--drive", "driver=null,size=64M", *options),
        runtime=runtime,
    ) as vm:
        yield vm


@ACCELERATORS
def test_prometheus_scrapes_text_of_a_running_vm(accel: str, tmp_path: Path) -> None:
    runtime, targets = tmp_path / "run", tmp_path / "targets.json"
    with (
        busy_vm(runtime, accel) as vm,
        exporting("--sd", str(targets), runtime=runtime),
        prometheus(tmp_path, targets, "--enable-feature=exemplar-storage") as server,
    ):
        server.wait_for("bql_process_up == 1")
        # sorted labels: role, vm
        rates = server.wait_for(
            'sum by (vm, role) (rate(bql_acquisitions_total{role="vcpu"}[5s])) > 0'
        )
        (((role, name), rate),) = rates.items()
        assert (role, rate > 0) == ("vcpu", True)
        quantile = "histogram_quantile(0.9, sum by (le) (rate(bql_hold_seconds_bucket[5s])))"
        (hold,) = server.wait_for(f"{quantile} > 0").values()
        assert 0 < hold < 1.1
        (ratio,) = server.wait_for(f'bql_held_ratio{{vm="{name}"}} > 0').values()
        assert 0 < ratio <= 1
        (cpu,) = server.wait_for(
            f'rate(bql_thread_cpu_seconds_total{{vm="{name}", role="vcpu"}}[5s]) > 0'
        ).values()
        assert cpu < 3
        assert ("pio", name) in server.wait_for('bql_vcpu_exits_total{kind="pio"} > 0')
        wait_until(
            lambda: bool(
                server.api(
                    "query_exemplars", query="bql_wait_seconds_bucket", start="0", end="9999999999"
                )
            ),
            "an exemplar",
        )
        assert server.query("min(bql_exporter_collector_success)") == {(): 1.0}
        vm.process.send_signal(signal.SIGKILL)
        server.wait_for("bql_process_up == 0")
        vm.finish()


@ACCELERATORS
def test_prometheus_scrapes_native_histograms(accel: str, tmp_path: Path) -> None:
    runtime, targets = tmp_path / "run", tmp_path / "targets.json"
    with (
        busy_vm(runtime, accel),
        exporting("--sd", str(targets), runtime=runtime),
        prometheus(tmp_path, targets, "--enable-feature=native-histograms") as server,
    ):
        server.wait_for("bql_process_up == 1")
        count = "histogram_count(sum(rate(bql_hold_seconds[5s])))"
        (rate,) = server.wait_for(f"{count} > 0").values()
        quantile = "histogram_quantile(0.9, sum(rate(bql_hold_seconds[5s])))"
        (hold,) = server.wait_for(f"{quantile} > 0").values()
        assert rate > 0
        assert 0 < hold < 1.1
        assert server.query("bql_hold_seconds_bucket") == {}  # native ones only
        assert server.query('bql_exporter_responses_total{format="protobuf"} > 0')
        (target,) = server.api("targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")


def test_a_stuck_lock_is_seen_while_it_is_stuck(tmp_path: Path) -> None:
    """A device holds the lock until the test lets it go: a monitor could not answer now."""
    path, gate = tmp_path / "r.bql", Gate()
    with Rig(path) as rig:
        assert rig.try_add(REGISTER, 4, gate, name="stuck-device") == 0
        cpu = rig.add_cpu()
        with rig.bql.held():
            resume_all([cpu])
        stuck = Later(rig, cpu)
        assert gate.entered.wait(PATIENCE_SECONDS)
        with exporting(str(path), runtime=tmp_path) as (_, url):
            first, second = scrape(url), scrape(url)
            gate.released.set()
            assert stuck.result() == 0x55
            (labels,) = (key[1] for key in first if key[0] == "bql_process_up")
            held = ("bql_owner_held_seconds", labels)
            wait_until(lambda: scrape(url)[held] == 0, "the lock to be free")
    assert 0 < first[held] < second[held]
    (owner,) = (key[1] for key in second if key[0] == "bql_owner_info")
    _, role, site, thread, _, _ = owner  # sorted: blocked, role, site, thread, tid, vm
    assert (role, site, thread) == ("vcpu", "stuck-device", "CPU 0/QTEST")


@ACCELERATORS
def test_run_starts_an_exporter_that_ends_with_the_vm(accel: str, tmp_path: Path) -> None:
    with busy_vm(tmp_path / "run", accel, "--metrics", "127.0.0.1:0") as vm:
        vm.wait_until_running()
        assert vm.process.stderr is not None
        line = vm.process.stderr.readline()
        match = re.fullmatch(r"bqlscope: serving (http://[\d.:]+)/metrics\n", line)
        assert match, line
        wait_until(
            lambda: any(
                value > 0
                for key, value in scrape(match[1]).items()
                if key[0] == "bql_acquisitions_total"
            ),
            "acquisitions",
        )
        vm.process.send_signal(signal.SIGKILL)
        # Its end closes the pipe that it shares with the VM.
        vm.process.communicate(timeout=30)
    with pytest.raises(OSError, match="refused"):
        scrape(match[1])


@ACCELERATORS
def test_an_exporter_that_is_killed_in_a_scrape_does_the_vm_no_harm(
    accel: str, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    with busy_vm(runtime, accel) as vm:
        for _ in range(3):
            with exporting(runtime=runtime) as (exporter, url):
                port = int(url.rpartition(":")[2])
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    exporter.kill()
        (path,) = vm.recordings()
        with Recording.open(path) as recording:
            before = recording.snapshot()
            wait_until(
                lambda: sum(row.total for row in recording.snapshot().since(before).rows) > 1000,
                "the VM to go on",
            )
            assert recording.process.alive


@ACCELERATORS
def test_a_vm_that_is_killed_in_a_scrape_does_the_exporter_no_harm(
    accel: str, tmp_path: Path
) -> None:
    runtime = tmp_path / "run"
    with exporting(runtime=runtime) as (exporter, url):
        for _ in range(2):
            with busy_vm(runtime, accel) as vm:
                wait_until(
                    lambda: 1 in ups(url),
                    "the process to appear",
                )
                killer = threading.Thread(target=vm.process.kill)
                killer.start()
                for _ in range(10):
                    scrape(url)
                killer.join()
                vm.finish()
            wait_until(
                lambda: (
                    not any(
                        up == 1 for key, up in scrape(url).items() if key[0] == "bql_process_up"
                    )
                ),
                "the process to be down",
            )
        found = scrape(url)
        assert found["bql_exporter_failures_total", ("internal",)] == 0
        assert exporter.poll() is None


@pytest.mark.kvm
@pytest.mark.qemu
@pytest.mark.parametrize("qemu", QEMUS, ids=qemu_id)
def test_qemu_is_exported_with_its_devices_until_it_ends(qemu: Path, tmp_path: Path) -> None:
    guest = command(qemu, "-serial", "stdio", words=f"mode=idle {ENDLESS}", cpus=2)
    options = ["--quiet", "--metrics", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "profiler", "qemu", *options, "--", *guest],
        env={**environment(tmp_path), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            for line in process.stderr:  # QEMU may have to say something, too
                said.append(line)
                match = re.search(r"serving (http://[\d.:]+)/metrics", line)
                if match:
                    break
            assert match, said
            wait_until(
                lambda: any(
                    key[0] == "bql_acquisitions_total" and "serial 0x3fd" in key[1]
                    for key in scrape(match[1])
                ),
                "acquisitions for a device that has its name",
            )
            found = scrape(match[1])
            assert any(
                value > 0 and "pio" in key[1]
                for key, value in found.items()
                if key[0] == "bql_vcpu_exits_total"
            )
        finally:
            process.send_signal(signal.SIGTERM)
            # The exporter has our pipe as well: its end is that of both.
            process.communicate(timeout=30)
