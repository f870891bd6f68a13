# SPDX-License-Identifier: GPL-2.0-or-later
"""Every metric that is exported, as one table: names and labels are an interface.

docs/metrics.md is generated from it (`python -m exporters.reference`, a test compares). Collectors
refer to these entries; no other module spells a metric's name.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]

THREAD_LABELS = ("thread", "tid")
"""Added to metrics that are `per_thread` with `--per-thread`."""

SUFFIXES = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True)
class Metric:
    """A metric. `name` is as exposed; `source` says where the number comes from."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: str
    per_thread: bool = False

    @property
    def family(self) -> str:
        """Name without the suffix of its kind, as OpenMetrics has it."""
        return self.name.removesuffix(SUFFIXES.get(self.kind, ""))

    @property
    def unit(self) -> str:
        """`seconds`, `bytes`, `ratio` or nothing."""
        last = self.family.rpartition("_")[2]
        return last if last in ("seconds", "bytes", "ratio") else ""

    def label_names(self, per_thread: bool) -> tuple[str, ...]:
        """Names of the labels."""
        return self.labels + (THREAD_LABELS if per_thread and self.per_thread else ())


_ROW = ("vm", "role", "site")

WAIT = Metric(
    "bql_wait_seconds",
    "histogram",
    _ROW,
    "Time from asking for the big lock to having it; waits of no length included.",
    "recording: rows",
    per_thread=True,
)
HOLD = Metric(
    "bql_hold_seconds",
    "histogram",
    _ROW,
    "Time from having the big lock to giving it back.",
    "recording: rows",
    per_thread=True,
)
ACQUISITIONS = Metric(
    "bql_acquisitions_total",
    "counter",
    (*_ROW, "kind"),
    "Acquisitions of the big lock; kind is lock, trylock or cond (taken again after a condition"
    " wait). Kinds that never occurred have no series, but lock has.",
    "recording: rows",
    per_thread=True,
)
CONTENTIONS = Metric(
    "bql_contentions_total",
    "counter",
    _ROW,
    "Acquisitions of the big lock that had to wait.",
    "recording: rows",
    per_thread=True,
)
TRYLOCK_FAILURES = Metric(
    "bql_trylock_failures_total",
    "counter",
    _ROW,
    "Attempts to take the big lock without waiting that did not get it; only sites with some.",
    "recording: rows",
    per_thread=True,
)
BLOCKED = Metric(
    "bql_blocked_seconds_total",
    "counter",
    ("vm", "waiter_role", "holder_role", "holder_site"),
    "Time that threads of waiter_role waited because of a holder. All holders of a waiter_role add"
    " up to its waits: holder_role handoff is time in which the lock was free and the waiter still"
    " waking up, unknown is time whose holder was forgotten.",
    "recording: blame tables, rows",
)
HELD_WHILE_BLOCKED = Metric(
    "bql_held_while_blocked_seconds_total",
    "counter",
    ("vm", "site", "reason"),
    "Part of the holds in which the holder slept; reason is what it slept for (gil, drain, join,"
    " file_io, stop_vcpus, cond, poll, lock, other). Only reasons that occurred.",
    "recording: rows",
)
GIL_WAIT = Metric(
    "bql_gil_wait_seconds_total",
    "counter",
    _ROW,
    "Part of the holds spent waiting for Python's interpreter lock; only sites with some.",
    "recording: rows",
    per_thread=True,
)
OWNER_HELD = Metric(
    "bql_owner_held_seconds",
    "gauge",
    ("vm",),
    "How long the present holder has had the big lock; 0 while it is free.",
    "recording: live line",
)
OWNER = Metric(
    "bql_owner_info",
    "info",
    ("vm", "role", "thread", "tid", "site", "blocked"),
    "Who holds the big lock right now; blocked is what the holder sleeps for, none if it does not."
    " No series while the lock is free.",
    "recording: live line",
)
WAITERS = Metric(
    "bql_waiters", "gauge", ("vm",), "Threads waiting for the big lock.", "recording: live line"
)
HELD_RATIO = Metric(
    "bql_held_ratio",
    "gauge",
    ("vm",),
    "Part of the time since a scrape at least a second ago in which somebody held the big lock,"
    " 0 to 1; at the first scrape, since the recording began.",
    "recording: rows, live line",
)
THREADS = Metric(
    "bql_threads",
    "gauge",
    ("vm", "role"),
    "Threads that have taken the big lock or were announced to the recorder, and live.",
    "recording: thread table",
)
VCPU_EXITS = Metric(
    "bql_vcpu_exits_total",
    "counter",
    ("vm", "kind"),
    "Returns of the vCPUs to user space, by what for: pio, mmio, interrupted (kicked by a signal),"
    " emulation, hlt, irq_window, shutdown or other. What the kernel handles is not counted.",
    "recording: thread table",
)
_QUEUE = ("vm", "device", "queue", "placement")
BLK_DURATION = Metric(
    "bql_virtio_blk_request_duration_seconds",
    "histogram",
    _QUEUE,
    "Time of a disk request, from the batch in which it was taken from the ring to the batch in"
    " which it was completed. Placement is who processes the queue: vcpu, mainloop or iothread.",
    "recording: queue table",
)
BLK_REQUESTS = Metric(
    "bql_virtio_blk_requests_total",
    "counter",
    (*_QUEUE, "request"),
    "Completed disk requests; request is read, write, flush or other. Kinds that never occurred"
    " have no series, but read has.",
    "recording: queue table",
)
BLK_ERRORS = Metric(
    "bql_virtio_blk_request_errors_total",
    "counter",
    _QUEUE,
    "Disk requests that failed.",
    "recording: queue table",
)
BLK_BYTES = Metric(
    "bql_virtio_blk_bytes_total",
    "counter",
    (*_QUEUE, "direction"),
    "Bytes that disk requests read and wrote.",
    "recording: queue table",
)
BLK_DEPTH = Metric(
    "bql_virtio_blk_queue_depth",
    "gauge",
    _QUEUE,
    "Requests taken from the ring and not completed, right now.",
    "recording: queue table",
)
THREAD_CPU = Metric(
    "bql_thread_cpu_seconds_total",
    "counter",
    ("vm", "role"),
    "CPU time of the process's threads, the guest's included; role other has all threads that the"
    " recorder does not know.",
    "/proc/PID/task/TID/schedstat",
    per_thread=True,
)
THREAD_RUNQUEUE = Metric(
    "bql_thread_runqueue_seconds_total",
    "counter",
    ("vm", "role"),
    "Time in which the process's threads could have run and had no CPU.",
    "/proc/PID/task/TID/schedstat",
    per_thread=True,
)
UP = Metric(
    "bql_process_up",
    "gauge",
    ("vm",),
    "1 while the recorded process lives; 0 afterwards, until its series are dropped.",
    "recording: header; /proc",
)
PROCESS = Metric(
    "bql_process_info",
    "info",
    ("vm", "pid", "process", "clock", "python", "gil"),
    "The recorded process. clock is what its times are measured with (tsc or monotonic); python is"
    " the version it runs on and gil whether that build has an interpreter lock (1, 0), both empty"
    " for a process that is not Python.",
    "recording: header; /proc/PID/exe",
)
PROCESS_START = Metric(
    "bql_process_start_time_seconds",
    "gauge",
    ("vm",),
    "When the recorded process started, in seconds since the epoch; all its counters began there.",
    "recording: header; /proc/stat",
)
RECORDING_ENABLED = Metric(
    "bql_recording_enabled",
    "gauge",
    ("vm",),
    "1 while acquisitions are recorded, 0 while the recorder is switched off.",
    "recording: header",
)
RECORDING_LOST = Metric(
    "bql_recording_lost_total",
    "counter",
    ("vm", "what"),
    "What the recorder had no room for: sites, rows (both counted under the site (other)), threads,"
    " acquisitions and trylocks (of threads without a block, counted nowhere), blame (parts of"
    " waits counted as unknown), events (not in the event ring, counted everywhere else).",
    "recording: header, thread table",
)
BUILD = Metric(
    "bql_build_info",
    "info",
    ("version", "python"),
    "The exporter.",
    "installed package",
)
HOST = Metric(
    "bql_host_info",
    "info",
    ("kernel", "machine", "cpus", "kvm", "nested"),
    "The host; cpus are those the exporter may use, kvm whether it could run a guest, nested"
    " whether exits are slow because the host is itself a guest without hardware help.",
    "uname, /dev/kvm, /sys/module",
)
COLLECTOR_SECONDS = Metric(
    "bql_exporter_collector_duration_seconds",
    "gauge",
    ("collector",),
    "How long this collector took in this scrape.",
    "exporter",
)
COLLECTOR_SUCCESS = Metric(
    "bql_exporter_collector_success",
    "gauge",
    ("collector",),
    "1 if this collector got everything it looked for in this scrape.",
    "exporter",
)
FAILURES = Metric(
    "bql_exporter_failures_total",
    "counter",
    ("reason",),
    "What went wrong: recording (damaged, truncated, not finished), foreign (a recording of another"
    " user), proc (threads could not be read), client (a client was too slow, left or broke the"
    " protocol), refused (a connection over the limit), internal (a bug).",
    "exporter",
)
PROCESSES = Metric(
    "bql_exporter_processes",
    "gauge",
    ("state",),
    "Recorded processes that are exported: live ones, and dead ones that are not dropped yet.",
    "exporter",
)
RESPONSES = Metric(
    "bql_exporter_responses_total",
    "counter",
    ("format",),
    "Scrapes answered, by format: text, openmetrics, protobuf.",
    "exporter",
)
RENDER_SECONDS = Metric(
    "bql_exporter_render_seconds_total",
    "counter",
    ("format",),
    "Time spent on writing scrapes in this format, collecting not included.",
    "exporter",
)
RESPONSE_BYTES = Metric(
    "bql_exporter_response_bytes_total",
    "counter",
    ("format",),
    "Size of the scrapes answered, before compression.",
    "exporter",
)
ROWS_READ = Metric(
    "bql_exporter_rows_read_total",
    "counter",
    (),
    "Rows of recordings that were copied; those of threads at rest are not copied again.",
    "exporter",
)
ROWS_UNSETTLED = Metric(
    "bql_exporter_rows_unsettled_total",
    "counter",
    (),
    "Rows that changed during every attempt to copy them: their figures may be one acquisition"
    " apart.",
    "exporter",
)
EXPORTER_CPU = Metric(
    "bql_exporter_cpu_seconds_total",
    "counter",
    (),
    "CPU time of the exporter itself.",
    "exporter",
)
EXPORTER_MEMORY = Metric(
    "bql_exporter_resident_memory_bytes",
    "gauge",
    (),
    "Memory of the exporter itself.",
    "/proc/self/statm",
)
EXPORTER_START = Metric(
    "bql_exporter_start_time_seconds",
    "gauge",
    (),
    "When the exporter started, in seconds since the epoch.",
    "exporter",
)

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
"""All of them, in the order of this file."""
