# SPDX-License-Identifier: GPL-2.0-or-later
"""Jobs: rectangles of a screen to be encoded for one client."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from vmm.display.encodings import ClientEncoder, Payload
from vmm.display.pixels import PixelFormat
from vmm.display.rfb.server_messages import framebuffer_update
from vmm.display.vnc.rectangles import Rect
from vmm.display.vnc.screen import REFRESH_BASE_SECONDS, ServerScreen
from vmm.display.vnc.scroll import ScrollTracker

log = logging.getLogger("vmm.vnc")


@dataclass(frozen=True)
class EncodeSettings:
    """How a client wants its pixels. quality 0 to 9 or None: nothing lossy; compress 0 to 9."""

    encoding: int
    format: PixelFormat
    quality: int | None
    compress: int
    last_rect: bool


@dataclass(frozen=True)
class JobResult:
    """data: a whole FramebufferUpdate; empty: nothing to send. error: the encoder gave up."""

    data: bytes
    rectangles: int
    nanoseconds: int
    error: str | None = None


@dataclass
class Job:
    """One update. ``done`` is called in the main loop, also for a cancelled one."""

    screen: ServerScreen
    rectangles: list[Rect]
    encoder: ClientEncoder
    settings: EncodeSettings
    done: Callable[[JobResult], None]
    scroll: ScrollTracker | None = None
    """For a client that knows CopyRect and has all of the screen."""
    fresh: bool = False
    complete: bool = False
    """See ScrollTracker.split."""
    cancelled: bool = field(default=False)
    """Set by the main loop when the client has gone; looked at before each rectangle."""


class JobSink(Protocol):
    """Where jobs go: the worker, or straight to the encoder."""

    def submit(self, job: Job) -> None:
        """Have it encoded. Main thread, BQL held."""


def run_job(job: Job) -> JobResult:
    """Encode a job, holding its screen's lock. Raises nothing: an error is in the result."""
    # Clients that ask without pause keep the worker busy: without turns it would have the lock
    # nearly always, and nobody would see anything new.
    job.screen.turn.wait(REFRESH_BASE_SECONDS)
    started = time.perf_counter_ns()
    data, count, error = b"", 0, None
    try:
        with job.screen.lock:
            parts = _encode_locked(job)
            count = len(parts) // 2
            # Still under the lock: a payload may be a view of the screen.
            data = framebuffer_update(parts, count, job.settings.last_rect) if parts else b""
    except Exception as problem:  # whatever an encoder does costs its client, nobody else
        log.exception("VNC: encoding %d failed", job.settings.encoding)
        error = f"the encoder failed: {problem}"
    return JobResult(data, count, time.perf_counter_ns() - started, error)


def _encode_locked(job: Job) -> list[Payload]:
    """Header and payload of each rectangle, in turn."""
    how = job.settings
    parts: list[Payload] = []
    rects = job.rectangles
    if job.scroll is not None:
        moves, rects = job.scroll.split(job.screen.whole(), rects, job.fresh, job.complete)
        for move in moves:
            parts += (move.header(), move.payload)
    for rect in rects:
        if job.cancelled:
            break
        encoded = job.encoder.encode(
            job.screen.area(rect),
            rect.x,
            rect.y,
            how.encoding,
            how.format,
            how.quality,
            how.compress,
            how.last_rect,
        )
        for each in encoded:
            parts += (each.header(), each.payload)
    return parts
