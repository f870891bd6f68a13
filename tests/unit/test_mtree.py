# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory map, out of what real QEMUs print (qemu_text/) and out of nonsense."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.qemu.mtree import MapError, MemoryMap, Range, Space, parse_mtree

TEXTS = Path(__file__).parent / "qemu_text"
VERSIONS = ("7.2", "10.0")
MEMORY, IO = Space.MEMORY, Space.IO
HEAD = 'FlatView #0\n AS "I/O", root: io\n Root memory region: io\n'
VIEW = 'FlatView #1\n AS "memory", root: system\n Root memory region: system\n'


def real(version: str, machine: str) -> MemoryMap:
    return parse_mtree((TEXTS / f"mtree-{version}-{machine}.txt").read_text())


def memory_of(lines: str) -> tuple[Range, ...]:
    return parse_mtree(HEAD + VIEW + lines).memory


def name_at(found: MemoryMap, space: Space, address: int) -> str | None:
    part = found.find(space, address)
    return part.name if part else None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("space", "address", "name"),
    [
        (MEMORY, 0xFEB00000, "virtio-mmio[0]"),
        (MEMORY, 0xFEB001FF, "virtio-mmio[0]"),
        (MEMORY, 0xFEB02E50, "virtio-mmio[23]"),
        (MEMORY, 0xFEB03000, None),
        (MEMORY, 0xFEA00002, "acpi-ged"),
        (MEMORY, 0xFEC10000, "ioapic[1]"),
        (MEMORY, 0x100000, "microvm.ram"),
        (MEMORY, 0x4000000, None),
        (MEMORY, 0xFFFFFFFF, "pc.bios[1]"),
        (MEMORY, (1 << 64) - 1, None),
        (IO, 0x3FD, "serial"),
        (IO, 0x510, "fwcfg"),
        (IO, 0x514, "fwcfg.dma"),
        (IO, 0xA1, "pic[1]"),
        (IO, 0x80, None),
        (IO, 0x5F0, None),
        (IO, 0x10000, None),
    ],
)
def test_addresses_of_a_microvm_have_their_devices(
    version: str, space: Space, address: int, name: str | None
) -> None:
    assert name_at(real(version, "microvm"), space, address) == name


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("space", "address", "name"),
    [
        (MEMORY, 0xFEBF1200, "vga.mmio"),
        (MEMORY, 0xFEBF1700, "vga.mmio"),
        (MEMORY, 0xFEBF1410, "vga ioports remapped"),
        (MEMORY, 0xFEBF1500, "bochs dispi interface"),
        (MEMORY, 0xFE003000, "virtio-pci-notify-virtio-blk"),
        (MEMORY, 0xFED000F0, "hpet"),
        (MEMORY, 0xFEE00000, "kvm-apic-msi"),
        (MEMORY, 0xC0000, "pc.ram"),
        (IO, 0x608, "acpi-tmr"),
        (IO, 0x71, "rtc"),
        (IO, 0x70, "rtc-index"),
        (IO, 0xCFA, "pci-conf-idx"),
        (IO, 0xCF9, "lpc-reset-control"),
        (IO, 0xC100, "virtio-pci"),
    ],
)
def test_addresses_of_a_pc_have_their_devices(
    version: str, space: Space, address: int, name: str
) -> None:
    assert name_at(real(version, "q35"), space, address) == name


def test_a_page_names_all_its_regions_in_order() -> None:
    found = real("10.0", "microvm")
    assert found.names(MEMORY, 0xFEB00400, 0xFEB007FF) == ["virtio-mmio[2]", "virtio-mmio[3]"]
    assert found.names(IO, 0x300, 0x3FF) == ["serial"]
    assert found.names(IO, 0x600, 0x6FF) == []
    assert found.names(IO, 0x0, 0xFFFF)[-1] == "fwcfg.dma"


def test_the_view_of_the_first_cpu_stands_in_for_one_named_memory() -> None:
    text = HEAD + VIEW.replace('"memory"', '"cpu-memory-0"')
    assert parse_mtree(text + "  10-1f (prio 0, i/o): a\n").memory == (Range(0x10, 0x1F, "a"),)


def test_marks_and_offsets_are_not_part_of_a_name() -> None:
    lines = (
        "  0000-00ff (prio -1, nv-ram): a @b @0000000000000100 KVM\n"
        "  0100-01ff (prio 0, romd): a (b), c\n"
        "  0200-02ff (prio 4096, i/o): @12\n"
        "  0300-03ff (prio 0, i/o): \n"
    )
    assert [r.name for r in memory_of(lines)] == ["a @b", "a (b), c", "@12", "(no name)"]


def test_pieces_of_one_region_are_not_numbered() -> None:
    lines = (
        "  1000-10ff (prio 0, i/o): a\n"
        "  1100-11ff (prio 1, i/o): b\n"
        "  1200-12ff (prio 0, i/o): a @200\n"
        "  1300-13ff (prio 0, i/o): b @0\n"
    )
    assert [r.name for r in memory_of(lines)] == ["a", "b[0]", "a", "b[1]"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown command: 'info mtree'",
        HEAD,
        VIEW,
        HEAD + VIEW + "  0000-",
        HEAD + VIEW + "  00000000feb00000-00000000feb001ff (prio 0, i/o",
        HEAD + VIEW + "  20-10 (prio 0, i/o): backwards\n",
        HEAD + VIEW + "  10-20 (prio 0, i/o): a\n  20-30 (prio 0, i/o): overlaps\n",
        HEAD + VIEW + "  ٣-٤ (prio 0, i/o): other digits\n",
        HEAD + VIEW + "\x1b[31m\n",
    ],
)
def test_nonsense_is_one_clear_error(text: str) -> None:
    with pytest.raises(MapError) as caught:
        parse_mtree(text)
    assert caught.value.message.isprintable()


@given(st.sampled_from(sorted(TEXTS.glob("mtree-*"))), st.data())
def test_a_damaged_map_is_an_error_or_a_map(path: Path, data: st.DataObject) -> None:
    text = path.read_text()
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 40))
    junk = data.draw(st.text(max_size=5))
    try:
        found = parse_mtree(text[:at] + junk + text[at + cut :])
    except MapError:
        return
    assert all(part.name for part in (*found.memory, *found.io))


SMALL = 24


@st.composite
def ranges(draw: st.DrawFn) -> tuple[Range, ...]:
    """Ranges of addresses below SMALL."""
    bounds = sorted(draw(st.sets(st.integers(0, SMALL - 1), max_size=12)))
    pairs = zip(bounds[::2], bounds[1::2], strict=False)
    names = st.sampled_from("abc")
    return tuple(Range(start, end, draw(names)) for start, end in pairs)


def model(parts: Sequence[Range]) -> dict[int, str]:
    return {at: part.name for part in parts for at in range(part.start, part.end + 1)}


@given(ranges(), st.integers(0, SMALL), st.integers(0, SMALL))
def test_find_agrees_with_a_table_of_all_addresses(
    parts: tuple[Range, ...], one: int, other: int
) -> None:
    table, found = model(parts), MemoryMap(memory=parts)
    for at in range(SMALL + 1):
        assert name_at(found, MEMORY, at) == table.get(at)
        assert found.find(IO, at) is None
    start, end = sorted((one, other))
    wanted = dict.fromkeys(table[at] for at in range(start, end + 1) if at in table)
    assert found.names(MEMORY, start, end) == list(wanted)


@given(ranges(), ranges())
def test_a_newer_map_keeps_what_the_older_one_knew_of_its_holes(
    newer: tuple[Range, ...], older: tuple[Range, ...]
) -> None:
    both = MemoryMap(io=newer).over(MemoryMap(io=older))
    assert model(both.io) == {**model(older), **model(newer)}
