# SPDX-License-Identifier: GPL-2.0-or-later
"""Which processes are exported, under which names, for how long; and what bad recordings do."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters.exporter import Exporter
from exporters.fleet import GRACE_SECONDS
from exporters.grouping import Column
from exporters.mutex_profile import mutex_profile
from exporters.schedstat import SchedTotals, ThreadTimes, read_schedstat
from exporters.vm import RecordedVm
from profiler import layout
from profiler.model import Process
from profiler.reader import Recording
from tests.support.exporting import (
    OPENMETRICS,
    PROTOBUF,
    Log,
    alive_recording,
    exporter_of,
    scraped,
)
from tests.support.recordings import RecordingBuilder, example


def shown(exporter: Exporter) -> dict[str, float]:
    """Names of the exported processes, and whether they are up."""
    return {key[1][0]: up for key, up in scraped(exporter).items() if key[0] == "bql_process_up"}


class Lives:
    """Decides which process ids live, for recordings of processes that never were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pids: set[int] = set()
        # a function, so that it becomes a method
        monkeypatch.setattr(Recording, "_is_alive", lambda recording: self.is_alive(recording))  # noqa: PLW0108

    def is_alive(self, recording: Any) -> bool:
        process: Process = recording._process
        return process.pid in self.pids


@pytest.fixture(name="lives")
def _lives(monkeypatch: pytest.MonkeyPatch) -> Lives:
    return Lives(monkeypatch)


def record(directory: Path, pid: int, vm_name: str = "", start_time: int = 77) -> Path:
    build = example(pid=pid, vm_name=vm_name)
    build.header["process_start_time"] = start_time
    return build.write(directory / f"{pid}.bql")


def test_a_process_appears_with_its_recording_and_goes_some_time_after_its_end(
    tmp_path: Path, lives: Lives
) -> None:
    log = Log()
    with exporter_of(directories=(tmp_path,), log=log) as exporter:
        assert shown(exporter) == {}
        record(tmp_path, 11, "web")
        lives.pids = {11}
        assert shown(exporter) == {"web": 1}
        lives.pids = set()
        assert shown(exporter) == {"web": 0}
        log.now += GRACE_SECONDS - 1
        assert shown(exporter) == {"web": 0}
        log.now += 1
        assert shown(exporter) == {}
        assert shown(exporter) == {}
    assert log.lines == []


def test_a_recording_that_is_removed_at_the_end_is_shown_as_long(
    tmp_path: Path, lives: Lives
) -> None:
    with exporter_of(directories=(tmp_path,)) as exporter:
        path = record(tmp_path, 11, "web")
        lives.pids = {11}
        shown(exporter)
        path.unlink()
        lives.pids = set()
        assert shown(exporter) == {"web": 0}
        assert ("bql_contentions_total", ("vcpu", "serial", "web")) in scraped(exporter)


def test_the_dead_of_before_are_left_out_unless_asked_for(tmp_path: Path, lives: Lives) -> None:
    path = record(tmp_path, 11, "web")
    with exporter_of(directories=(tmp_path,)) as exporter:
        assert shown(exporter) == {}
    with exporter_of(path) as exporter:
        assert shown(exporter) == {"web": 0}
    with exporter_of(Path("11"), directories=(tmp_path,)) as exporter:
        assert shown(exporter) == {"web": 0}


def test_a_reused_process_id_is_another_process(tmp_path: Path, lives: Lives) -> None:
    lives.pids = {11}
    with exporter_of(directories=(tmp_path,)) as exporter:
        record(tmp_path, 11, "old", start_time=5)
        assert shown(exporter) == {"old": 1}
        lives.pids = set()
        shown(exporter)
        lives.pids = {11}
        (tmp_path / "11.bql").unlink()
        record(tmp_path, 11, "new", start_time=9)
        monitored = shown(exporter)
    assert monitored["new"] == 1


def test_names_are_unique_and_stay(tmp_path: Path, lives: Lives) -> None:
    lives.pids = {11, 12, 13, 14}
    with exporter_of(directories=(tmp_path,)) as exporter:
        record(tmp_path, 12, "web", start_time=2)
        record(tmp_path, 11, "web", start_time=9)
        record(tmp_path, 13)
        assert set(shown(exporter)) == {"web", "web-11", "qemu-system-x86-13"}
        lives.pids = {11, 13, 14}
        assert shown(exporter)["web"] == 0
        record(tmp_path, 14, "web", start_time=20)
        assert shown(exporter) == {"web": 1, "web-11": 1, "qemu-system-x86-13": 1}
        found = scraped(exporter)
    infos = [key[1] for key in found if key[0] == "bql_process_info" and "web" in key[1]]
    assert [info for info in infos if "14" in info]


def test_a_bad_recording_is_counted_at_every_scrape_and_told_about_once(
    tmp_path: Path, lives: Lives
) -> None:
    lives.pids = {11}
    log = Log()
    record(tmp_path, 11, "web")
    (tmp_path / "bad.bql").write_bytes(b"no recording" * 1000)
    (tmp_path / "12.bql").write_bytes(b"left over from long ago" * 1000)
    with exporter_of(directories=(tmp_path,), proc=tmp_path / "proc", log=log) as exporter:
        for expected in (1, 2, 3):
            found = scraped(exporter)
            assert found["bql_exporter_failures_total", ("recording",)] == expected
            assert found["bql_exporter_collector_success", ("lock",)] == 0
            assert found["bql_process_up", ("web",)] == 1
    (line,) = log.lines
    assert line.startswith(f"{tmp_path / 'bad.bql'}: not a recording")


def test_a_recording_that_is_cut_off_costs_only_itself(tmp_path: Path, lives: Lives) -> None:
    lives.pids = {11, 12}
    log = Log()
    record(tmp_path, 11, "web")
    broken = record(tmp_path, 12, "db")
    with exporter_of(directories=(tmp_path,), log=log) as exporter:
        assert set(shown(exporter)) == {"web", "db"}
        os.truncate(broken, 9_000)
        assert set(shown(exporter)) == {"web"}
        record(tmp_path, 12, "db")
        assert set(shown(exporter)) == {"web", "db"}
    assert len(log.lines) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make files of others")
def test_a_recording_of_another_user_is_refused(tmp_path: Path, lives: Lives) -> None:
    lives.pids = {11}
    log = Log()
    os.chown(record(tmp_path, 11, "web"), 65534, -1)
    with exporter_of(directories=(tmp_path,), log=log) as exporter:
        found = scraped(exporter)
    assert found["bql_exporter_failures_total", ("foreign",)] == 1
    assert log.lines == [f"{tmp_path / '11.bql'}: a recording of another user"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_recording_whatever_ends_a_scrape(tmp_path: Path, data: st.DataObject) -> None:
    """It may also turn into another one while it is exported."""
    path, log = tmp_path / "r.bql", Log()
    example().write(path)
    with exporter_of(path, log=log, per_thread=data.draw(st.booleans())) as exporter:
        if data.draw(st.booleans()):
            exporter.scrape()
        for accept in ("", OPENMETRICS, PROTOBUF):
            raw = damaged(data)
            with path.open("r+b") as file:  # in place: whoever has it open sees it
                file.write(raw)
                file.truncate()
            assert b"bql_exporter_failures" in exporter.scrape(accept).body
        mutex_profile(exporter.processes(), 0, lambda _: False, lambda _: None)
        assert exporter.fleet.failures["internal"] == 0, log.lines


def damaged(data: st.DataObject) -> bytes:
    """An example with some wrong bytes, most of them where the structure is, or with an end."""
    raw = example().data
    header = layout.HEADER.itemsize
    for _ in range(data.draw(st.integers(0, 12))):
        at = data.draw(st.integers(0, header - 1) | st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    return bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))])


def test_no_counter_falls_while_rows_change_under_the_copy(tmp_path: Path) -> None:
    """The difference of two counters may look one too small for a moment."""
    build = RecordingBuilder()
    main = build.thread(layout.Role.MAIN, "main")
    site = build.site("a.c", 1, "f")
    for _ in range(5):
        build.acquire(main, site, hold=3)
    path = build.write(tmp_path / "r.bql")

    def uncontended(vm: RecordedVm) -> Column:
        rows = vm.sample().rows
        assert rows is not None
        return rows.waits[:, 0]

    with Recording.open(path) as recording:
        vm = RecordedVm(recording, "vm", per_thread=False)
        assert uncontended(vm).tolist() == [5]
        build.row(main, site)["contended"] += 1
        build.threads["seq"][main] += 2
        path.write_bytes(build.data)
        assert uncontended(vm).tolist() == [5]


def test_seconds_do_not_fall_when_the_clock_is_calibrated_anew(tmp_path: Path) -> None:
    build = example()
    path = build.write(tmp_path / "r.bql")
    with exporter_of(path) as exporter:
        before = scraped(exporter)
        build.header["clock_monotonic_ns"] -= 100  # a tick is worth less now
        path.write_bytes(build.data)
        after = scraped(exporter)
    for key, value in before.items():
        if key[0].startswith("bql_") and key[0].endswith(("_total", "_sum", "_bucket", "_count")):
            assert after[key] >= value, key


def fake_tasks(proc: Path, times: dict[int, str]) -> None:
    for tid, line in times.items():
        (proc / "task" / str(tid)).mkdir(parents=True, exist_ok=True)
        (proc / "task" / str(tid) / "schedstat").write_text(line)


def test_cpu_time_is_read_by_thread(tmp_path: Path) -> None:
    fake_tasks(tmp_path, {7: "1000 200 3\n", 8: "5 6 7\n", 9: "broken\n"})
    assert read_schedstat(tmp_path) == {7: ThreadTimes(1000, 200), 8: ThreadTimes(5, 6)}


def test_cpu_time_of_a_role_never_falls(tmp_path: Path) -> None:
    totals, cpu, other = SchedTotals(), ("vcpu",), ("other",)
    totals.add({7: ThreadTimes(100, 10), 8: ThreadTimes(50, 5)}, {7: cpu, 8: other})
    totals.add({7: ThreadTimes(130, 11)}, {7: cpu})  # 8 ended
    assert totals.totals == {cpu: (130, 11), other: (50, 5)}
    totals.add({7: ThreadTimes(140, 11), 8: ThreadTimes(3, 1)}, {7: cpu, 8: cpu})  # a new 8
    assert totals.totals == {cpu: (143, 12), other: (50, 5)}
    totals.add({7: ThreadTimes(150, 20), 8: ThreadTimes(4, 1)}, {7: other, 8: cpu})  # another role
    assert totals.totals == {cpu: (144, 12), other: (60, 14)}


def test_cpu_time_is_exported_by_role(tmp_path: Path) -> None:
    build = example()
    proc = tmp_path / "proc"
    fake_tasks(
        proc / str(os.getpid()),
        {901: "1000000000 5 1", 902: "2000000000 6 1", 903: "500000000 7 1", 999: "8 9 1"},
    )
    with (
        alive_recording(build, tmp_path / "r.bql"),
        exporter_of(tmp_path / "r.bql", proc=proc) as exporter,
    ):
        found = scraped(exporter)
    assert found["bql_thread_cpu_seconds_total", ("vcpu", "guest")] == 2.5
    assert found["bql_thread_cpu_seconds_total", ("main", "guest")] == 1.0
    assert found["bql_thread_runqueue_seconds_total", ("vcpu", "guest")] == 13e-9
    assert found["bql_thread_cpu_seconds_total", ("other", "guest")] == 8e-9
