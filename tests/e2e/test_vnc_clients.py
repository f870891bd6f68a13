# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC clients type into a real guest, and watch it while it works."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support import novnc, viewers
from tests.support.rig import wait_until
from tests.support.vm import Vm, drive, make_image, start_vm
from tests.support.xvfb import Xvfb, have_xvfb
from vmm.guest.draw import draw

WIDTH, HEIGHT, SEED = 640, 480, 7
LISTENING = re.compile(r"bqlscope: VNC( over WebSocket)?: 127\.0\.0\.1:([0-9]+) ")
needs_tigervnc = pytest.mark.skipif(
    viewers.TIGERVNC is None or not have_xvfb() or shutil.which("xdotool") is None,
    reason="needs tigervnc-viewer, xvfb and xdotool",
)
pytestmark = pytest.mark.kvm


@contextmanager
def machine(
    folder: Path, words: str, vnc: str = "", options: tuple[str, ...] = ()
) -> Iterator[tuple[Vm, int]]:
    """A guest with these parameters, and the port of its display (or of its WebSocket)."""
    with start_vm(
        *("--kernel", "micro", "--append", f"seed={SEED} {words}", *options),
        *("--framebuffer", f"{WIDTH}x{HEIGHT}", "--vnc", f":9,to=99{vnc}"),
        runtime=folder / "run",
        report=folder / "report.json",
    ) as vm:
        vm.wait_until_running()
        assert vm.process.stderr is not None
        lines = [vm.process.stderr.readline() for _ in range(1 + vnc.count("websocket"))]
        match = LISTENING.match(lines[-1])
        assert match, lines
        yield vm, int(match[2])


def keys_of(vm: Vm) -> list[int]:
    """The scan codes (set 1) that the guest got; it ends when it has as many as it waits for."""
    result = vm.finish()
    assert result.status == 0, result.stderr
    found: list[int] = result.guest["keys"]
    return found


def waiting_for(keys: int) -> str:
    """A guest that ends after so many bytes from its keyboard."""
    return f"mode=keys keys={keys} ms=60000"


def test_keys_of_vncdotool_and_asyncvnc_arrive_in_the_guest(tmp_path: Path) -> None:
    with machine(tmp_path, waiting_for(4)) as (vm, port):
        viewers.vncdo(port, "key", "a")
        looking = viewers.start_asyncvnc(port, tmp_path / "picture.npy", keys=("b",))
        assert keys_of(vm) == [0x1E, 0x9E, 0x30, 0xB0]
        looking.wait(viewers.LIMIT_SECONDS)


@needs_tigervnc
def test_keys_of_tigervnc_arrive_in_the_guest(tmp_path: Path) -> None:
    with machine(tmp_path, waiting_for(4)) as (vm, port), Xvfb(WIDTH, HEIGHT) as display:
        with viewers.tigervnc(display, port, tmp_path, "-FullScreen=1", "-RemoteResize=0"):
            viewers.type_into(display, "mousemove", "100", "100", "key", "--delay", "50", "x", "y")
            assert keys_of(vm) == [0x2D, 0xAD, 0x15, 0x95]


@pytest.mark.skipif(novnc.MISSING, reason=novnc.WHY)
def test_keys_of_novnc_arrive_in_the_guest(tmp_path: Path) -> None:
    with machine(tmp_path, waiting_for(2), ",websocket=on") as (vm, port):
        with novnc.novnc_page(port) as page:
            wait_until(lambda: bool(novnc.canvas(page).size), "noVNC's canvas")
            page.evaluate("rfb.focus()")
            for kind in ("keyDown", "keyUp"):
                page.call("Input.dispatchKeyEvent", type=kind, key="q", code="KeyQ")
            assert keys_of(vm) == [0x10, 0x90]


@needs_tigervnc
def test_tigervnc_with_jpeg_sees_about_what_the_guest_drew(tmp_path: Path) -> None:
    words = "mode=draw draw_kind=pattern draw_frames=3 draw_fps=0 ms=3600000"
    pixels = draw("pattern", WIDTH, HEIGHT, 3, SEED)
    wanted = np.stack([pixels >> shift & 0xFF for shift in (16, 8, 0)], axis=2).astype(int)
    how = ("-PreferredEncoding=Tight", "-NoJpeg=0", "-QualityLevel=9", "-FullScreen=1")
    with machine(tmp_path, words, ",lossy=on") as (_, port), Xvfb(WIDTH, HEIGHT) as display:
        with viewers.tigervnc(display, port, tmp_path, *how):

            def difference() -> float:
                seen = display.pixels()
                channels = np.stack([seen >> shift & 0xFF for shift in (16, 8, 0)], axis=2)
                return float(abs(channels.astype(int) - wanted).mean())

            wait_until(lambda: difference() < 8, "about the picture")
            assert difference() > 0  # it was JPEG


def test_eight_clients_watch_while_the_guest_redraws_and_does_io(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", 8 << 20)
    words = "draw=1 draw_kind=fill rw=mixed ms=3600000"
    options = ("--smp", "2", *drive(image, "iothread"))
    with machine(tmp_path, words, options=options) as (vm, port):
        files = [tmp_path / f"viewer{n}.npy" for n in range(8)]
        watching = [viewers.start_asyncvnc(port, file, looks=2) for file in files]
        assert [each.wait(viewers.LIMIT_SECONDS) for each in watching] == [0] * 8
        vm.process.terminate()
        result = vm.finish()
    assert result.status == 0, result.stderr
    (queue,) = result.report["disks"][0]
    assert queue["requests"] > 0
    assert queue["errors"] == 0
    assert all(np.load(file).shape[:2] == (HEIGHT, WIDTH) for file in files)
