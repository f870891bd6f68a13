# SPDX-License-Identifier: GPL-2.0-or-later
"""The framebuffer's registers, and what a guest cannot do with them; KVM's dirty log."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.elf import ElfBuilder, Load
from vmm._native import ffi
from vmm.accel.qtest import QtestAccelerator
from vmm.config import MachineConfig
from vmm.devices.virtio_slots import VIRTIO_MMIO_BASE
from vmm.display.console import Console
from vmm.display.framebuffer import REGISTERS_BASE, REGISTERS_SIZE, Framebuffer
from vmm.display.options import (
    VRAM_BASE,
    VRAM_MAX,
    FramebufferOptions,
    Mode,
    parse_framebuffer,
)
from vmm.errors import VmmError
from vmm.guest.draw import draw
from vmm.machine import Machine
from vmm.memory import LOW_RAM_LIMIT
from vmm.qom import PropertyError

WIDTH, HEIGHT, STRIDE, COMMIT = 0x10, 0x14, 0x18, 0x1C
WANTED = (0x20, 0x24)
C_WIDTH, C_HEIGHT, C_HOT_X, C_HOT_Y, C_OFFSET, C_COMMIT = range(0x40, 0x58, 4)
SMALL = 1 << 20
TAKEN, REFUSED = 0, 1


@dataclass
class Screen:
    """A device on a console."""

    device: Framebuffer
    console: Console

    def put(self, **registers: int) -> None:
        for name, value in registers.items():
            self.device.write(globals()[name], value, 4)

    def get(self, offset: int) -> int:
        return self.device.read(offset, 4)

    def size(self) -> tuple[int, int]:
        self.console.settle()
        return self.console.surface.width, self.console.surface.height

    def vram(self) -> NDArray[np.uint32]:
        return np.frombuffer(ffi.buffer(self.device.memory), "<u4")


def make_screen(loop: asyncio.AbstractEventLoop) -> Screen:
    console = Console("vm", loop)
    device = Framebuffer("framebuffer")
    device.width, device.height, device.vgamem = 64, 32, SMALL
    device.realize(QtestAccelerator(None), console)
    return Screen(device, console)


@pytest.fixture(name="loop", scope="module")
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(name="screen")
def _screen(loop: asyncio.AbstractEventLoop) -> Screen:
    return make_screen(loop)


def test_the_registers_say_what_the_device_is(screen: Screen) -> None:
    assert [screen.get(offset) for offset in (0, 4, 8, 12)] == [0x42465142, 1, VRAM_BASE, SMALL]
    assert [screen.get(offset) for offset in (WIDTH, HEIGHT, STRIDE, COMMIT)] == [64, 32, 256, 0]


def test_video_memory_and_registers_lie_where_nothing_else_is() -> None:
    assert LOW_RAM_LIMIT <= VRAM_BASE
    assert VRAM_BASE + VRAM_MAX <= REGISTERS_BASE
    assert REGISTERS_BASE + REGISTERS_SIZE <= VIRTIO_MMIO_BASE


def test_a_mode_is_taken_when_it_is_committed(screen: Screen) -> None:
    screen.put(WIDTH=100, HEIGHT=50, STRIDE=0)
    assert screen.size() == (64, 32)
    screen.put(COMMIT=1)
    assert (screen.size(), screen.get(COMMIT)) == ((100, 50), TAKEN)
    screen.vram()[100 * 49 + 99] = 0xABCDEF
    assert screen.console.surface.pixels[49, 99] == 0xABCDEF


@pytest.mark.parametrize(
    ("width", "height", "stride"),
    [(0, 1, 4), (1, 0, 4), (512, 513, 0), (2, 2, 6), (2, 2, 4), (1, 2, SMALL), (2**32 - 1,) * 3],
)
def test_a_mode_that_is_none_is_refused_and_the_old_one_stays(
    screen: Screen, width: int, height: int, stride: int
) -> None:
    screen.put(WIDTH=width, HEIGHT=height, STRIDE=stride, COMMIT=1)
    assert (screen.size(), screen.get(COMMIT)) == ((64, 32), REFUSED)
    screen.put(WIDTH=32, HEIGHT=16, STRIDE=0, COMMIT=1)
    assert (screen.size(), screen.get(COMMIT)) == ((32, 16), TAKEN)


def test_only_whole_aligned_registers_are_written(screen: Screen) -> None:
    for offset, size in ((WIDTH, 1), (WIDTH, 2), (WIDTH, 8), (WIDTH + 2, 4), (0, 4), (8, 4)):
        screen.device.write(offset, 5, size)
    screen.device.write(COMMIT, 2, 4)
    assert [screen.get(offset) for offset in (WIDTH, HEIGHT, STRIDE, COMMIT)] == [64, 32, 256, 0]
    assert screen.get(8) == VRAM_BASE
    assert [screen.device.read(WIDTH, size) for size in (1, 2, 8)] == [0, 0, 0]


def test_the_guest_can_read_what_size_is_wanted(screen: Screen) -> None:
    assert [screen.get(offset) for offset in WANTED] == [0, 0]
    screen.console.request_size(800, 600)
    assert [screen.get(offset) for offset in WANTED] == [800, 600]
    assert screen.size() == (64, 32)


def test_the_pointers_picture_is_copied(screen: Screen) -> None:
    picture = np.arange(6, dtype=np.uint32) + 0xFF000000
    screen.vram()[100:106] = picture
    screen.put(C_WIDTH=3, C_HEIGHT=2, C_HOT_X=2, C_HOT_Y=1, C_OFFSET=400, C_COMMIT=1)
    screen.vram()[100:106] = 0
    screen.console.settle()
    cursor = screen.console.cursor
    assert cursor is not None
    assert (cursor.width, cursor.height, cursor.hot_x, cursor.hot_y) == (3, 2, 2, 1)
    assert cursor.argb.tolist() == picture.reshape(2, 3).tolist()
    screen.put(C_COMMIT=0)
    screen.console.settle()
    assert screen.console.cursor is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"C_WIDTH": 0}, {"C_WIDTH": 65}, {"C_HEIGHT": 0}, {"C_HEIGHT": 65}, {"C_HOT_X": 8},
        {"C_HOT_Y": 9}, {"C_OFFSET": 2}, {"C_OFFSET": SMALL - 4 * 71}, {"C_OFFSET": 2**32 - 4},
    ],
)  # fmt: skip
def test_a_pointer_that_is_none_is_refused(screen: Screen, wrong: dict[str, int]) -> None:
    good = {"C_WIDTH": 8, "C_HEIGHT": 9, "C_HOT_X": 7, "C_HOT_Y": 8, "C_OFFSET": SMALL - 4 * 72}
    screen.put(**good, C_COMMIT=1)
    assert screen.get(C_COMMIT) == TAKEN
    screen.console.settle()
    before = screen.console.cursor
    screen.put(**wrong, C_COMMIT=1)
    screen.console.settle()
    assert screen.get(C_COMMIT) == REFUSED
    assert screen.console.cursor is before


def test_a_reset_brings_the_first_mode_back_without_a_pointer(screen: Screen) -> None:
    screen.put(WIDTH=100, HEIGHT=50, STRIDE=0, COMMIT=1, C_WIDTH=1, C_HEIGHT=1, C_COMMIT=1)
    screen.put(WIDTH=0, COMMIT=1)
    screen.console.settle()
    screen.device.reset()
    assert (screen.size(), screen.console.cursor) == ((64, 32), None)
    offsets = (WIDTH, HEIGHT, STRIDE, COMMIT, C_WIDTH)
    assert [screen.get(offset) for offset in offsets] == [64, 32, 256, TAKEN, 0]


NUMBERS = st.one_of(
    st.integers(0, 80), st.integers(0, 2**64 - 1), st.integers(SMALL - 64, SMALL + 64)
)
WRITES = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 0xFFF), st.sampled_from(range(0, 0x58, 4))),
        NUMBERS,
        st.sampled_from((1, 2, 4, 4, 4, 4, 8)),
    ),
    max_size=60,
)


@given(writes=WRITES)
def test_no_guest_leads_picture_or_pointer_out_of_the_video_memory(
    loop: asyncio.AbstractEventLoop, writes: list[tuple[int, int, int]]
) -> None:
    screen = make_screen(loop)
    low, high = np.lib.array_utils.byte_bounds(screen.vram())
    for offset, value, size in writes:
        screen.device.write(offset, value & ((1 << size * 8) - 1), size)
        assert 0 <= screen.device.read(offset, size) < 1 << 32
        screen.console.settle()
        pixels = screen.console.surface.pixels
        first, last = np.lib.array_utils.byte_bounds(pixels)
        assert low <= first < last <= high
        assert pixels.shape == (screen.console.surface.height, screen.console.surface.width)
        cursor = screen.console.cursor
        if cursor is not None:
            assert cursor.argb.shape == (cursor.height, cursor.width)
            assert 0 <= cursor.hot_x < cursor.width <= 64
            assert 0 <= cursor.hot_y < cursor.height <= 64


@given(width=NUMBERS, height=NUMBERS, stride=NUMBERS)
def test_a_mode_is_taken_exactly_when_it_fits(
    loop: asyncio.AbstractEventLoop, width: int, height: int, stride: int
) -> None:
    screen = make_screen(loop)
    width, height, stride = (value & 0xFFFFFFFF for value in (width, height, stride))
    screen.put(WIDTH=width, HEIGHT=height, STRIDE=stride, COMMIT=1)
    fits = Mode(width, height, stride or width * 4).fits(SMALL)
    assert screen.get(COMMIT) == (TAKEN if fits else REFUSED)
    assert screen.size() == ((width, height) if fits else (64, 32))


@pytest.mark.parametrize(
    "text", ["", "1024", "1024x", "x768", "1024x768x2", "-1x5", "1e3x5", " 1x1"]
)
def test_a_screen_is_width_times_height(text: str) -> None:
    with pytest.raises(VmmError, match="must be WIDTHxHEIGHT, as in 1024x768"):
        parse_framebuffer(text)
    assert parse_framebuffer("800x600") == FramebufferOptions(800, 600)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "0x768 does not fit into 16M"),
        ({"width": 16384}, "16384x768 does not fit into 16M"),
        ({"vgamem": 100}, "multiple of 4096 bytes, at most 256M"),
        ({"vgamem": 512 << 20}, "multiple of 4096 bytes, at most 256M"),
        ({"vgamem": 0}, "multiple of 4096 bytes, at most 256M"),
    ],
)
def test_a_screen_that_does_not_fit_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(VmmError, match=message):
        FramebufferOptions(**options)


def test_properties_are_fixed_once_realized(screen: Screen) -> None:
    with pytest.raises(PropertyError, match="cannot change once realized"):
        screen.device.set("width", 100)


# With machines.


def config(accel: str, guest: str, **more: Any) -> MachineConfig:
    return MachineConfig(
        kernel=Path("vmm/guest/microguest.elf"),
        micro_guest=True,
        command_line=guest,
        memory_bytes=64 << 20,
        accel=accel,
        serial="null",
        record=False,
        framebuffer=FramebufferOptions(),
        **more,
    )


def guest_drew(machine: Machine) -> dict[str, Any]:
    assert machine.serial.result_line is not None
    drawn: dict[str, Any] = json.loads(machine.serial.result_line)["draw"]
    return drawn


@pytest.mark.kvm
def test_kvm_logs_exactly_the_rows_that_the_guest_wrote() -> None:
    with Machine(
        config("kvm", "mode=draw draw_kind=fill draw_frames=1 draw_fps=0 ms=1")
    ) as machine:
        assert machine.console.dirty_rows().all()
        assert not machine.console.dirty_rows().any()
        machine.run()
        expected = draw("fill", 1024, 768, 1)
        # A row of 1024 pixels is a page: the log is exact.
        assert machine.console.dirty_rows().tolist() == expected.any(axis=1).tolist()
        assert not machine.console.dirty_rows().any()
        assert (machine.console.surface.pixels == expected).all()


@pytest.mark.kvm
@pytest.mark.parametrize("kind", ["text", "fill"])
def test_who_copies_only_dirty_rows_misses_no_write_of_a_running_guest(kind: str) -> None:
    """The log is read again and again while the guest draws as fast as it can."""
    guest = f"mode=draw draw_kind={kind} draw_frames=3000 draw_fps=0 ms=1"
    with Machine(config("kvm", guest)) as machine:
        copy = np.zeros((768, 1024), np.uint32)
        console, loop = machine.console, machine.main_loop.asyncio
        looks = 0

        def look() -> None:
            nonlocal looks
            rows = console.dirty_rows()
            copy[rows] = console.surface.pixels[rows]
            looks += 1
            handles[:] = [loop.call_soon(look)]

        handles = [loop.call_soon(look)]
        machine.run()
        handles[0].cancel()
        rows = console.dirty_rows()
        copy[rows] = console.surface.pixels[rows]
        assert guest_drew(machine)["frames"] == 3000
    assert looks > 3
    assert (copy == draw(kind, 1024, 768, 3000)).all()


# mov eax,REGISTERS; then [rax+WIDTH]=320, HEIGHT=200, STRIDE=0, COMMIT=1, WIDTH=0, COMMIT=1;
# mov eax,[rax+COMMIT]; out 0xf4,al; hlt. For a CPU in 32-bit protected mode.
SETS_MODES = bytes.fromhex(
    "b80000a0fe c7401040010000 c74014c8000000 c7401800000000 c7401c01000000"
    "c7401000000000 c7401c01000000 8b401c e6f4 f4"
)


@pytest.mark.kvm
def test_a_guest_sets_a_mode_and_is_refused_a_bad_one(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(ElfBuilder(loads=[Load(0x10_0000, SETS_MODES)]).build())
    wanted = config("kvm", "")
    with Machine(replace(wanted, kernel=kernel, micro_guest=False)) as machine:
        switched: list[int] = []

        class Viewer:
            def surface_switched(self) -> None:
                switched.append(machine.console.surface.width)

            def cursor_defined(self) -> None:
                raise AssertionError("nobody defined one")

        machine.console.add_listener(Viewer())
        assert machine.run().code == REFUSED
        machine.console.settle()
        assert (switched, machine.console.surface.height) == ([320], 200)
        assert machine.console.dirty_rows().tolist() == [True] * 200


def test_without_a_log_everything_may_have_changed() -> None:
    with Machine(config("qtest", "mode=idle ms=1")) as machine:
        for _ in range(3):
            assert machine.console.dirty_rows().tolist() == [True] * 768


def test_a_guest_that_is_told_of_a_screen_elsewhere_says_so() -> None:
    elsewhere = f"fb={VRAM_BASE + (16 << 20) - 4096:#x}:1024x768:4096"
    with Machine(config("qtest", f"mode=draw {elsewhere} ms=1")) as machine:
        request = machine.run()
        assert (request.code, machine.serial.result_line) == (2, None)


def test_video_memory_is_no_ram_that_a_device_could_reach_unseen() -> None:
    with Machine(config("qtest", "mode=idle ms=1")) as machine:
        with pytest.raises(OSError, match="0xe0000000"):
            machine.memory.write(VRAM_BASE, b"pixel")


def test_the_machine_has_the_device_in_its_tree() -> None:
    with Machine(config("qtest", "mode=idle ms=1")) as machine:
        device = machine.qom.resolve("/machine/unattached/framebuffer")
        assert [device.get(name) for name in ("width", "height")] == [1024, 768]
        assert machine.console.name == "microguest"


def test_a_machine_without_a_screen_starts_without_loading_what_draws() -> None:
    program = (
        "import sys, vmm.commands.run, pathlib\n"
        "from vmm.config import MachineConfig\n"
        "from vmm.machine import Machine\n"
        "with Machine(MachineConfig(kernel=pathlib.Path('micro'), micro_guest=True, accel='qtest',"
        " command_line='mode=idle ms=1', serial='null', record=False)) as machine:\n"
        "    machine.run()\n"
        "print(sorted({'numpy', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_machine_without_a_screen_has_a_console_but_no_device() -> None:
    wanted = config("qtest", "mode=draw ms=1")
    with Machine(replace(wanted, framebuffer=None)) as machine:
        machine.run()
        assert machine.framebuffer is None
        assert guest_drew(machine)["frames"] == 0
        assert machine.console.surface.width == 640
