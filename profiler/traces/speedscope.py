# SPDX-License-Identifier: GPL-2.0-or-later
"""speedscope: two profiles, of waiting and of holding, both in nanoseconds.

Stacks are added up, so the views "left heavy" and "sandwich" say what they always do; "time order"
shows stacks side by side, not when they happened. For that there is Perfetto.
"""

import json
from typing import Any, BinaryIO

from profiler.model import Snapshot
from profiler.traces.source import Source
from profiler.traces.stacks import Frame, stack, wait_parts, wait_stack

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def write(source: Source, out: BinaryIO) -> None:
    """Write the figures of a source. Raises OSError."""
    out.write(json.dumps(document(source.snapshot())).encode())


def document(snapshot: Snapshot) -> dict[str, Any]:
    """The file's content for a snapshot or an interval."""
    frames: dict[Frame, int] = {}
    waits = [(wait_stack(snapshot, part), part.ticks) for part in wait_parts(snapshot)]
    holds = [(stack(snapshot, row.who), row.hold_total) for row in snapshot.rows if row.total]
    process = snapshot.process
    title = " ".join(filter(None, (process.name, process.vm_name, str(process.pid))))
    profiles = [
        _profile(snapshot, frames, "waiting for the big lock", waits),
        _profile(snapshot, frames, "holding the big lock", holds),
    ]
    return {
        "$schema": SCHEMA,
        "exporter": "bqlscope",
        "name": title,
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(frame) for frame in frames]},
        "profiles": profiles,
    }


def _profile(
    snapshot: Snapshot, frames: dict[Frame, int], name: str, parts: list[tuple[list[Frame], int]]
) -> dict[str, Any]:
    samples = [[frames.setdefault(frame, len(frames)) for frame in which] for which, _ in parts]
    weights = [round(snapshot.clock.ns(ticks)) for _, ticks in parts]
    return {
        "type": "sampled",
        "name": name,
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": samples,
        "weights": weights,
    }


def _frame(frame: Frame) -> dict[str, Any]:
    place = {"file": frame.file, "line": frame.line} if frame.file else {}
    return {"name": frame.name, **place}
