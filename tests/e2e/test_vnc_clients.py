# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC clients see what a real guest drew, pixel by pixel, and type into it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.support import viewers
from tests.support.browser import Browser, find_browser
from tests.support.rig import wait_until
from tests.support.viewers import Picture
from tests.support.vm import Vm, drive, make_image, start_vm
from vmm.guest.draw import draw

SIZE = (800, 600)
FRAMES, SEED = 40, 7
PASSWORD = "letmein"
BROWSER = find_browser()

needs_novnc = pytest.mark.skipif(
    BROWSER is None or not viewers.NOVNC.is_dir(), reason="no Chromium or no noVNC here"
)
needs_tigervnc = pytest.mark.skipif(
    viewers.tigervnc() is None or viewers.missing("Xvfb", "xdotool") is not None,
    reason="no TigerVNC viewer, Xvfb or xdotool here: make test installs them as root",
)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses; different ones."""
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in with_sockets]
    for sock in with_sockets:
        sock.close()
    return [port for port in ports if port >= 5900]


def picture(kind: str = "fill", frames: int = FRAMES) -> Picture:
    """What the guest drew, as clients show it."""
    pixels = draw(kind, *SIZE, frames, SEED)
    channels = [(pixels >> shift & 0xFF).astype(np.uint8) for shift in (16, 8, 0)]
    return np.stack(channels, axis=2)


class Screen:
    """A VM with a finished picture on its screen."""

    def __init__(self, vm: Vm, port: int, websocket: int) -> None:
        self.vm, self.port, self.websocket = vm, port, websocket


@contextmanager
def machine(
    folder: Path, words: str, vnc: str = "", options: tuple[str, ...] = ()
) -> Iterator[Screen]:
    """A guest with these parameters behind a VNC display and a WebSocket."""
    port, websocket = free_ports(2)
    address = f"127.0.0.1:{port - 5900},websocket={websocket}{vnc}"
    with start_vm(
        *("--kernel", "micro", "--append", f"seed={SEED} {words}", *options),
        *("--framebuffer", f"{SIZE[0]}x{SIZE[1]}", "--vnc", address),
        runtime=folder / "run",
        report=folder / "report.json",
    ) as vm:
        vm.wait_until_running()
        yield Screen(vm, port, websocket)


def drawn(kind: str = "fill", frames: int = FRAMES) -> str:
    """Draw so many frames at once, then leave the picture for an hour."""
    return f"mode=draw draw_kind={kind} draw_frames={frames} draw_fps=0 ms=3600000"


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with machine(tmp_path_factory.mktemp("screen"), drawn()) as started:
        yield started


@pytest.mark.kvm
def test_asyncvnc_sees_what_the_guest_drew(screen: Screen, tmp_path: Path) -> None:
    look = partial(viewers.asyncvnc_sees, screen.port, tmp_path)
    viewers.wait_for_picture(look, picture(), "the picture in asyncvnc")


@pytest.mark.kvm
def test_vncdotool_sees_what_the_guest_drew(screen: Screen, tmp_path: Path) -> None:
    look = partial(viewers.vncdo_sees, screen.port, tmp_path)
    viewers.wait_for_picture(look, picture(), "the picture in vncdotool")


@pytest.mark.kvm
@needs_tigervnc
@pytest.mark.parametrize("encoding", ["Raw", "Hextile", "ZRLE", "Tight"])
def test_tigervnc_sees_what_the_guest_drew_in_every_encoding(
    encoding: str, screen: Screen, tmp_path: Path
) -> None:
    choice = (f"-PreferredEncoding={encoding}", "-NoJpeg=1", "-CustomCompressLevel=0")
    with viewers.tiger_viewer(screen.port, tmp_path, SIZE, *choice) as desktop:
        viewers.wait_for_picture(desktop.picture, picture(), "the picture in TigerVNC")


@pytest.mark.kvm
@needs_tigervnc
def test_tigervnc_with_jpeg_sees_about_what_the_guest_drew(tmp_path: Path) -> None:
    wanted = picture("pattern", 3).astype(int)
    choice = ("-PreferredEncoding=Tight", "-NoJpeg=0", "-QualityLevel=9")
    with (
        machine(tmp_path, drawn("pattern", 3), ",lossy=on") as started,
        viewers.tiger_viewer(started.port, tmp_path, SIZE, *choice) as desktop,
    ):
        wait_until(
            lambda: bool(abs(desktop.picture().astype(int) - wanted).mean() < 8),
            "about the picture",
        )


@pytest.mark.kvm
@needs_novnc
def test_novnc_in_a_browser_sees_what_the_guest_drew(screen: Screen) -> None:
    assert BROWSER is not None
    with Browser(BROWSER) as browser, viewers.novnc(browser, screen.websocket) as page:
        look = partial(viewers.canvas_of, page)
        viewers.wait_for_picture(look, picture(), "the picture in noVNC")
        ours = ("404", "willReadFrequently")  # an icon it has not; what we do to its canvas
        assert [text for text in page.complaints if not any(map(text.count, ours))] == []


@pytest.mark.kvm
def test_a_password_opens_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    with machine(tmp_path, drawn(), f",password-file={secret}") as started:
        look = partial(viewers.asyncvnc_sees, started.port, tmp_path, password=PASSWORD)
        viewers.wait_for_picture(look, picture(), "the picture behind a password")
        with pytest.raises(AssertionError):
            viewers.asyncvnc_sees(started.port, tmp_path, password="wrong")


@pytest.mark.kvm
def test_keys_typed_into_clients_arrive_in_the_guest(tmp_path: Path) -> None:
    a, b = (0x1E, 0x9E), (0x30, 0xB0)  # set 1: down, up
    with machine(tmp_path, "mode=keys keys=4 ms=60000") as started:
        viewers.vncdo(started.port, "key", "a")
        viewers.asyncvnc_sees(started.port, tmp_path, "b")
        result = started.vm.finish()
    assert result.status == 0, result.stderr
    assert result.guest["keys"] == [*a, *b]


@pytest.mark.kvm
@needs_tigervnc
def test_keys_and_the_pointer_of_tigervnc_arrive_in_the_guest(tmp_path: Path) -> None:
    with machine(tmp_path, "mode=keys keys=4 ms=60000") as started:
        with viewers.tiger_viewer(started.port, tmp_path, SIZE) as desktop:
            log = tmp_path / "viewer.log"
            wait_until(lambda: "Enabling continuous updates" in log.read_text(), "the viewer")
            desktop.do("mousemove", "100", "100", "key", "--delay", "50", "x", "y")
            result = started.vm.finish()
    assert result.status == 0, result.stderr
    assert result.guest["keys"] == [0x2D, 0xAD, 0x15, 0x95]


@pytest.mark.kvm
@needs_novnc
def test_keys_of_novnc_arrive_in_the_guest(tmp_path: Path) -> None:
    assert BROWSER is not None
    with (
        machine(tmp_path, "mode=keys keys=2 ms=60000") as started,
        Browser(BROWSER) as browser,
        viewers.novnc(browser, started.websocket) as page,
    ):
        wait_until(lambda: viewers.canvas_of(page) is not None, "noVNC's canvas")
        page.evaluate("document.querySelector('canvas').focus()")
        for kind in ("keyDown", "keyUp"):
            page.call(
                "Input.dispatchKeyEvent", type=kind, key="q", code="KeyQ", windowsVirtualKeyCode=81
            )
        result = started.vm.finish()
    assert result.status == 0, result.stderr
    assert result.guest["keys"] == [0x10, 0x90]


@pytest.mark.kvm
def test_eight_clients_watch_while_the_guest_redraws_and_does_io(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", 8 << 20)
    words = "draw=1 draw_kind=fill rw=mixed ms=3600000"
    options = ("--smp", "2", *drive(image, "iothread"))
    with machine(tmp_path, words, options=options) as started:
        files = [tmp_path / f"viewer{n}.npy" for n in range(8)]
        watching = [viewers.start_asyncvnc(started.port, file, 2) for file in files]
        assert [each.wait(viewers.LIMIT_SECONDS) for each in watching] == [0] * 8
        started.vm.process.terminate()
        result = started.vm.finish()
    assert result.status == 0, result.stderr
    (queue,) = result.report["disks"][0]
    assert queue["requests"] > 0
    assert queue["errors"] == 0
    assert all(np.load(file).shape[:2] == SIZE[::-1] for file in files)
