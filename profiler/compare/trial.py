# SPDX-License-Identifier: GPL-2.0-or-later
"""One finished trial: the child's files turned into plain numbers.

The files come from another process, so nothing in them is trusted: every wrong type or missing key
ends in a `TrialError` with one line that names the key.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.compare.locks import LockFigures, LockReader
from profiler.compare.plan import Slot
from profiler.errors import UserError

NS_PER_US = 1000.0


class TrialError(Exception):
    """A trial gave no usable result; the message is one line."""


@dataclass(frozen=True)
class Trial:
    """Numbers of one trial.  `metrics` holds only what was measured, in the metrics' units."""

    slot: Slot
    metrics: Mapping[str, float]
    locks: LockFigures | None
    accel: Mapping[str, Any] = field(default_factory=dict)
    vmm_host: Mapping[str, Any] = field(default_factory=dict)


def section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object of the document; an absent one is empty.  Raises `TrialError`."""
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TrialError(f"the result's '{key}' is not an object")
    return value


def _number(section: Mapping[str, Any], key: str, where: str) -> float:
    value = section.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TrialError(f"the result's '{where}.{key}' is not a number")
    if not math.isfinite(value) or value < 0:
        raise TrialError(f"the result's '{where}.{key}' is out of range: {value}")
    return float(value)


def guest_metrics(guest: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of the guest's JSON line.  Raises `TrialError` for a line that breaks its contract.

    Register reads are missing when nobody did any (one vCPU only).
    """
    block = section(guest, "blk")
    if not block:
        raise TrialError("the guest reported no disk result")
    errors = _number(block, "errors", "guest.blk")
    if errors:
        raise TrialError(f"the guest saw {errors:.0f} disk errors")
    latency = section(block, "lat_ns")
    metrics = {
        "iops": _number(block, "iops", "guest.blk"),
        "blk_lat_p50_us": _number(latency, "p50", "guest.blk.lat_ns") / NS_PER_US,
        "blk_lat_p99_us": _number(latency, "p99", "guest.blk.lat_ns") / NS_PER_US,
    }
    access = section(section(guest, "access"), "total")
    if access and _number(access, "reads", "guest.access.total"):
        for key in ("p50", "p99", "max"):
            nanoseconds = _number(access, f"{key}_ns", "guest.access.total")
            metrics[f"access_{key}_us"] = nanoseconds / NS_PER_US
        metrics["accesses_per_s"] = _number(access, "reads_per_s", "guest.access.total")
    return metrics


def lock_metrics(locks: LockFigures) -> dict[str, float]:
    """Metrics of the lock recording: shares of the window, and the main loop's hold times."""
    metrics: dict[str, float] = {}
    if locks.window_ns > 0:
        metrics["mainloop_bql_hold_share"] = locks.mainloop_hold_ns / locks.window_ns
        if locks.vcpus > 0:
            share = locks.vcpu_wait_ns / (locks.vcpus * locks.window_ns)
            metrics["vcpu_bql_wait_share"] = share
    if locks.mainloop_hold_p99_ns is not None:
        metrics["mainloop_hold_p99_us"] = locks.mainloop_hold_p99_ns / NS_PER_US
    return metrics


def screen_metrics(screen: Mapping[str, Any]) -> dict[str, float]:
    """Metrics of the VNC server: what one viewer got, on average, while it was connected."""
    clients = screen.get("clients")
    if not isinstance(clients, list) or not clients:
        raise TrialError("no viewer was connected to the VNC server")
    rates: dict[str, list[float]] = {"updates": [], "bytes": []}
    for index, client in enumerate(clients):
        if not isinstance(client, dict):
            raise TrialError(f"the result's 'vnc.clients[{index}]' is not an object")
        where = f"vnc.clients[{index}]"
        seconds = _number(client, "connected_ns", where) / 1e9
        for key, values in rates.items():
            values.append(_number(client, key, where) / seconds if seconds else 0.0)
    return {f"vnc_{key}_per_s": sum(values) / len(values) for key, values in rates.items()}


def _window_ns(document: Mapping[str, Any]) -> float | None:
    """Length of the guest's window as the VMM saw it, or None if it did not see both marks."""
    window = section(document, "window")
    if window.get("start_ns") is None or window.get("end_ns") is None:
        return None
    length = _number(window, "end_ns", "window") - _number(window, "start_ns", "window")
    if length <= 0:
        raise TrialError("the result's window ends before it starts")
    return length


def load_document(output: Path) -> Mapping[str, Any]:
    """The JSON object a child wrote.  Raises `TrialError`."""
    try:
        document = json.loads(output.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrialError("the child wrote no result") from None
    except (OSError, ValueError) as error:
        raise TrialError(f"the child's result cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise TrialError("the child's result is not a JSON object")
    return document


def read_trial(
    slot: Slot, document: Mapping[str, Any], recording: Path, read_locks: LockReader
) -> Trial:
    """The numbers in the document and the recording of a trial.  Raises `TrialError`."""
    status = document.get("guest_status")
    if status != 0:
        raise TrialError(f"the guest ended with status {status}")
    metrics = guest_metrics(section(document, "guest"))
    if document.get("vnc") is not None:
        metrics |= screen_metrics(section(document, "vnc"))
    locks = None
    if document.get("recording") is not None:
        try:
            locks = read_locks(recording, _window_ns(document))
        except UserError as error:
            raise TrialError(f"the lock recording cannot be used: {error.message}") from error
        metrics |= lock_metrics(locks)
    return Trial(slot, metrics, locks, section(document, "accel"), section(document, "host"))
