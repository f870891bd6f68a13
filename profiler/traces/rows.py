# SPDX-License-Identifier: GPL-2.0-or-later
"""Acquisitions as text, one a row: CSV, and a JSON document that ends with them.

Times are ns; `acquired_ns` is CLOCK_MONOTONIC. `holder_thread` and `holder_site` are who held the
lock at the request, empty if nobody did or that is not known.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, BinaryIO

from profiler.blame import blame_matrix
from profiler.model import Kind
from profiler.records import NOBODY
from profiler.summary import summarise
from profiler.traces import tables
from profiler.traces.batch import Batch, Column, monotonic_ns, whole_ns
from profiler.traces.source import Source

COLUMNS = (
    *("acquired_ns", "wait_ns", "hold_ns", "thread", "tid", "role", "site", "device"),
    *("kind", "contended", "holder_thread", "holder_site"),
)
SCHEMA = 1


def write_csv(source: Source, out: BinaryIO) -> None:
    """Write a header and a line for each acquisition. Constant memory. Raises OSError."""
    out.write(",".join(COLUMNS).encode() + b"\n")
    for block in _blocks(source, _quoted):
        out.write("".join(f"{','.join(map(str, row))}\n" for row in block).encode())


def write_json(source: Source, out: BinaryIO) -> None:
    """Write one document: process, tables, figures, then all acquisitions as rows of `columns`.

    Constant memory. Raises OSError.
    """
    head = json.dumps(_head(source), indent=1, allow_nan=False)
    out.write(head[: head.rindex("\n}")].encode() + b',\n "events": [')
    separator = "\n  "
    for block in _blocks(source, json.dumps):
        rows = (f"[{','.join(map(str, row))}]" for row in block)
        out.write((separator + ",\n  ".join(rows)).encode())
        separator = ",\n  "
    out.write(b"\n ]\n}\n")


def _head(source: Source) -> dict[str, Any]:
    snapshot = source.snapshot()
    matrix = blame_matrix(snapshot)
    names = source.names
    return {
        "schema": SCHEMA,
        "process": tables.process_to_json(source.process),
        "clock": tables.clock_to_json(source.clock),
        "notes": source.notes,
        "threads": [tables.thread_to_json(names.threads[i]) for i in sorted(names.threads)],
        "sites": [
            {**tables.site_to_json(names.sites[i]), "label": names.site(i)}
            for i in sorted(names.sites)
        ],
        "summary": summarise(snapshot).to_json(),
        "blame_ns": {
            waiter: {
                holder: snapshot.clock.ns(ticks)
                for holder, ticks in zip(matrix.holders, cells, strict=True)
                if ticks
            }
            for waiter, cells in zip(matrix.waiters, matrix.ticks, strict=True)
        },
        "columns": list(COLUMNS),
    }


def _quoted(name: str) -> str:
    """A text as a CSV field."""
    if any(character in name for character in ',"\n\r'):
        return '"' + name.replace('"', '""') + '"'
    return name


def _blocks(source: Source, quote: Callable[[str], str]) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Rows of COLUMNS, block by block."""
    names = source.names
    columns: Mapping[str, Callable[[int], str]] = {
        "thread": cache(lambda index: quote(names.thread(index))),
        "tid": cache(lambda index: str(names.tid(index))),
        "role": cache(lambda index: quote(names.role(index))),
        "site": cache(lambda index: quote(names.site(index))),
        "device": cache(lambda index: quote(names.device(index))),
        "kind": cache(lambda kind: quote(Kind(kind).name.lower())),
        "holder": cache(lambda index: quote("" if index == NOBODY else names.thread(index))),
    }
    nobody = quote("")
    for batch in source.batches():
        yield _block(source, batch, columns, nobody)


def _block(
    source: Source, batch: Batch, columns: Mapping[str, Callable[[int], str]], nobody: str
) -> Iterator[tuple[Any, ...]]:
    def named(kind: str, values: Column) -> Iterator[str]:
        return map(columns[kind], values.tolist())

    holders = zip(batch.holder_thread.tolist(), batch.holder_site.tolist(), strict=True)
    clock = source.clock
    return zip(
        monotonic_ns(clock, batch.acquired).tolist(),
        whole_ns(clock, batch.wait).tolist(),
        whole_ns(clock, batch.hold).tolist(),
        named("thread", batch.thread),
        named("tid", batch.thread),
        named("role", batch.thread),
        named("site", batch.site),
        named("device", batch.site),
        named("kind", batch.kind),
        batch.contended.astype(int).tolist(),
        named("holder", batch.holder_thread),
        (nobody if thread == NOBODY else columns["site"](site) for thread, site in holders),
        strict=True,
    )
