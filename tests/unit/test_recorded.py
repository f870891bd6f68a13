# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader against the real recorder, in a program whose workload is known."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler import cli
from profiler.blame import HANDOFF, UNKNOWN, blame_matrix
from profiler.check import Verdict, check_snapshot
from profiler.model import Blocked, Integrity, Kind, Role, Snapshot
from profiler.reader import Recording, find_recordings
from profiler.summary import summarise

ROOT = Path(__file__).parents[2]
WAITS, TRYLOCKS, FIGHTERS = 23, 17, 3  # as in recording_writer.c
COPIES = 5


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled recording_writer."""
    program = tmp_path_factory.mktemp("writer") / "recording_writer"
    subprocess.run(["make", "-s", "-f", "native.mk", "lib"], cwd=ROOT, check=True)
    includes = ["-Ivmm/native", "-Iprofiler/recorder", "-Itests/native"]
    source = ["tests/native/recording_writer.c", "build/release/libbqlvmm.a"]
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-pthread", "-Wall", "-Werror", *includes]
    command = ["gcc", *flags, "-o", str(program), *source, "-luring", "-lm", "-ldl"]
    subprocess.run(command, cwd=ROOT, check=True)
    return program


@pytest.fixture
def exact(writer: Path, tmp_path: Path) -> Snapshot:
    subprocess.run([writer, "exact", tmp_path / "r.bql"], check=True, timeout=60)
    with Recording.open(tmp_path / "r.bql") as recording:
        return recording.snapshot(events=True)


@pytest.fixture
def busy(writer: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [str(writer), "busy", str(tmp_path / "r.bql")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_every_wait_of_a_known_workload_is_there(exact: Snapshot) -> None:
    assert exact.closed
    assert exact.process.vm_name == "known"
    main, vcpu = exact.threads
    assert (main.role, main.name) == (Role.MAIN, "writer")
    assert (vcpu.role, vcpu.name, vcpu.live) == (Role.VCPU, "CPU 0/KVM", False)
    by_site = {exact.site_label(row.site): row for row in exact.rows if row.total}
    serial = by_site["serial"]
    assert (serial.total, serial.contended, serial.thread) == (WAITS, WAITS, vcpu.index)
    poll = by_site["os_host_main_loop_wait main-loop.c:301"]
    assert (poll.total, poll.blocked_count[Blocked.DRAIN]) == (WAITS, WAITS)
    assert 0 < poll.blocked_ticks[Blocked.DRAIN] <= poll.hold_total
    trylocks = next(row for row in exact.rows if row.acquisitions[Kind.TRYLOCK])
    assert trylocks.acquisitions == (0, TRYLOCKS, 0)
    assert trylocks.contended == 0


def test_the_known_holder_is_blamed_for_every_wait(exact: Snapshot) -> None:
    entries = [e for e in exact.blame if e.waiter.thread == 1]
    assert [(exact.site_label(e.holder.site), e.count) for e in entries] == [
        ("os_host_main_loop_wait main-loop.c:301", WAITS)
    ]
    matrix = blame_matrix(exact)
    row = matrix.ticks[matrix.waiters.index("vcpu")]
    assert sum(row) == matrix.waits[matrix.waiters.index("vcpu")]
    assert matrix.cell("vcpu", "main") + matrix.cell("vcpu", HANDOFF) == sum(row)
    assert matrix.cell("vcpu", UNKNOWN) == 0


def test_the_events_name_the_first_holder(exact: Snapshot) -> None:
    records = exact.events[1].records
    assert len(records) == WAITS + TRYLOCKS
    contended = records[records["contended"]]
    assert len(contended) == WAITS
    assert set(contended["holder_thread"].tolist()) == {0}


def test_a_known_workload_keeps_every_law(exact: Snapshot) -> None:
    report = check_snapshot(exact)
    assert [c for c in report.checks if c.verdict is not Verdict.HOLDS] == []
    assert summarise(exact).vcpu_bql_wait_share > 0


def test_snapshots_of_a_fighting_process_never_break_a_law(
    busy: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    with Recording.open(tmp_path / "r.bql") as recording:
        snapshots = [recording.snapshot(events=True) for _ in range(9)]
    for snapshot in snapshots:
        assert snapshot.process.alive
        assert [c for c in check_snapshot(snapshot).checks if c.verdict is Verdict.VIOLATED] == []
    between = snapshots[-1].since(snapshots[0])
    assert sum(row.total for row in between.rows) > 0
    assert len(snapshots[0].threads) == FIGHTERS


def test_the_recording_of_a_killed_process_is_read_with_at_most_torn_rows(
    busy: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    busy.kill()
    busy.wait()
    with Recording.open(tmp_path / "r.bql") as recording:
        snapshot = recording.snapshot(events=True)
    assert not snapshot.process.alive
    assert not snapshot.closed
    assert {t.integrity for t in snapshot.threads} <= {Integrity.EXACT, Integrity.TORN}
    report = check_snapshot(snapshot)
    assert [c for c in report.checks if c.verdict is Verdict.VIOLATED] == []
    assert sum(row.total for row in snapshot.rows) >= 2 * FIGHTERS - 1


def test_a_copy_of_a_recording_in_use_is_known_as_one_and_never_called_wrong(
    busy: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    copy = tmp_path / "copy.bql"
    for _ in range(COPIES):
        subprocess.run(["cp", "--sparse=always", tmp_path / "r.bql", copy], check=True)
        with Recording.open(copy) as recording:
            snapshot = recording.snapshot(events=True)
        report = check_snapshot(snapshot)
        assert {thread.integrity for thread in snapshot.threads} == {Integrity.COPIED}
        assert report.ok
        assert report.count(Verdict.HOLDS) > 0


def test_a_process_that_ends_in_order_closes_its_recording(
    busy: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert busy.stdin is not None
    busy.stdin.close()
    assert busy.wait() == 0
    with Recording.open(tmp_path / "r.bql") as recording:
        snapshot = recording.snapshot(events=True)
    assert snapshot.closed
    assert {t.live for t in snapshot.threads} == {False}
    assert check_snapshot(snapshot).ok


@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_running_process_is_found_where_the_recorder_put_its_file(
    writer: Path,
    tmp_path: Path,
    variable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "without recordings"))
    monkeypatch.setenv(variable, str(tmp_path))
    command = [str(writer), "busy", "default"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert [(p.pid, p.alive) for p in find_recordings()] == [(process.pid, True)]
        assert cli.main(["check", str(process.pid)]) == 0
        process.kill()
    assert "(alive)" in capsys.readouterr().out
    assert [(p.pid, p.alive) for p in find_recordings()] == [(process.pid, False)]
