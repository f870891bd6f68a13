# SPDX-License-Identifier: GPL-2.0-or-later
"""What the VNC server may cost beside QEMU's; ``pytest -m bench -s`` prints the figures.

Both servers show the same pixels of 1024x768 and send all of them, again and again, to the same
client on a Unix socket, in interleaved rounds. What is compared is CPU time of the server, by the
kernel's account: the time on the clock is that of refresh timers and of the client. Of the worker
thread alone it is the cost of encoding; of the process, the way to the socket is included.

A promise is broken when the whole interval lies on the wrong side. Before anything is measured,
each encoding of each server is decoded and compared with the pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from tests.support.own_display import own_display
from tests.support.pictures import Picture, picture
from tests.support.qemu_display import qemu_display
from tests.support.qemus import QEMUS
from tests.support.rfb_stream import RfbStream
from vmm.bench.rounds import interleave
from vmm.bench.statistics import Estimate, estimate, ratio_of_rounds
from vmm.display.encodings import DEFAULT_COMPRESS, HEXTILE, RAW, TIGHT, ZLIB, ZRLE

pytestmark = [pytest.mark.bench, pytest.mark.qemu, pytest.mark.timeout(1800)]

WIDTH, HEIGHT = 1024, 768
PIXELS = WIDTH * HEIGHT
ENCODINGS = {"raw": RAW, "hextile": HEXTILE, "zlib": ZLIB, "zrle": ZRLE, "tight": TIGHT}
LEVEL = -256 + DEFAULT_COMPRESS
"""The pseudo-encoding that asks both servers for the same compression level."""
PICTURES = ("text", "gradient", "noise")
ROUNDS = 10
UPDATES = 3
LEAST = 0.8
"""Pixels per second of CPU time, over QEMU's."""


class Contestant(Protocol):
    """A server that shows pixels."""

    vnc: Path

    @property
    def pid(self) -> int:
        """Its process."""

    def show(self, pixels: Picture) -> None:
        """Show a whole screen."""


@dataclass(frozen=True)
class Cost:
    """CPU nanoseconds of one update, and its size."""

    worker: float
    process: float
    payload_bytes: int


def cpu_ns(pid: int) -> dict[str, int]:
    """CPU time of the threads of a process, summed by name."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        spent = int((task / "schedstat").read_text().split()[0])
        found[name] = found.get(name, 0) + spent
    return found


def measure(contestant: Contestant, encoding: int) -> Cost:
    """The cost of updates on a connection that has had one."""
    with RfbStream.connect(contestant.vnc) as client:
        client.set_encodings(encoding, LEVEL)
        client.count_update()
        before = cpu_ns(contestant.pid)
        counted = [client.count_update() for _ in range(UPDATES)]
        after = cpu_ns(contestant.pid)
    assert all(each.pixels == PIXELS for each in counted)
    spent = {name: after[name] - before.get(name, 0) for name in after}
    size = counted[-1].payload_bytes
    return Cost(spent["vnc_worker"] / UPDATES, sum(spent.values()) / UPDATES, size)


def verify(contestant: Contestant, pixels: Picture) -> None:
    """Each encoding must show exactly the pixels, at the latest once the screen was looked at."""
    for encoding in ENCODINGS.values():
        with RfbStream.connect(contestant.vnc) as client:
            client.set_encodings(encoding)
            for _ in range(3):
                client.update()
                if np.array_equal(client.screen.values, pixels):
                    break
            np.testing.assert_array_equal(client.screen.values, pixels)


@pytest.fixture(name="contestants", scope="module")
def _contestants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Contestant]]:
    if not QEMUS:
        pytest.skip("no QEMU is installed")
    directory = tmp_path_factory.mktemp("vnc")
    with ExitStack() as stack:
        own = stack.enter_context(own_display(directory, WIDTH, HEIGHT))
        qemu = stack.enter_context(qemu_display(QEMUS[-1], directory, WIDTH, HEIGHT))
        yield {"bqlscope": own, "qemu": qemu}


def rate(costs: list[float]) -> Estimate:
    """Megapixels per second of CPU time."""
    return estimate([PIXELS / cost * 1e3 for cost in costs])


def compared(name: str, costs: dict[str, list[Cost]], cost_of: Callable[[Cost], float]) -> Estimate:
    """Print one line, return how much more QEMU's update costs than ours."""
    own, qemu = ([cost_of(cost) for cost in costs[who]] for who in ("bqlscope", "qemu"))
    ratio = ratio_of_rounds(qemu, own)
    sizes = [costs[who][-1].payload_bytes / 1e3 for who in ("bqlscope", "qemu")]
    print(
        f"{name:18} {rate(own).median:7.1f} {rate(qemu).median:7.1f} MP/s"
        f"  {ratio.median:5.2f} [{ratio.low:.2f}–{ratio.high:.2f}]"
        f"  {sizes[0]:7.0f} {sizes[1]:7.0f} kB"
    )
    return ratio


@pytest.mark.parametrize("kind", PICTURES)
def test_encoding_keeps_up_with_qemus_server(contestants: dict[str, Contestant], kind: str) -> None:
    pixels = picture(kind, WIDTH, HEIGHT, np.random.default_rng(1))
    for contestant in contestants.values():
        contestant.show(pixels)
        verify(contestant, pixels)
    ratios = {}
    print(f"\n{kind + ': CPU time of':18} bqlscope and QEMU")
    for name, encoding in ENCODINGS.items():
        jobs = {
            who: lambda server=server, encoding=encoding: measure(server, encoding)
            for who, server in contestants.items()
        }
        costs = interleave(jobs, ROUNDS, lambda _: None, lambda _: None)
        ratios[name] = compared(f"{name}, worker", costs, lambda cost: cost.worker)
        compared(f"{name}, process", costs, lambda cost: cost.process)
    broken = {name: ratio for name, ratio in ratios.items() if ratio.high < LEAST}
    assert not broken
