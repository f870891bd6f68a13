# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged and hostile files of events: one clear line, or a readable beginning with a note."""

import struct
import tempfile
import time
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.commands.report import make_page
from profiler.errors import RecordingError
from profiler.layout import Role
from profiler.reports.page import render
from profiler.traces import format as fmt
from profiler.traces.batch import Batch
from profiler.traces.source import open_source
from tests.support.events import drain, relay
from tests.support.recordings import RecordingBuilder
from tests.support.reports import NOW

SECONDS = 2.0


@cache
def good() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        drain(relay().write(Path(folder) / "r.bql"), Path(folder) / "r.events")
        return (Path(folder) / "r.events").read_bytes()


def chunks(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Offset, kind and content of each chunk."""
    found, at = [], fmt.FILE_HEADER.size
    while at < len(data):
        header = data[at : at + fmt.CHUNK_HEADER.size]
        kind, size, *_ = fmt.CHUNK_HEADER.unpack(header)
        stored = data[at + fmt.CHUNK_HEADER.size :][:size]
        found.append((at, kind, fmt.unpack(header, stored) or b""))
        at += fmt.CHUNK_HEADER.size + size
    return found


def rebuilt(*contents: tuple[bytes, bytes]) -> bytes:
    return fmt.file_header() + b"".join(fmt.pack_chunk(*content) for content in contents)


def report(path: Path, unreadable: bool) -> None:
    """A page or one line, whatever the file says; a file that cannot be read has no page."""
    try:
        text = render(make_page(str(path), NOW))
    except RecordingError as error:
        text, said = "", error.message
    if text:
        assert not unreadable
        assert text.endswith("</html>\n")
    else:
        assert said.startswith(f"{path}: ")
        assert "\n" not in said


def use(data: bytes) -> tuple[Batch | None, str]:
    """Read all of a file. Returns its events, and the error or the notes."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.events"
        path.write_bytes(data)
        try:
            with open_source(path) as source:
                batch = Batch.joined(list(source.batches()))
                source.snapshot()
                said = "; ".join(source.notes)
        except RecordingError as error:
            batch, said = None, error.message
        report(path, batch is None)
        paths = 0 if batch is not None else 1
        assert (said.startswith(f"{path}: "), said.count(str(path))) == (bool(paths), paths)
    assert "\n" not in said
    assert time.monotonic() - began < SECONDS
    return batch, said


@given(st.lists(st.tuples(st.integers(0, len(good()) - 1), st.binary(min_size=1, max_size=6))))
def test_overwritten_bytes(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(good())
    for at, new in changes:
        data[at : at + len(new)] = new[: len(data) - at]
    batch, said = use(bytes(data))
    if bytes(data) != good() and batch is not None and len(batch) < 4:
        assert said


@given(st.data())
def test_contents_that_are_wrong_under_a_right_checksum(data: st.DataObject) -> None:
    contents = [(kind, bytearray(raw)) for _, kind, raw in chunks(good())]
    for _ in range(data.draw(st.integers(1, 4))):
        _, raw = data.draw(st.sampled_from(contents))
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    use(rebuilt(*((kind, bytes(raw)) for kind, raw in contents)))


@given(st.integers(0, len(good())))
def test_a_file_cut_anywhere_keeps_its_beginning(length: int) -> None:
    batch, said = use(good()[:length])
    marks = {kind: at for at, kind, _ in chunks(good())}
    if length >= marks[fmt.END]:
        assert batch is not None
        assert len(batch) == 4
    if length < marks[fmt.TABLES]:
        assert batch is None
    assert bool(said) == (length < len(good()))


def test_a_killed_recorder_is_named_as_such() -> None:
    end = next(at for at, kind, _ in chunks(good()) if kind == fmt.END)
    batch, said = use(good()[:end])
    assert batch is not None
    assert len(batch) == 4
    assert said == "the recorder was killed: the end is missing, all before it is good"
    assert use(good()[: end + 5])[1].startswith("cut off at byte ")


def test_a_chunk_with_a_wrong_checksum_ends_the_file_there() -> None:
    at = next(at for at, kind, _ in chunks(good()) if kind == fmt.EVENTS)
    data = bytearray(good())
    data[at + fmt.CHUNK_HEADER.size] ^= 1
    batch, said = use(bytes(data))
    assert batch is not None
    assert len(batch) == 0
    assert said == f"damaged at byte {at} of {len(good())}: all before it was read"


def test_an_unknown_chunk_is_skipped() -> None:
    contents = [(kind, raw) for _, kind, raw in chunks(good())]
    batch, said = use(rebuilt(contents[0], (b"NEWS", b"of a later version"), *contents[1:]))
    assert batch is not None
    assert (len(batch), said) == (4, "")


def test_a_bomb_is_refused_before_it_is_allocated() -> None:
    stored = zlib.compress(bytes(1 << 20), 9)
    for size in (1 << 10, fmt.LARGEST_RAW + 1):
        head = struct.pack("<4sII", b"EVNT", len(stored), size)
        crc = struct.pack("<I", zlib.crc32(stored, zlib.crc32(head)))
        first = rebuilt(chunks(good())[0][1:])
        _, said = use(first + head + crc + stored)
        assert f"damaged at byte {len(first)} " in said


HEADS: dict[str, tuple[Any, str]] = {
    "process": (None, "process is missing"),
    "clock": ({"kind": "sundial"}, "clock 'sundial' does not exist"),
    "began": (-1, "began is '-1'"),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_wrong_head_is_one_clear_line(name: str) -> None:
    value, problem = HEADS[name]
    (_, kind, raw), *rest = chunks(good())
    head = fmt.pack_json(kind, fmt.unpack_json(raw) | {name: value})
    tail = b"".join(fmt.pack_chunk(kind, raw) for _, kind, raw in rest)
    batch, said = use(fmt.file_header() + head + tail)
    assert batch is None
    assert said.endswith(f"damaged: {problem}")


def test_files_of_other_versions_and_kinds_are_refused() -> None:
    assert use(good()[:8] + b"\x02" + good()[9:])[1].endswith(
        "a file of version 2; this program reads version 1"
    )
    assert use(b"")[1].endswith("truncated: nothing at byte 0")
    assert use(fmt.MAGIC)[1].endswith("not a file of `bqlscope record`")
    assert use(fmt.file_header())[1].endswith("damaged: it has no head")


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    build = RecordingBuilder()
    build.thread(Role.VCPU, "\x1b[31mred")
    drain(build.write(tmp_path / "r.bql"), tmp_path / "r.events")
    with open_source(tmp_path / "r.events") as source:
        assert source.names.thread(0) == "\N{REPLACEMENT CHARACTER}[31mred"
