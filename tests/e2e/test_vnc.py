# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run --vnc``: what the guest draws is what viewers see, whatever they speak."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from profiler.reader import Recording
from tests.support.rfb_viewer import LAST_RECT, Viewer
from tests.support.vm import run_vm, start_vm
from vmm.display.pixels import NATIVE, PixelFormat
from vmm.guest.draw import KINDS, draw

ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
WIDTH, HEIGHT, FRAMES, SEED = 360, 212, 40, 5
RGB565 = PixelFormat(16, 16, True, True, 31, 63, 31, 11, 5, 0)
BGR233 = PixelFormat(8, 8, False, True, 7, 7, 3, 0, 3, 6)
COLOUR_MAP = PixelFormat(8, 8, False, False, 0, 0, 0, 0, 0, 0)
SPOKEN = {
    "raw": ((0,), NATIVE),
    "hextile": ((5, 0), NATIVE),
    "zlib": ((6, LAST_RECT), NATIVE),
    "tight": ((7, LAST_RECT), NATIVE),
    "trle": ((15,), NATIVE),
    "zrle": ((16,), NATIVE),
    "zrle with moves": ((16, 1), NATIVE),
    "tight with moves": ((1, 7), BGR233),
    "zrle with 16 bits": ((16,), RGB565),
    "tight with 8 bits": ((7,), BGR233),
    "hextile with a colour map": ((5,), COLOUR_MAP),
}


def guest_words(kind: str, frames: int = FRAMES) -> str:
    """A guest whose second CPU draws so many frames and which then stays."""
    drawing = f"draw=1 draw_kind={kind} draw_frames={frames} draw_fps=50 seed={SEED}"
    return f"mode=idle ms=3600000 {drawing}"


def options(folder: Path, accel: str, kind: str) -> tuple[str, ...]:
    """Of a machine with a screen that viewers find at ``folder``/vnc."""
    machine = ("--kernel", "micro", "--accel", accel, "--smp", "2")
    screen = ("--framebuffer", f"{WIDTH}x{HEIGHT}", "--vnc", f"unix:{folder}/vnc")
    return (*machine, *screen, "--append", guest_words(kind))


def see(path: Path, how: str, expected: NDArray[np.uint32]) -> dict[int, int]:
    """Watch until the screen is as expected; returns the rectangles that came, by encoding."""
    encodings, fmt = SPOKEN[how]
    with Viewer(path, encodings, fmt) as viewer:
        viewer.watch_until(expected)
        return viewer.rectangles


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_viewers_of_every_kind_see_what_the_guest_draws_at_the_same_time(
    accel: str, kind: str, tmp_path: Path
) -> None:
    expected = draw(kind, WIDTH, HEIGHT, FRAMES, SEED)
    with start_vm(*options(tmp_path, accel, kind)) as vm:
        vm.wait_until_running()
        with ThreadPoolExecutor(len(SPOKEN)) as pool:
            waiting = {how: pool.submit(see, tmp_path / "vnc", how, expected) for how in SPOKEN}
            used = {how: each.result() for how, each in waiting.items()}
        vm.process.send_signal(signal.SIGTERM)
        result = vm.finish()
    assert result.status == 0, result.stderr
    assert "Traceback" not in result.stderr
    for how, (encodings, _) in SPOKEN.items():
        assert set(encodings) - {1, LAST_RECT, 0} <= set(used[how])
    assert not (tmp_path / "vnc").exists()


def test_the_worker_encodes_without_ever_taking_the_lock(tmp_path: Path) -> None:
    expected = draw("noise", WIDTH, HEIGHT, FRAMES, SEED)
    runtime = tmp_path / "run"
    with start_vm(*options(tmp_path, "qtest", "noise"), runtime=runtime) as vm:
        vm.wait_until_running()
        see(tmp_path / "vnc", "zrle", expected)
        with Recording.open(vm.recordings()[0]) as recording:
            snapshot = recording.snapshot()
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0
    (worker,) = (each for each in snapshot.threads if each.role.name == "VNC")
    assert worker.name == "vnc_worker"
    rows = [row for row in snapshot.rows if row.thread == worker.index]
    assert sum(sum(row.acquisitions) for row in rows) == 0


def test_the_main_loop_encodes_when_it_is_told_to(tmp_path: Path) -> None:
    expected = draw("scroll", WIDTH, HEIGHT, FRAMES, SEED)
    more = ("--vnc-encode", "mainloop")
    with start_vm(*options(tmp_path, "qtest", "scroll"), *more) as vm:
        vm.wait_until_running()
        see(tmp_path / "vnc", "tight", expected)
        names = [each.read_text() for each in Path(f"/proc/{vm.process.pid}/task").glob("*/comm")]
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0
    assert "vnc_worker\n" not in names


def test_two_displays_show_the_same_screen(tmp_path: Path) -> None:
    expected = draw("text", WIDTH, HEIGHT, FRAMES, SEED)
    more = ("--vnc", f"unix:{tmp_path}/second")
    with start_vm(*options(tmp_path, "qtest", "text"), *more) as vm:
        vm.wait_until_running()
        with ThreadPoolExecutor(2) as pool:
            for waiting in [
                pool.submit(see, tmp_path / name, "hextile", expected) for name in ("vnc", "second")
            ]:
                assert waiting.result()
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0


def test_a_machine_without_a_screen_device_gets_one_for_its_viewers(tmp_path: Path) -> None:
    words = ("--kernel", "micro", "--accel", "qtest", "--append", "mode=idle ms=3600000")
    with start_vm(*words, "--vnc", f"unix:{tmp_path}/vnc") as vm:
        vm.wait_until_running()
        with Viewer(tmp_path / "vnc", (0,)) as viewer:
            viewer.watch_until(np.zeros((768, 1024), np.uint32))
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0


def test_a_machine_ends_while_viewers_look_at_it(tmp_path: Path) -> None:
    with start_vm(*options(tmp_path, "qtest", "noise")) as vm:
        vm.wait_until_running()
        with Viewer(tmp_path / "vnc", (7,)) as viewer:
            viewer.request(incremental=False)
            viewer.update()
            viewer.request(incremental=True)
            vm.process.send_signal(signal.SIGTERM)
            result = vm.finish()
    assert result.status == 0
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "vnc").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.0.0.0:1", "gets screen and keyboard: add password=on"),
        ("1", "expected :N, HOST:N, unix:PATH or none"),
        ("unix:/nonexistent/vnc", "cannot listen on unix:/nonexistent/vnc: No such file"),
        (":1,tls-creds=/nonexistent", "server-cert.pem and server-key.pem: No such file"),
        (":1,password-file=/nonexistent", "password-file=/nonexistent: No such file"),
    ],
)
def test_a_display_that_cannot_be_is_one_line(text: str, words: str) -> None:
    result = run_vm("--kernel", "micro", "--accel", "qtest", "--vnc", text)
    assert words in result.complaint()


def test_when_one_display_cannot_be_the_others_leave_nothing_behind(tmp_path: Path) -> None:
    path = f"unix:{tmp_path}/vnc"
    result = run_vm("--kernel", "micro", "--accel", "qtest", "--vnc", path, "--vnc", path)
    assert f"cannot listen on {path}: another process listens there" in result.complaint()
    assert not (tmp_path / "vnc").exists()
