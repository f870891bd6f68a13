# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the measuring guest that need no machine, compiled for the host."""

import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st

from vmm.guest.pattern import pattern

GUEST = Path(__file__).resolve().parents[2] / "vmm" / "guest"
BOUNDS = {
    "iodepth": (1, 256),
    "queues": (1, 16),
    "disk": (0, 31),
    "random": (0, 1),
    "irq": (0, 1),
    "indirect": (0, 1),
    "marks": (0, 1),
    "plugs": (0, 1_000_000),
    "ms": (1, 86_400_000),
    "warmup_ms": (0, 86_400_000),
    "think_ns": (0, 1_000_000_000),
    "reads": (1, 1_000_000_000),
    "smp": (1, 16),
    "tsc_khz": (1, 100_000_000),
    "draw_cpu": (0, 15),
    "draw_fps": (0, 1000),
    "draw_frames": (0, 1_000_000_000),
    "keys": (1, 512),
    "leds": (0, 7),
    "seed": (0, 2**64 - 1),
}
SEEDS = st.integers(0, 2**64 - 1)
RECORD = "void record(struct guest_histogram *h, uint64_t value)"
VALUES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 64).map(lambda bit: (1 << bit) - 1))


def declarations(header: str) -> str:
    """The header without what only a C compiler understands."""
    lines = (GUEST / header).read_text().split("static inline", 1)[0].splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


@pytest.fixture(name="guest", scope="module")
def _guest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    library = tmp_path_factory.mktemp("guest") / "guest.so"
    record = library.with_name("record.c")  # a function to call instead of the inline one
    record.write_text(f'#include "histogram.h"\n{RECORD}{{ guest_histogram_record(h, value); }}\n')
    sources = [record, *(GUEST / f"{noun}.c" for noun in ("params", "pattern", "histogram"))]
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{GUEST}"]
    subprocess.run(["gcc", *flags, "-o", library, *sources], check=True)
    ffi = FFI()
    for header in ("params.h", "pattern.h", "histogram.h"):
        ffi.cdef(declarations(header))
    functions = (GUEST / "histogram.h").read_text().rsplit("}\n", 1)[1].replace("#endif", "")
    ffi.cdef(functions + RECORD + ";")
    return ffi, ffi.dlopen(str(library))


def parse(guest: tuple[Any, Any], cmdline: str | bytes) -> tuple[Any, str]:
    """Return (parameters, error message); the message is empty on success."""
    ffi, lib = guest
    text = cmdline.encode() if isinstance(cmdline, str) else cmdline
    params = ffi.new("struct guest_params *")
    error = ffi.new("char[]", b"\xa5" * (lib.GUEST_ERROR_SIZE + 8))
    result = lib.guest_params_parse(params, text, error)
    assert ffi.buffer(error)[lib.GUEST_ERROR_SIZE : -1] == b"\xa5" * 8, "wrote past its buffer"
    if result == 0:
        return params, ""
    message = ffi.string(error).decode("ascii")
    assert message
    assert message.isprintable()
    return params, message


def test_an_empty_command_line_gives_the_defaults(guest: tuple[Any, Any]) -> None:
    params, error = parse(guest, " \t\n")
    assert not error
    assert (params.mode, params.rw, params.iodepth, params.bs) == (0, 0, 32, 4096)
    assert (params.smp, params.random, params.irq, params.tsc_khz) == (1, 1, 0, 0)
    assert (params.transport, params.slots_given) == (0, 0)
    assert params.register_count == 1
    first = params.registers[0]
    assert (first.space, first.address, first.size) == (0, 0x3FD, 1)
    assert (params.slot_base, params.slot_stride, params.slot_count) == (0xFEB00000, 512, 24)


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("mode=pio", "mode", 2),
        ("mode=idle", "mode", 1),
        ("mode=draw", "mode", 3),
        ("mode=keys", "mode", 4),
        ("mode=draw", "draw", 1),
        ("mode=draw smp=4", "draw_cpu", 0),
        ("draw=1 smp=4", "draw_cpu", 3),
        ("draw=1 smp=4 draw_cpu=1", "draw_cpu", 1),
        ("draw=0", "draw", 0),
        ("draw_kind=text", "draw_kind", 0),
        ("draw_kind=pattern", "draw_kind", 4),
        ("fb=0xe0000000:1024x768:4096", "fb_base", 0xE0000000),
        ("fb=0xe0000000:1024x768:4100", "fb_width", 1024),
        ("fb=0xe0000000:1024x768:4100", "fb_height", 768),
        ("fb=0xe0000000:1024x768:4100", "fb_stride", 4100),
        ("fb=0xfffffffc:1x1:4", "fb_base", 0xFFFFFFFC),
        ("rw=write", "rw", 1),
        ("rw=mixed", "rw", 2),
        ("rw=verify", "rw", 3),
        ("transport=auto", "transport", 0),
        ("transport=mmio", "transport", 1),
        ("transport=pci", "transport", 2),
        ("bs=0x10000", "bs", 65536),
        ("iodepth=4 iodepth=8", "iodepth", 8),
        ("hammer=none", "register_count", 0),
        ("virtio_mmio=0xd0000000:0x1000:4", "slot_stride", 4096),
        ("virtio_mmio=0xd0000000:0x1000:4", "slots_given", 1),
        ("virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:0",
         "device_count", 2),
    ],
)  # fmt: skip
def test_a_word_sets_its_field(guest: tuple[Any, Any], word: str, field: str, value: int) -> None:
    params, error = parse(guest, word)
    assert not error
    assert getattr(params, field) == value


def test_hammered_registers_keep_their_order(guest: tuple[Any, Any]) -> None:
    params, error = parse(guest, "hammer=mmio:0xfeb00e00:4,pio:1017:1,mmio:0xfee00000:8")
    assert not error
    seen = [(r.space, r.address, r.size) for r in params.registers[0 : params.register_count]]
    assert seen == [(1, 0xFEB00E00, 4), (0, 1017, 1), (1, 0xFEE00000, 8)]


def test_listed_devices_keep_their_order(guest: tuple[Any, Any]) -> None:
    words = [f"virtio_mmio.device=512@{address:#x}:5" for address in (0xFEB02E00, 0xFEB00000)]
    params, error = parse(guest, " ".join(words))
    assert not error
    assert list(params.devices)[:2] == [0xFEB02E00, 0xFEB00000]


@pytest.mark.parametrize("key", BOUNDS)
def test_numbers_are_accepted_exactly_within_their_range(guest: tuple[Any, Any], key: str) -> None:
    low, high = BOUNDS[key]
    for good in (low, high):
        params, error = parse(guest, f"iodepth=256 {key}={good}")
        assert (error, getattr(params, key)) == ("", good)
    for bad in (low - 1, high + 1):
        assert parse(guest, f"{key}={bad}")[1] == f"bad value: {key}={bad}"


@pytest.mark.parametrize(
    "word",
    [
        "iodepth=", "iodepth", "iodepth=+1", "iodepth=1x", "iodepth=0x",
        "seed=18446744073709551616", "transport=", "transport=usb",
        "rw=", "rw=reads", "rw=rea", "mode=0", "hammer=", "hammer=pio", "hammer=pio:0x3fd",
        "hammer=pio:0x3fd:3", "hammer=pio:0x3fd:1,", "hammer=pio:0x10000:1", "hammer=pio:0x60:8",
        "hammer=mmio:0xfeb00e02:4", "hammer=mmio:0x100000000:4", "hammer=pio:1:1:1",
        "hammer=" + ",".join(["pio:0x3fd:1"] * 9), "virtio_mmio=0:512", "virtio_mmio=1:512:1",
        "virtio_mmio=0:256:1", "virtio_mmio=0:512:33", "virtio_mmio=0xfffffe00:512:2",
        "virtio_mmio.device=512@0x2", "virtio_mmio.device=512@0xffffffff0:1",
        " ".join(["virtio_mmio.device=512@0xfeb00000:1"] * 33),
        "draw=2", "draw_kind=", "draw_kind=texts", "fb=", "fb=0xe0000000", "fb=0xe0000000:1024x768",
        "fb=0:0x1:4", "fb=0:1x0:4", "fb=0:2x1:4", "fb=0:1x1:6", "fb=2:1x1:4", "fb=0:1x1:65540",
        "fb=0:16385x1:65540", "fb=0:1x16385:4", "fb=0xfffffffc:1x2:4", "fb=0x100000000:1x1:4",
        "fb=0:1x1:4:", "fb=0:1:1:4", "fb=0xffffffffffffffff:1x1:4",
    ],
)  # fmt: skip
def test_a_malformed_value_is_refused(guest: tuple[Any, Any], word: str) -> None:
    assert parse(guest, word)[1].startswith("bad value: ")


@pytest.mark.parametrize(
    ("cmdline", "message"),
    [
        ("bs=1000", "bs is not a multiple of 512"),
        ("iodepth=2 queues=3", "queues exceeds iodepth"),
        ("mode=pio hammer=none", "mode=pio needs a register (hammer=)"),
        ("mode=draw smp=2 draw_cpu=1", "mode=draw draws on CPU 0 (draw_cpu=)"),
        ("draw=1", "draw=1 needs a CPU of its own: mode=draw, or smp=2"),
        ("draw=1 smp=2 draw_cpu=0", "draw=1 needs a CPU of its own: mode=draw, or smp=2"),
        ("draw=1 smp=2 draw_cpu=2", "draw_cpu is not below smp"),
        ("io_depth=2", "unknown parameter: io_depth=2"),
        ("quiet", "unknown parameter: quiet"),
    ],
)
def test_a_mistake_is_named(guest: tuple[Any, Any], cmdline: str, message: str) -> None:
    assert parse(guest, cmdline)[1] == message


@given(
    values=st.fixed_dictionaries(
        {}, optional={key: st.integers(*bounds) for key, bounds in BOUNDS.items()}
    ),
    as_hex=st.booleans(),
)
def test_numbers_survive_the_command_line(
    guest: tuple[Any, Any], values: dict[str, int], as_hex: bool
) -> None:
    values = {"iodepth": 256} | values | {"queues": 1}
    words = [f"{key}={hex(value) if as_hex else value}" for key, value in values.items()]
    params, error = parse(guest, "  ".join(words))
    assert not error
    assert {key: getattr(params, key) for key in values} == values


@given(cmdline=st.binary(max_size=300).map(lambda text: text.replace(b"\0", b"=")))
def test_no_command_line_breaks_the_parser(guest: tuple[Any, Any], cmdline: bytes) -> None:
    _, error = parse(guest, cmdline)
    assert bool(error) == bool(cmdline.strip(b" \t\r\n"))


def test_the_pattern_has_known_values() -> None:
    # SplitMix64 seeded with 0 and with 1234567, from its published test vectors.
    words = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert pattern(0, 16, 0) == b"".join(word.to_bytes(8, "little") for word in words)
    assert pattern(8, 8, 0) == words[1].to_bytes(8, "little")
    assert pattern(0, 8, 1234567) == (6457827717110365317).to_bytes(8, "little")


@given(block=st.integers(0, 2**50), words=st.integers(0, 64), seed=SEEDS)
def test_guest_and_host_compute_the_same_pattern(
    guest: tuple[Any, Any], block: int, words: int, seed: int
) -> None:
    ffi, lib = guest
    buffer = ffi.new("uint64_t[]", words + 1)
    lib.guest_pattern_fill(buffer, block * 8, words * 8, seed)
    data = bytes(ffi.buffer(buffer))
    assert data == pattern(block * 8, words * 8, seed) + bytes(8)
    assert lib.guest_pattern_mismatches(buffer, block * 8, words * 8, seed) == 0


@given(damage=st.dictionaries(st.integers(0, 511), st.integers(1, 255)), seed=SEEDS)
def test_every_damaged_byte_is_counted(
    guest: tuple[Any, Any], damage: dict[int, int], seed: int
) -> None:
    ffi, lib = guest
    data = bytearray(pattern(4096, 512, seed))
    for position, flip in damage.items():
        data[position] ^= flip
    buffer = ffi.new("uint64_t[64]")
    ffi.memmove(buffer, data, 512)
    assert lib.guest_pattern_mismatches(buffer, 4096, 512, seed) == len(damage)


@pytest.mark.parametrize(
    ("offset", "length", "seed"), [(4, 8, 0), (8, 4, 0), (-8, 8, 0), (0, 8, -1)]
)
def test_the_host_refuses_what_the_guest_cannot_do(offset: int, length: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"multiples of 8|64 bits"):
        pattern(offset, length, seed)


def histogram(guest: tuple[Any, Any], values: list[int]) -> Any:
    """The values, half of them recorded elsewhere and merged."""
    ffi, lib = guest
    total, other = (ffi.new("struct guest_histogram *") for _ in range(2))
    for number, value in enumerate(values):
        lib.record(total if number % 2 else other, value)
    lib.guest_histogram_merge(total, other)
    assert (total.count, total.max) == (len(values), max(values, default=0))
    assert total.sum == sum(values) % 2**64
    return total


def test_buckets_cover_all_64_bit_values_in_steps_of_an_eighth(guest: tuple[Any, Any]) -> None:
    _, lib = guest
    ends = [lib.guest_histogram_upper(bucket) for bucket in range(496)]
    assert ends[:9] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert ends[-1] == 2**64 - 1
    for low, high in pairwise(ends):
        assert 0 < high - low <= max(1, (low + 1) / 8)


@given(value=VALUES)
def test_a_value_falls_into_the_first_bucket_that_reaches_it(
    guest: tuple[Any, Any], value: int
) -> None:
    _, lib = guest
    one = histogram(guest, [value])
    bucket = list(one.buckets).index(1)
    assert value <= lib.guest_histogram_upper(bucket)
    assert bucket == 0 or value > lib.guest_histogram_upper(bucket - 1)


@given(values=st.lists(VALUES, min_size=1, max_size=50), permille=st.integers(0, 1000))
def test_a_quantile_is_at_most_an_eighth_too_high(
    guest: tuple[Any, Any], values: list[int], permille: int
) -> None:
    _, lib = guest
    rank = max(1, -(-len(values) * permille // 1000))
    exact = sorted(values)[rank - 1]
    answer = lib.guest_histogram_quantile(histogram(guest, values), permille)
    assert exact <= answer <= min(max(values), exact + exact // 8 + 1)


def test_an_empty_histogram_answers_zero(guest: tuple[Any, Any]) -> None:
    _, lib = guest
    empty = histogram(guest, [])
    assert lib.guest_histogram_quantile(empty, 990) == 0
    assert lib.guest_histogram_mean(empty) == 0
