# SPDX-License-Identifier: GPL-2.0-or-later
"""What a trace processor would make of a trace: parsed by Perfetto's own messages, then replayed.

Events are sorted by time, those of one instant stay in the order of the file; an end closes the
innermost open slice of its track; the first event with a flow id is where the arrow departs.
"""

import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto


@dataclass
class Slice:
    """A slice of a thread's track; times are ns, `depth` 0 is outermost."""

    thread: str
    tid: int
    name: str
    start: int
    depth: int
    args: dict[str, Any]
    end: int = -1

    @property
    def duration(self) -> int:
        return self.end - self.start


@dataclass
class Trace:
    """All slices in the order in which they begin, and the arrows between them."""

    slices: list[Slice] = field(default_factory=list)
    arrows: list[tuple[Slice, Slice]] = field(default_factory=list)
    process: tuple[int, str] = (0, "")
    threads: dict[int, str] = field(default_factory=dict)
    clocks: list[dict[int, int]] = field(default_factory=list)

    def starting(self, prefix: str) -> list[Slice]:
        return [found for found in self.slices if found.name.startswith(prefix)]


def packets(data: bytes) -> list[Any]:
    """All packets, those inside compressed ones too."""
    trace = proto.Trace()
    trace.ParseFromString(data)
    found: list[Any] = []
    for packet in trace.packet:
        if packet.HasField("compressed_packets"):
            found += packets(zlib.decompress(packet.compressed_packets))
        else:
            found.append(packet)
    return found


class _Tables:
    """Interned texts of the one sequence."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.arguments: dict[int, str] = {}
        self.strings: dict[int, str] = {}

    def learn(self, data: Any) -> None:
        for table, entries in (
            (self.names, data.event_names),
            (self.arguments, data.debug_annotation_names),
        ):
            table.update((entry.iid, entry.name) for entry in entries)
        strings = data.debug_annotation_string_values
        self.strings.update((entry.iid, entry.str.decode()) for entry in strings)

    def values(self, annotations: Any) -> dict[str, Any]:
        found = {}
        for entry in annotations:
            text = entry.HasField("string_value_iid")
            value = self.strings[entry.string_value_iid] if text else entry.uint_value
            found[self.arguments[entry.name_iid]] = value
        return found


def replay(data: bytes) -> Trace:
    """Make slices and arrows of a trace. Fails on anything a trace processor would complain of."""
    trace, tables = Trace(), _Tables()
    tracks: dict[int, tuple[int, str]] = {}
    events = []
    for packet in packets(data):
        if packet.HasField("clock_snapshot"):
            clocks = packet.clock_snapshot.clocks
            trace.clocks.append({clock.clock_id: clock.timestamp for clock in clocks})
        if packet.HasField("interned_data"):
            tables.learn(packet.interned_data)
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            if track.HasField("process"):
                trace.process = track.process.pid, track.process.process_name
            else:
                tracks[track.uuid] = track.thread.tid, track.thread.thread_name or track.name
        if packet.HasField("track_event"):
            assert packet.trusted_packet_sequence_id == 1
            event = packet.track_event
            begins = event.type == proto.TrackEvent.TYPE_SLICE_BEGIN
            name = tables.names[event.name_iid] if begins else ""
            args = tables.values(event.debug_annotations)
            flows = list(event.flow_ids) + list(event.terminating_flow_ids)
            events.append((packet.timestamp, tracks[event.track_uuid], begins, name, args, flows))
    trace.threads = dict(tracks.values())
    events.sort(key=lambda event: event[0])
    _replay(trace, events)
    return trace


def _replay(trace: Trace, events: list[Any]) -> None:
    stacks: dict[int, list[Slice]] = defaultdict(list)
    departed: dict[int, Slice] = {}
    for instant, (tid, thread), begins, name, args, flows in events:
        stack = stacks[tid]
        if begins:
            stack.append(Slice(thread, tid, name, instant, len(stack), args))
            trace.slices.append(stack[-1])
            current = stack[-1]
        else:
            current = stack.pop()
            current.end = instant
        for flow in flows:
            if flow in departed:
                trace.arrows.append((departed.pop(flow), current))
            else:
                departed[flow] = current
    assert not departed, "an arrow that arrives nowhere"
    assert not any(stacks.values()), "a slice that never ends"
