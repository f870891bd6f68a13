# SPDX-License-Identifier: GPL-2.0-or-later
"""Synthetic recordings: a recorder in slow motion, for tests of everything that reads one.

    build = RecordingBuilder()
    main = build.thread(Role.MAIN, "qemu")
    cpu = build.thread(Role.VCPU, "CPU 0/KVM")
    serial = build.site("physmem.c", 2874, "mmio_write", region="serial")
    poll = build.site("main-loop.c", 301, "os_host_main_loop_wait")
    build.acquire(main, poll, hold=700)
    build.acquire(cpu, serial, hold=30, blame=[(main, poll, 400)], handoff=11)
    path = build.write(tmp_path / "1.bql")

Ticks are nanoseconds times `ticks_per_ns`; the clock of the builder advances by what is acquired.
"""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from profiler import layout
from profiler.discovery import process_start_time
from profiler.histogram import bucket_index
from profiler.layout import (
    Blocked,
    ClockKind,
    Exit,
    FileState,
    Hist,
    Kind,
    Request,
    Role,
    ThreadState,
)

START_TICKS = 1_000_003
START_MONOTONIC_NS = 5_000_000_007
START_REALTIME_NS = 1_700_000_000_000_000_009
PAGE = 4096


def _table(name: str, offset: int, capacity: int, stride: int) -> dict[str, int]:
    """The header's fields that say where a table is; the layout is in bytes."""
    return {f"{name}_offset": offset, f"{name}_capacity": capacity, f"{name}_stride": stride}


class RecordingBuilder:
    """Builds one recording in memory. Capacities are small so that a test may mutate all of it."""

    def __init__(
        self,
        *,
        pid: int = 4_000_001,
        threads: int = 4,
        sites: int = 8,
        rows: int = 12,
        blame: int = 16,
        events: int = 32,
        queues: int = 4,
        ticks_per_ns: float = 2.0,
        vm_name: str = "guest",
    ) -> None:
        live = PAGE
        sites_at = live + 512
        handover_at = sites_at + sites * layout.SITE.itemsize
        rows_at = handover_at + 8 * layout.HANDOVER.itemsize
        blame_at = layout.THREAD.itemsize
        events_at = blame_at + blame * layout.BLAME.itemsize
        block = -(-(events_at + events * layout.EVENT.itemsize) // 64) * 64
        spill_at = rows_at + rows * layout.ROW.itemsize
        threads_at = spill_at + rows * layout.SPILL.itemsize
        queues_at = -(-(threads_at + threads * block) // 64) * 64
        size = queues_at + queues * layout.QUEUE.itemsize

        self.data = bytearray(size)
        self.header = self._view(layout.HEADER, 0)
        self.live = self._view(layout.LIVE, live)
        self._sites = self._array(layout.SITE, sites_at, sites, layout.SITE.itemsize)
        self.rows = self._array(layout.ROW, rows_at, rows, layout.ROW.itemsize)
        self.spill = self._array(layout.SPILL, spill_at, rows, layout.SPILL.itemsize)
        self.threads = self._array(layout.THREAD, threads_at, threads, block)
        self.blame = [
            self._array(layout.BLAME, threads_at + i * block + blame_at, blame, 40)
            for i in range(threads)
        ]
        self.events = [
            self._array(layout.EVENT, threads_at + i * block + events_at, events, 32)
            for i in range(threads)
        ]
        self.queues = self._array(layout.QUEUE, queues_at, queues, layout.QUEUE.itemsize)
        self.now = START_TICKS
        self._ticks_per_ns = ticks_per_ns
        self._next_row = threads
        self._fill_header(
            magic=layout.MAGIC,
            version=layout.VERSION,
            header_size=layout.HEADER.itemsize,
            file_size=size,
            pid=pid,
            process_start_time=77,
            clock_kind=ClockKind.TSC,
            live_offset=live,
            rows_used=threads,
            **_table("sites", sites_at, sites, layout.SITE.itemsize),
            **_table("handover", handover_at, 8, layout.HANDOVER.itemsize),
            **_table("rows", rows_at, rows, layout.ROW.itemsize),
            spill_offset=spill_at,
            spill_stride=layout.SPILL.itemsize,
            near_buckets=layout.NEAR_BUCKETS,
            **_table("threads", threads_at, threads, block),
            **_table("blame", blame_at, blame, layout.BLAME.itemsize),
            **_table("events", events_at, events, layout.EVENT.itemsize),
            **_table("queues", queues_at, queues, layout.QUEUE.itemsize),
            buckets=layout.BUCKETS,
            process_name=b"qemu-system-x86",
            vm_name=vm_name.encode(),
            clock_start_ticks=START_TICKS,
            clock_start_monotonic_ns=START_MONOTONIC_NS,
            clock_start_realtime_ns=START_REALTIME_NS,
            enabled=1,
            state=FileState.OPEN,
        )
        self.site("", 0, "(other)")
        self.sync()

    def _view(self, kind: np.dtype[Any], at: int) -> Any:
        return self._array(kind, at, 1, kind.itemsize)[0:1]

    def _array(self, kind: np.dtype[Any], at: int, count: int, stride: int) -> Any:
        return np.ndarray((count,), kind, buffer=self.data, offset=at, strides=(stride,))

    def _fill_header(self, **values: Any) -> None:
        for name, value in values.items():
            self.header[name] = value

    def thread(self, role: Role, name: str, tid: int = 0) -> int:
        """Register a thread; returns its index."""
        index = int(self.header["threads_used"][0])
        self.header["threads_used"] = index + 1
        head = self.threads[index : index + 1]
        head["state"], head["role"], head["incarnations"] = ThreadState.LIVE, role, 1
        head["tid"], head["name"], head["first_seen"] = tid or 100 + index, name.encode(), self.now
        return index

    def site(self, file: str, line: int, func: str, region: str = "") -> int:
        """Intern a call site; returns its id."""
        index = int(self.header["sites_used"][0])
        self.header["sites_used"] = index + 1
        entry = self._sites[index : index + 1]
        entry["file"], entry["func"] = file.encode(), func.encode()
        entry["region"], entry["line"], entry["ready"] = region.encode(), line, 1
        return index

    def row(self, thread: int, site: int) -> Any:
        """The row of a thread at a site, as a writable view of length one."""
        slot = self.threads["row_of_site"][thread]
        if not slot[site]:
            number = thread if site == 0 else self._next_row
            self._next_row += site != 0
            slot[site] = number + 1
            self.header["rows_used"] = self._next_row
            fresh = self.rows[number : number + 1]
            fresh["in_use"], fresh["thread"], fresh["site"] = 1, thread, site
        number = self.row_number(thread, site)
        return self.rows[number : number + 1]

    def row_number(self, thread: int, site: int) -> int:
        """Place of the row of a thread at a site, which has one."""
        return int(self.threads["row_of_site"][thread][site]) - 1

    def count(self, number: int, hist: Hist, bucket: int, count: int = 1) -> None:
        """Add so many samples (may be negative) to a bucket of a histogram of row `number`."""
        row = self.rows[number : number + 1]
        counted = count
        if bucket < layout.NEAR_BUCKETS:
            counted += int(row["near"][0, hist, bucket])
            row["near"][0, hist, bucket] = counted & 0xFFFF
            counted &= ~0xFFFF
        if counted:
            row["spills"] += 1
            self.spill["count"][number, hist, bucket] += np.uint64(counted)

    def acquire(
        self,
        thread: int,
        site: int,
        *,
        hold: int,
        blame: Sequence[tuple[int, int, int]] = (),
        handoff: int = 0,
        unknown: int = 0,
        contended: bool | None = None,
        kind: Kind = Kind.LOCK,
        blocked: Mapping[Blocked, int] | None = None,
    ) -> None:
        """One acquisition, recorded as the recorder would; blame is (thread, site, ticks)."""
        parts = sum(ticks for *_, ticks in blame)
        wait = parts + handoff + unknown
        waited = bool(wait) if contended is None else contended
        request, acquired = self.now, self.now + wait
        self.now = acquired + hold
        row = self.row(thread, site)
        row["seq"] += 2
        row["acquisitions"][0][kind] += 1
        row["hold_total"] += hold
        self.count(self.row_number(thread, site), Hist.HOLD, self._bucket(hold))
        if hold > row["max_hold"][0]:
            row["max_hold"], row["max_hold_at"] = hold, acquired
        for reason, ticks in (blocked or {}).items():
            row["blocked_ticks"][0][reason] += ticks
            row["blocked_count"][0][reason] += 1
        first = layout.who(*blame[0][:2]) if blame else 0
        if waited:
            row["handoff"] += handoff
            row["unknown"] += unknown
            self._wait(row, wait, request, blame)
            self.count(self.row_number(thread, site), Hist.WAIT, self._bucket(wait))
            for holder_thread, holder_site, ticks in blame:
                self._blame(thread, site, layout.who(holder_thread, holder_site), ticks)
        self._event(thread, acquired, wait, hold, site | kind << 16 | waited << 18 | first << 32)

    def _wait(
        self, row: Any, wait: int, request: int, blame: Sequence[tuple[int, int, int]]
    ) -> None:
        row["contended"] += 1
        row["wait_total"] += wait
        if wait >= row["max_wait"][0]:
            row["max_wait"], row["max_wait_at"] = wait, request
            largest = max(blame, key=lambda part: part[2], default=None)
            row["max_wait_who"] = layout.who(*largest[:2]) if largest else 0

    def _blame(self, thread: int, site: int, holder: int, ticks: int) -> None:
        for i in range(len(self.blame[thread])):
            entry = self.blame[thread][i : i + 1]
            if not entry["used"][0]:
                entry["used"], entry["waiter_site"], entry["holder"] = 1, site, holder
                self.threads["blames_used"][thread] = i + 1
            if entry["waiter_site"][0] == site and entry["holder"][0] == holder:
                entry["ticks"] += ticks
                entry["count"] += 1
                entry["max"] = max(int(entry["max"][0]), ticks)
                return
        raise ValueError("the blame table is full")

    def _event(self, thread: int, acquired: int, wait: int, hold: int, detail: int) -> None:
        head = int(self.threads["events_head"][thread])
        ring = self.events[thread]
        ring[head % len(ring)] = (acquired, wait, hold, detail)
        self.threads["events_head"][thread] = head + 1

    def queue(self, device: str, queue: int, placement: str) -> int:
        """A disk queue; its row."""
        row = int(self.header["queues_used"][0])
        entry = self.queues[row : row + 1]
        entry["in_use"], entry["index"] = 1, queue
        entry["device"], entry["placement"] = device.encode(), placement.encode()
        self._fill_header(queues_used=row + 1)
        return row

    def request(
        self, row: int, duration: int, kind: Request = Request.READ, size: int = 4096
    ) -> None:
        """A request of a queue, completed after so many ticks."""
        entry = self.queues[row : row + 1]
        entry["requests"][0][kind] += 1
        entry["duration_total"] += duration
        entry["duration_hist"][0][self._bucket(duration)] += 1
        entry["max_duration"] = max(int(entry["max_duration"][0]), duration)
        entry["max_inflight"] = max(int(entry["max_inflight"][0]), 1)
        if kind is Request.READ:
            entry["read_bytes"] += size
        elif kind is Request.WRITE:
            entry["written_bytes"] += size

    def hold_now(
        self, thread: int, site: int, *, blocked: Blocked = Blocked.NONE, waiters: int = 0
    ) -> None:
        """Somebody holds the lock at the end of the recording."""
        self.live["holder"], self.live["since"] = layout.who(thread, site), self.now
        self.live["blocked"], self.live["blocked_since"] = blocked, self.now
        self.live["waiters"] = waiters

    def sync(self, after: int = 1_000_000) -> None:
        """Synchronise the clock `after` ticks from now."""
        self.now += after
        elapsed = round((self.now - START_TICKS) / self._ticks_per_ns)
        self._fill_header(
            clock_ticks=self.now,
            clock_monotonic_ns=START_MONOTONIC_NS + elapsed,
            clock_realtime_ns=START_REALTIME_NS + elapsed,
            clock_seq=int(self.header["clock_seq"][0]) + 2,
        )

    @staticmethod
    def _bucket(ticks: int) -> int:
        return min(int(bucket_index(ticks)), layout.BUCKETS - 1)

    def write(self, path: Path) -> Path:
        """Write the recording and return its path."""
        path.write_bytes(self.data)
        return path


def example(**options: Any) -> RecordingBuilder:
    """A small machine with odd counts: two vCPUs behind a main loop that polls and draws."""
    build = RecordingBuilder(**options)
    main = build.thread(Role.MAIN, "qemu-system-x86", tid=901)
    cpu0 = build.thread(Role.VCPU, "CPU 0/KVM", tid=902)
    cpu1 = build.thread(Role.VCPU, "CPU 1/KVM", tid=903)
    poll = build.site("util/main-loop.c", 301, "os_host_main_loop_wait")
    serial = build.site("system/physmem.c", 2874, "mmio_read", region="serial")
    pic = build.site("system/physmem.c", 2874, "mmio_read", region="ioapic")
    for i in range(23):
        build.acquire(main, poll, hold=7_001 + i, blocked={Blocked.GIL: 101})
    for i in range(17):
        build.acquire(
            cpu1, serial, hold=301, blame=[(main, poll, 5_003 + i), (cpu0, pic, 97)], handoff=13
        )
    for i in range(5):
        build.acquire(cpu0, pic, hold=211, blame=[(main, poll, 1_009 + i)], unknown=3)
    build.acquire(cpu0, pic, hold=7, kind=Kind.TRYLOCK)
    build.acquire(main, 0, hold=1, kind=Kind.COND, contended=True)
    build.row(cpu0, pic)["trylock_failed"] += 3
    disk = build.queue("disk0", 0, "iothread")
    for i in range(11):
        build.request(disk, 20_011 + i, kind=Request.WRITE if i % 4 == 0 else Request.READ)
    build.threads["exits"][cpu1][Exit.PIO] = 19
    build.sync()
    return build


@contextmanager
def written_by_us(build: RecordingBuilder, path: Path) -> Iterator[mmap.mmap]:
    """The recording of a process that is alive and has the file mapped: this one."""
    build.header["pid"] = os.getpid()
    build.header["process_start_time"] = process_start_time(os.getpid())
    build.write(path)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        yield mapped
