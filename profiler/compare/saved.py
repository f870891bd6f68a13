# SPDX-License-Identifier: GPL-2.0-or-later
"""A comparison that was written as JSON, turned back into the `Result` it was written from.

What was measured is read: the trials, the blame, what was run where. What follows from it
(medians, intervals, ratios, the verdict) is computed again by the code that computed it then, so
that a report and a difference cannot disagree with the table.

The file may come from anybody: every wrong type or missing key ends in a UserError with one line
that names the file and the key.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from profiler.compare.host import Host
from profiler.compare.metrics import METRICS
from profiler.compare.placement import Placement, PlanError
from profiler.compare.plan import Plan
from profiler.compare.result import SCHEMA, BlameShare, Result, metric_ratio
from profiler.compare.statistics import estimate
from profiler.compare.vmm import Identity, Job, TrialFiles
from profiler.compare.workload import Drive, Workload
from profiler.errors import UserError

FILE = "compare.json"
LARGEST = 64 << 20
"""Bytes of a document that are read at most."""

TITLES = {"qemu": "QEMU"}


@dataclass(frozen=True)
class PastVmm:
    """A VMM that ran once. It can be named, not run again."""

    identity: Identity

    def placements(self, kinds: Sequence[str], irqs: Sequence[str]) -> tuple[Placement, ...]:
        """Always raises PlanError."""
        raise PlanError("a saved comparison cannot be run again")

    def drive(self, image: Drive) -> Drive:
        """The image as it was."""
        return image

    def command(self, job: Job, files: TrialFiles) -> list[str]:
        """Always raises PlanError."""
        raise PlanError("a saved comparison cannot be run again")

    def collect(self, files: TrialFiles, status: int) -> Mapping[str, Any]:
        """Always raises PlanError."""
        raise PlanError("a saved comparison cannot be run again")


@dataclass(frozen=True)
class Saved:
    """A document: `path` of the file, a result for each VMM, and when the comparison ended."""

    path: Path
    results: tuple[Result, ...]
    date: str
    version: str

    @property
    def when(self) -> str:
        """The date for people; as it is written if it is none."""
        try:
            return f"{datetime.fromisoformat(self.date).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        except (ValueError, OverflowError):
            return self.date

    @property
    def several(self) -> bool:
        """Whether there are several VMMs."""
        return len(self.results) > 1


class _Node:
    """A value of the document and where it is; every access checks the type."""

    def __init__(self, path: Path, value: Any, where: str = "") -> None:
        self._path, self._value, self._where = path, value, where

    def fail(self, problem: str) -> NoReturn:
        """Raise the error about this value."""
        what = f"'{self._where}' " if self._where else ""
        raise UserError(f"{self._path}: {what}{problem}: not a document of `bqlscope compare`")

    def at(self, key: str) -> "_Node":
        """A member of this object."""
        if not isinstance(self._value, dict):
            self.fail("is not an object")
        where = f"{self._where}.{key}" if self._where else key
        if key not in self._value:
            raise UserError(
                f"{self._path}: '{where}' is missing: not a document of `bqlscope compare`"
            )
        return _Node(self._path, self._value[key], where)

    def has(self, key: str) -> bool:
        """Whether this is an object with that member."""
        return isinstance(self._value, dict) and key in self._value

    def members(self) -> Iterator[tuple[str, "_Node"]]:
        """All members of this object."""
        if not isinstance(self._value, dict):
            self.fail("is not an object")
        for key in self._value:
            yield key, self.at(key)

    def items(self) -> Iterator["_Node"]:
        """All elements of this list."""
        if not isinstance(self._value, list):
            self.fail("is not a list")
        for index, value in enumerate(self._value):
            yield _Node(self._path, value, f"{self._where}[{index}]")

    def text(self) -> str:
        """A string."""
        if not isinstance(self._value, str):
            self.fail("is not a string")
        return self._value

    def maybe_text(self) -> str | None:
        """A string or null."""
        return None if self._value is None else self.text()

    def number(self) -> float:
        """A finite number that is not negative."""
        value = self._value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail("is not a number")
        if not 0 <= value < 1e300 or not math.isfinite(value):
            self.fail("is out of range")
        return float(value)

    def integer(self) -> int:
        """A whole number that is not negative."""
        value = self.number()
        if value != int(value):
            self.fail("is not a whole number")
        return int(value)

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self._value, bool):
            self.fail("is not true or false")
        return self._value

    def mapping(self) -> dict[str, Any]:
        """An object as it is."""
        if not isinstance(self._value, dict):
            self.fail("is not an object")
        return dict(self._value)


def is_comparison(source: Path) -> bool:
    """Whether a path names a saved comparison: a directory, or a file of JSON."""
    return source.is_dir() or (source.suffix == ".json" and source.exists())


def load_comparison(source: Path) -> Saved:
    """The comparison in a directory of `--save` or a file of `--json`.  Raises UserError."""
    path = source / FILE if source.is_dir() else source
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(
            f"{source}: there is no {FILE}; `bqlscope compare --save {source}` writes one"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > LARGEST:
        raise UserError(f"{path}: too large for a document of `bqlscope compare`")
    try:
        root = _Node(path, json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {str(error).splitlines()[0]}") from error
    schema = root.at("schema").integer()
    if schema != SCHEMA:
        raise UserError(f"{path}: has schema {schema}, this bqlscope reads {SCHEMA}")
    nodes = [node for _, node in root.at("vmms").members()] if root.has("vmms") else [root]
    if not nodes:
        root.at("vmms").fail("is empty")
    results = tuple(_result(node) for node in nodes)
    return Saved(path, results, nodes[0].at("date").text(), nodes[0].at("version").text())


def _result(node: _Node) -> Result:
    try:
        plan = _plan(node)
    except PlanError as error:
        node.fail(f"makes no sense, {error}")
    trials = {
        placement.name: {
            metric.key: _trials(node.at("placements").at(placement.name), metric.key)
            for metric in METRICS
        }
        for placement in plan.placements
    }
    base = trials[plan.baseline.name]
    host = node.at("host")
    return Result(
        plan=plan,
        host=Host(
            host.at("kernel").text(),
            host.at("machine").text(),
            host.at("cpus").integer(),
            host.at("kvm").flag(),
            host.at("nested").flag(),
        ),
        accel=host.at("accel").mapping(),
        vmm_host=host.at("vmm_host").mapping(),
        estimates={
            name: {key: estimate(values) for key, values in own.items()}
            for name, own in trials.items()
        },
        ratios={
            placement.name: {
                metric.key: metric_ratio(
                    metric, base[metric.key], trials[placement.name][metric.key]
                )
                for metric in METRICS
            }
            for placement in plan.candidates
        },
        blame={name: [_share(part) for part in own.items()] for name, own in _blame(node, plan)},
        window=node.at("window").maybe_text(),
    )


def _trials(placement: _Node, metric: str) -> list[float]:
    """The trials of a metric; none if it is newer than the document."""
    if not placement.has(metric):
        return []
    return [value.number() for value in placement.at(metric).at("trials").items()]


def _blame(node: _Node, plan: Plan) -> Iterator[tuple[str, _Node]]:
    for placement in plan.placements:
        yield placement.name, node.at("blame").at(placement.name)


def _share(node: _Node) -> BlameShare:
    return BlameShare(
        waiter=node.at("waiter").text(),
        waiter_site=node.at("waiter_site").text(),
        holder=node.at("holder").text(),
        holder_site=node.at("holder_site").text(),
        wait_ns=node.at("wait_ns").number(),
        waiter_wait_ns=node.at("waiter_wait_ns").number(),
        share=node.at("share").number(),
    )


def _plan(node: _Node) -> Plan:
    placements = [_placement(name, own) for name, own in node.at("placements").members()]
    baseline = node.at("baseline").text()
    placements.sort(key=lambda placement: placement.name != baseline)
    if not placements or placements[0].name != baseline:
        node.at("baseline").fail("names no placement")
    work = node.at("workload")
    drive = work.at("drive")
    return Plan(
        vmm=PastVmm(_identity(node.at("vmm"))),
        placements=tuple(placements),
        workload=Workload(
            smp=work.at("smp").integer(),
            iodepth=work.at("iodepth").integer(),
            block_size=work.at("block_size").integer(),
            rw=work.at("rw").text(),
            duration=work.at("duration").number(),
            warmup=work.at("warmup").number(),
            poll_max_ns=work.at("poll_max_ns").integer(),
            memory=work.at("memory").text(),
            accel=work.at("accel").text(),
            vnc_clients=work.at("vnc_clients").integer() if work.has("vnc_clients") else 0,
            vnc_encoding=work.at("vnc_encoding").text() if work.has("vnc_encoding") else "tight",
            vnc_draw=work.at("vnc_draw").text() if work.has("vnc_draw") else "text",
        ),
        drive=Drive(
            path=Path(drive.at("path").maybe_text() or ""),
            cache=drive.at("cache").text(),
            aio=drive.at("aio").text(),
            readonly=drive.at("readonly").flag(),
            temporary=drive.at("temporary").flag(),
        ),
        trials=work.at("trials").integer(),
    )


def _placement(name: str, node: _Node) -> Placement:
    """The placement of that name: the path that is usual is the one the name does not tell."""
    config = node.at("config")
    kind, irq = config.at("kind").text(), config.at("irq").text()
    usual = "irqfd" if irq != "irqfd" else "mainloop"
    if name == kind and irq != "none":
        usual = irq
    placement = Placement(kind, irq, usual)
    if placement.name != name:
        node.fail("has another name than its kind and interrupt path give")
    return placement


def _identity(node: _Node) -> Identity:
    key = node.at("name").text()
    return Identity(
        key=key,
        title=TITLES.get(key, key),
        version=node.at("version").text(),
        transport=node.at("transport").text(),
        machine=node.at("machine").maybe_text(),
        program=node.at("program").maybe_text(),
        package=node.at("package").maybe_text(),
        arguments=tuple(word.text() for word in node.at("arguments").items()),
    )
