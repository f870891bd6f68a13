# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run`` with a screen: what the guest draws is what the screen dump shows."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.vm import drive, make_image, run_vm
from vmm.guest.draw import KINDS, draw

ACCELERATORS = [pytest.param("kvm", marks=pytest.mark.kvm), "qtest"]
MICRO = ("--kernel", "micro")


def pixels_of(path: Path) -> NDArray[np.uint32]:
    """Values 0x00RRGGBB of a picture file."""
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(np.uint32)
    return (rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]).astype(np.uint32)


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_screen_dump_is_what_the_guest_drew_pixel_by_pixel(
    kind: str, accel: str, tmp_path: Path
) -> None:
    words = f"mode=draw draw_kind={kind} draw_frames=9 draw_fps=0 ms=1 seed=5"
    result = run_vm(
        *(*MICRO, "--accel", accel, "--append", words),
        *("--framebuffer", "360x212", "--screendump", str(tmp_path / "screen.png")),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert (result.guest["draw"]["frames"], result.guest["draw"]["width"]) == (9, 360)
    assert (pixels_of(tmp_path / "screen.png") == draw(kind, 360, 212, 9, 5)).all()


@pytest.mark.parametrize("accel", ACCELERATORS)
def test_a_cpu_draws_while_another_one_uses_the_disk(accel: str, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.img", 1 << 20)
    result = run_vm(
        *(*MICRO, "--accel", accel, "--smp", "2"),
        *("--append", "draw=1 draw_frames=3 draw_fps=1000 ms=300 warmup_ms=1"),
        *drive(image, "iothread"),
        *("--screendump", str(tmp_path / "screen.ppm")),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert result.guest["blk"]["ops"] > 0
    drawn = result.guest["draw"]
    assert (drawn["cpu"], drawn["frames"], drawn["pixels"]) == (1, 3, 3 * 1024 * 16)
    assert (pixels_of(tmp_path / "screen.ppm") == draw("text", 1024, 768, 3)).all()


def test_a_rate_is_kept_over_the_measured_window(tmp_path: Path) -> None:
    words = "mode=draw draw_fps=50 ms=200 draw_kind=fill"
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--framebuffer", "64x64", "--append", words),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    # Frame k is due at k * 20 ms: the window of 200 ms has room for 0 to 9, never for more.
    assert 1 <= result.guest["draw"]["frames"] <= 10


def test_without_a_screen_nobody_draws(tmp_path: Path) -> None:
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--append", "mode=draw ms=1"),
        report=tmp_path / "report.json",
    )
    assert result.status == 0, result.stderr
    assert (result.guest["draw"]["frames"], result.guest["draw"]["pixels"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--framebuffer", "1024"), "must be WIDTHxHEIGHT, as in 1024x768"),
        (("--framebuffer", "16384x16384"), "does not fit into 16M of video memory"),
        (("--screendump", "screen.jpg"), "the name must end in .png or .ppm"),
        (("--screendump", "missing/screen.png"), "there is no directory missing"),
    ],
)
def test_a_screen_that_cannot_be_is_refused_before_anything_runs(
    options: tuple[str, ...], message: str
) -> None:
    result = run_vm(*MICRO, "--accel", "qtest", *options, "--append", "mode=idle ms=1")
    assert message in result.complaint()


def test_a_dump_that_fails_in_the_end_does_not_cost_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    target = folder / "screen.png"
    target.symlink_to(tmp_path / "gone" / "screen.png")
    result = run_vm(
        *(*MICRO, "--accel", "qtest", "--append", "mode=idle ms=1", "--screendump", str(target)),
        report=tmp_path / "report.json",
    )
    assert result.status == 1
    assert "--screendump: Could not create" in result.stderr
    assert result.guest["mode"] == "idle"
