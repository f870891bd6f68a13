# SPDX-License-Identifier: GPL-2.0-or-later
"""One exporter: the processes, the registry of collectors, and the formats they are written in.

Rule: everything between taking the samples and the finished document happens under one lock, which
nobody holds while talking to a client. So a scrape waits for another one at most as long as that
takes to write (milliseconds), and never for the other one's client.
"""

import threading
import time
from collections.abc import Iterable, Set
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Metric

from exporters.collectors import LockCollector
from exporters.disk_collector import DiskCollector
from exporters.fleet import Fleet, World
from exporters.health import Health, Samples, SelfCollector
from exporters.host import HostCollector
from exporters.protobuf import ProtobufEncoder
from exporters.schema import CONTENT_TYPE, PACKAGE
from exporters.text import OPENMETRICS, TEXT, TextEncoder
from exporters.thread_collector import ThreadCollector
from exporters.vm import VmSample
from profiler.model import Process

CONTENT_TYPES = {"text": TEXT, "openmetrics": OPENMETRICS, "protobuf": CONTENT_TYPE}


class Document(NamedTuple):
    """A scrape: its format (a key of CONTENT_TYPES) and its bytes."""

    kind: str
    body: bytes


class Exporter:
    """What the HTTP server and the one-shot commands have in common. Close it."""

    def __init__(self, world: World) -> None:
        self.fleet = Fleet(world)
        self.health = Health(self.fleet.fail, time.perf_counter)
        self.registry = CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        samples = Samples()
        for collector in (
            LockCollector(self.fleet, samples, self.health),
            DiskCollector(samples, self.health),
            ThreadCollector(self.fleet, samples, self.health),
            HostCollector(self.fleet, samples, self.health),
            SelfCollector(self.fleet, self.health),
        ):
            self.registry.register(collector)
        self._encoders: dict[str, TextEncoder | ProtobufEncoder] = {
            "text": TextEncoder(with_exemplars=False),
            "openmetrics": TextEncoder(with_exemplars=True),
            "protobuf": ProtobufEncoder(classic=not world.per_thread),
        }

    def close(self) -> None:
        """Close all recordings; waits for a scrape that is going on."""
        with self._lock:
            self.fleet.close()

    def scrape(self, accept: str = "", only: Set[str] = frozenset()) -> Document:
        """Take all samples and write them as the Accept header asks.

        `only`: names of the metrics to write; all if it is empty.
        """
        kind = negotiate(accept)
        with self._lock:
            families = _chosen(self.registry.collect(), only)
            begin = time.perf_counter()
            body = self._encoders[kind].encode(families)
            self.health.answered(kind, time.perf_counter() - begin, len(body))
        return Document(kind, body)

    def samples(self) -> list[VmSample]:
        """All processes as of now, without writing anything."""
        with self._lock:
            return self.fleet.samples()[0]

    def processes(self) -> list[tuple[str, Process]]:
        """Names and processes as of now; reads no figures."""
        with self._lock:
            self.fleet.refresh()
            return self.fleet.processes()


def _chosen(families: Iterable[Metric], only: Set[str]) -> list[Metric]:
    return [
        family
        for family in families
        if not only or only & {family.name, getattr(family, "entry", family).name}
    ]


def negotiate(accept: str) -> str:
    """The format of CONTENT_TYPES that an Accept header likes best; text if it likes none."""
    best, kind = 0.0, "text"
    for part in accept.split(","):
        media, *parameters = (word.strip().lower() for word in part.split(";"))
        values = dict(word.partition("=")[::2] for word in parameters)
        offered = _offered(media, values)
        try:
            weight = float(values.get("q", "1"))
        except ValueError:
            continue
        if offered and weight > best:
            best, kind = weight, offered
    return kind


def _offered(media: str, parameters: dict[str, str]) -> str:
    """The format that one entry of an Accept header asks for, if we have it."""
    if media == "application/vnd.google.protobuf":
        wanted = (f"{PACKAGE}.metricfamily", "delimited")
        given = (parameters.get("proto", ""), parameters.get("encoding", ""))
        return "protobuf" if given == wanted else ""
    if media == "application/openmetrics-text":
        return "openmetrics" if parameters.get("version", "1.0.0") in ("1.0.0", "0.0.1") else ""
    if media in ("text/plain", "text/*", "*/*"):
        return "text" if parameters.get("version", "0.0.4") == "0.0.4" else ""
    return ""
