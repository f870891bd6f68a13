# SPDX-License-Identifier: GPL-2.0-or-later
"""What py-spy prints and what lies beside a recording: read without trusting a byte of it."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import UserError
from profiler.model import Process
from profiler.stacks.dump import (
    LONGEST_NAME,
    MOST_FRAMES,
    Frame,
    StackError,
    ThreadStack,
    parse_dump,
)
from profiler.stacks.store import append_dump, dump_from_json, read_dumps, stacks_path
from tests.support.dumps import make_dump
from tests.support.recordings import example

FRAME = {"name": "read", "short_filename": "dev.py", "filename": "/x/dev.py", "line": 9}
THREAD = {"os_thread_id": 7, "thread_name": "CPU 0", "owns_gil": True, "frames": [FRAME]}


def parsed(*threads: Any) -> tuple[ThreadStack, ...]:
    return parse_dump(json.dumps(threads).encode())


def test_threads_and_frames_are_read() -> None:
    assert parsed(THREAD) == (ThreadStack(7, "CPU 0", True, (Frame("read", "dev.py", 9),)),)
    assert Frame("read", "a/dev.py", 9).label == "read dev.py:9"
    assert Frame("mutex_lock", "libc.so.6", 0).label == "mutex_lock libc.so.6"
    assert parsed({**THREAD, "thread_name": None})[0].name == ""


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[", b"null", b'"x"', b"\xff\xfe", b"[" * 200_000, b"7" * 10_000, b"[1e999"],
)
def test_an_answer_that_is_no_list_of_threads_is_one_line(data: bytes) -> None:
    with pytest.raises(StackError, match="no list of threads"):
        parse_dump(data)


@pytest.mark.parametrize(
    "thread",
    [
        7,
        None,
        [],
        {},
        {**THREAD, "os_thread_id": None},
        {**THREAD, "os_thread_id": -7},
        {**THREAD, "os_thread_id": True},
        {**THREAD, "os_thread_id": "7"},
        {**THREAD, "os_thread_id": 10**30},
        {**THREAD, "os_thread_id": 7.0},
    ],
)
def test_a_thread_that_makes_no_sense_is_left_out(thread: Any) -> None:
    assert [found.tid for found in parsed(thread, {**THREAD, "os_thread_id": 8})] == [8]


@pytest.mark.parametrize("frames", [None, 7, {}, "frames", [None, 7, "x", []]])
def test_frames_that_make_no_sense_are_left_out(frames: Any) -> None:
    assert parsed({**THREAD, "frames": frames})[0].frames == ()


def test_names_are_printable_and_bounded_and_stacks_too() -> None:
    hostile = {"name": "\x1b]0;owned\x07" + "x" * 9999, "short_filename": [], "line": -1}
    (found,) = parsed({**THREAD, "frames": [hostile] * 5000})
    assert len(found.frames) == MOST_FRAMES
    name = found.frames[0].name
    assert len(name) == LONGEST_NAME
    assert name.isprintable()
    assert (found.frames[0].file, found.frames[0].line) == ("", 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["os_thread_id", "frames", "name", "line", "schema", "holder", "waiters", "role"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_json_breaks_the_parsers(value: Any) -> None:
    data = json.dumps(value).encode()
    dump_from_json(data)
    if isinstance(value, list):
        parse_dump(data)


@given(st.sampled_from(sorted(make_dump().to_json())), json_values)
def test_a_stored_line_with_any_wrong_field_is_a_dump_or_none(name: str, value: Any) -> None:
    document = {**make_dump().to_json(), name: value}
    found = dump_from_json(json.dumps(document).encode())
    assert found is None or 0 < found.begin_ns <= found.end_ns


def process_of(path: Path) -> Process:
    example().write(path)
    return Process(path, 4_000_001, 77, "qemu", "guest", alive=False)


def test_what_is_stored_is_read_again_and_is_nobody_elses(tmp_path: Path) -> None:
    process = process_of(tmp_path / "r.bql")
    late, early = make_dump(begin_ns=7, end_ns=9), make_dump(begin_ns=5, end_ns=6, same=False)
    previous = os.umask(0)
    try:
        path = append_dump(process.path, late)
    finally:
        os.umask(previous)
    append_dump(process.path, early)
    assert path == tmp_path / "r.bql.stacks.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_dumps(process).dumps == (early, late)


def test_dumps_of_another_process_and_damaged_lines_are_skipped_and_counted(
    tmp_path: Path,
) -> None:
    process = process_of(tmp_path / "r.bql")
    append_dump(process.path, make_dump(start_time=78))
    append_dump(process.path, make_dump(pid=1))
    ours = make_dump()
    path = append_dump(process.path, ours)
    with path.open("ab") as file:
        file.write(b'{"schema": 2}\n\xff\n{"schema": 1, "pid": 4000001')
    found = read_dumps(process)
    assert found.dumps == (ours,)
    assert found.skipped == 5


def test_a_link_is_neither_written_to_nor_read(tmp_path: Path) -> None:
    process = process_of(tmp_path / "r.bql")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(json.dumps(make_dump().to_json()) + "\n")
    stacks_path(process.path).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(UserError):
        append_dump(process.path, make_dump())
    assert elsewhere.read_bytes() == before
    assert read_dumps(process).dumps == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_as_good_as_none(tmp_path: Path) -> None:
    process = process_of(tmp_path / "r.bql")
    path = append_dump(process.path, make_dump())
    os.chown(path, 12345, -1)
    assert read_dumps(process).dumps == ()
    with pytest.raises(UserError, match="not a file of ours"):
        append_dump(process.path, make_dump())


def test_neither_a_file_nor_a_fifo_nor_a_directory_is_waited_for(tmp_path: Path) -> None:
    process = process_of(tmp_path / "r.bql")
    assert read_dumps(process).dumps == ()
    os.mkfifo(stacks_path(process.path))
    assert read_dumps(process).dumps == ()
    with pytest.raises(UserError):
        append_dump(process.path, make_dump())
    gone = replace(process, path=tmp_path / "gone" / "r.bql")
    with pytest.raises(UserError):
        append_dump(gone.path, make_dump())
