# SPDX-License-Identifier: GPL-2.0-or-later
"""A worker in the middle of a job: what the main loop does meanwhile, it does without waiting."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.vnc import RAW, Rig, serve
from vmm.display.encodings import ClientEncoder
from vmm.display.vnc.jobs import EncodeSettings, Job, JobResult, run_job
from vmm.display.vnc.rectangles import Rect
from vmm.display.vnc.screen import ServerScreen
from vmm.display.vnc.updates import ClientUpdates
from vmm.display.vnc.wishes import Wishes

DESKTOP_SIZE = -223
SETTINGS: EncodeSettings = Wishes().settings(lossy=False)


class Gate:
    """An encoder that stops in each rectangle until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.calls = 0
        self._encoder = ClientEncoder()

    def encode(self, *args: Any) -> Any:
        self.calls += 1
        self.entered.set()
        assert self.go_on.wait(20)
        return self._encoder.encode(*args)


async def at_gate(rig: Rig) -> tuple[ClientUpdates, Gate]:
    """The first client's job is in the encoder."""
    updates = next(client.updates for client in rig.server._clients)
    assert updates is not None
    gate = Gate()
    updates._encoder = gate  # type: ignore[assignment]
    rig.clients[0].request(incremental=False)
    await asyncio.to_thread(gate.entered.wait, 20)
    return updates, gate


def test_a_client_leaves_while_its_job_runs_and_nobody_waits(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        updates, gate = await at_gate(rig)
        job = updates._job
        assert job is not None
        await client.close()
        await rig.until("VNC_DISCONNECTED")
        assert not gate.go_on.is_set()  # the encoder is still at it
        assert job.cancelled
        gate.go_on.set()
        other = await rig.client(RAW)
        other.request(incremental=False)
        await other.update()

    serve(tmp_path, scenario)


def test_a_mode_changes_while_a_job_runs_and_the_client_hears_of_it_after_the_jobs_bytes(
    tmp_path: Path,
) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW, DESKTOP_SIZE)
        await rig.until("VNC_INITIALIZED")
        _, gate = await at_gate(rig)
        rig.console.switch(33, 44)
        assert (rig.watch.screen.width, rig.watch.screen.height) == (33, 44)
        rig.watch.refresh()  # the new copy has its own lock
        assert rig.watch.lock_misses == 0
        gate.go_on.set()
        (old,) = await client.update()
        assert (old.encoding, old.width, old.height) == (RAW, 100, 60)
        (size,) = await client.update()
        assert (size.encoding, size.width, size.height) == (DESKTOP_SIZE, 33, 44)

    serve(tmp_path, scenario)


def test_what_changes_while_a_job_runs_comes_with_the_next_one(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        _, gate = await at_gate(rig)
        rig.console.noise(4)
        rig.watch.refresh()
        assert rig.watch.lock_misses == 1
        gate.go_on.set()
        await client.update()
        await client.pixels()
        np.testing.assert_array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF)

    serve(tmp_path, scenario)


def test_a_fence_before_which_all_must_be_done_waits_for_the_job(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        _, gate = await at_gate(rig)
        client.send("B3xIB", 248, 1 << 31 | 1, 1, tail=b"a")
        client.send("B3xIB", 248, 1 << 31, 1, tail=b"b")
        assert await client.unpack("B3xIBc") == (248, 0, 1, b"b")
        gate.go_on.set()
        await client.update()
        assert await client.unpack("B3xIBc") == (248, 1, 1, b"a")

    serve(tmp_path, scenario)


def test_too_many_fences_before_one_update_cost_the_client(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        client = await rig.client(RAW)
        await rig.until("VNC_INITIALIZED")
        _, gate = await at_gate(rig)
        for _ in range(65):
            client.send("B3xIB", 248, 1 << 31 | 1, 0)
        await rig.until("VNC_DISCONNECTED")
        gate.go_on.set()

    serve(tmp_path, scenario)


def test_a_cancelled_job_ends_after_the_rectangle_it_is_at() -> None:
    gate = Gate()
    gate.go_on.set()
    screen = ServerScreen(64, 64)
    results: list[JobResult] = []
    rects = [Rect(0, 0, 16, 16), Rect(16, 0, 16, 16)]
    job = Job(screen, rects, gate, SETTINGS, results.append)  # type: ignore[arg-type]
    gate.go_on.clear()
    thread = threading.Thread(target=lambda: results.append(run_job(job)))
    thread.start()
    assert gate.entered.wait(20)
    job.cancelled = True
    gate.go_on.set()
    thread.join(20)
    assert gate.calls == 1
    assert results[0].rectangles == 1


def test_each_client_has_one_job_at_a_time_and_all_get_theirs(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(8):
            await rig.client(RAW)
        for round_ in range(10):
            rig.console.noise(round_)
            rig.watch.refresh()
            for client in rig.clients:
                client.request()
                client.request()  # asking twice gets no second job
        for client in rig.clients:
            while not np.array_equal(client.screen, rig.console.surface.pixels & 0xFFFFFF):
                client.request()
                await client.update()

    serve(tmp_path, scenario)
