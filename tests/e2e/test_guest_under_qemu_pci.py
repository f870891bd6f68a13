# SPDX-License-Identifier: GPL-2.0-or-later
"""The measuring guest on QEMU's PC machines, whose disks are PCI devices, in each QEMU version."""

from pathlib import Path

import pytest

from tests.support.micro_guest import (
    DEVICE_FAILED,
    ELF,
    OK,
    Run,
    build_guest,
    run_guest,
)
from tests.support.qemus import QEMUS
from vmm.guest.pattern import pattern

pytestmark = [pytest.mark.kvm, pytest.mark.qemu, pytest.mark.timeout(120)]

BLOCK = 4096
MACHINE = (
    "-accel kvm -cpu qemu64 -nodefaults -no-user-config -vga none -display none -serial stdio"
    " -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4"
)
# What QEMU does when a driver switches MSI-X on and gives queues their vectors.
TRACES = ("msix_write_config", "kvm_irqchip_add_msi_route")
NULL_DISK = "driver=null-co,size=64M"


@pytest.fixture(
    name="qemu",
    scope="module",
    params=QEMUS or [Path()],
    ids=lambda path: path.parent.name or "none",
)
def _qemu(request: pytest.FixtureRequest) -> str:
    if request.param == Path():
        pytest.skip("qemu-system-x86_64 is not installed")
    build_guest()
    return str(request.param)


def boot(
    qemu: str, words: str, *extra: str, machine: str = "q35", cpus: int = 1, memory: int = 128
) -> Run:
    """Run the guest to its end with these command line words."""
    command = [qemu, "-M", machine, "-m", str(memory), "-smp", str(cpus), *MACHINE.split()]
    for event in TRACES:
        command += ["-trace", event]
    return run_guest([*command, "-kernel", str(ELF), "-append", words, *extra])


def disk(drive: str, properties: str = "", number: int = 0) -> list[str]:
    """A virtio-blk-pci device and its drive."""
    device = f"virtio-blk-pci,drive=d{number},num-queues=4{properties}"
    return ["-drive", f"if=none,id=d{number},{drive}", "-device", device]


def image(path: Path, blocks: int) -> str:
    """A raw image of 0xee bytes, as a drive."""
    path.write_bytes(b"\xee" * (blocks * BLOCK))
    return f"file={path},format=raw,cache=writeback"


def routes(run: Run) -> int:
    """To how many MSI-X vectors QEMU made a way into KVM's interrupt controller."""
    return sum("kvm_irqchip_add_msi_route dev virtio-blk-pci" in line for line in run.log)


@pytest.mark.parametrize(
    ("cpus", "words", "properties", "vectors"),
    [
        (1, "seed=3 indirect=0 iodepth=17", ",disable-legacy=on", 0),
        (2, "seed=4 queues=4", ",disable-legacy=off", 0),
        (1, "seed=5 queues=4 irq=1", ",disable-legacy=off", 4),
        (2, "seed=6 queues=3 irq=1 iodepth=64", ",disable-legacy=on,iothread=io0", 3),
    ],
)
def test_what_the_guest_writes_is_on_the_disk_and_msix_is_used_when_asked_for(
    qemu: str, tmp_path: Path, cpus: int, words: str, properties: str, vectors: int
) -> None:
    path = tmp_path / "disk.img"
    run = boot(
        qemu,
        f"rw=verify blocks=333 smp={cpus} {words}",
        "-object",
        "iothread,id=io0",
        *disk(image(path, 400), properties),
        cpus=cpus,
    )
    assert run.status == OK, run
    result = run.result
    blk = result["blk"]
    assert result["verify"] == {"wrong_blocks": 0, "wrong_bytes": 0}
    assert path.read_bytes() == pattern(0, 333 * BLOCK, result["seed"]) + b"\xee" * (67 * BLOCK)
    assert (blk["reads"], blk["writes"], blk["errors"], blk["transport"]) == (333, 333, 0, "pci")
    assert (result["access"]["total"]["reads"] > 0) == (cpus > 1)
    # Three witnesses: the guest's switch, its local APIC, and QEMU.
    assert (blk["msix"], blk["msix_pending"], routes(run)) == (vectors > 0, vectors, vectors)
    switched = [line for line in run.log if "msix_write_config dev virtio-blk-pci" in line]
    assert f"enabled {vectors > 0:d} masked 0" in switched[-1]


def test_a_measured_window_adds_up(qemu: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    run = boot(
        qemu,
        "rw=mixed smp=2 iodepth=16 queues=2 irq=1 ms=200 warmup_ms=20 marks=1",
        *("-chardev", f"file,id=marks,path={marks}"),
        *("-device", "isa-debugcon,iobase=0x5f0,chardev=marks"),
        *disk(NULL_DISK),
        cpus=2,
        memory=2048,
    )
    assert run.status == OK, run
    result = run.result
    blk = result["blk"]
    assert marks.read_bytes() == b"\1\2"
    assert result["elapsed_ns"] >= 200_000_000
    assert blk["ops"] == blk["reads"] + blk["writes"] > 0
    assert 0 < blk["kicks"] <= blk["ops"]
    assert result["access"]["total"]["reads"] > 0


def test_the_second_disk_of_a_pc_is_the_second_in_bus_order(qemu: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.img", tmp_path / "second.img"
    disks = [*disk(image(first, 8), ",addr=9"), *disk(image(second, 8), ",addr=8", number=1)]
    run = boot(qemu, "rw=verify disk=1 seed=9", *disks, machine="pc")
    assert run.status == OK, run
    assert first.read_bytes() == pattern(0, 8 * BLOCK, 9)
    assert second.read_bytes() == b"\xee" * (8 * BLOCK)


def test_registers_that_firmware_put_above_4_gib_come_down(qemu: str, tmp_path: Path) -> None:
    # Shared memory of 4 GiB makes SeaBIOS move all 64-bit BARs up there.
    big = ["-object", "memory-backend-ram,id=m,size=4G,share=on,reserve=off"]
    big += ["-device", "ivshmem-plain,memdev=m", "-trace", "pci_update_mappings_add"]
    path = tmp_path / "disk.img"
    run = boot(qemu, "rw=verify seed=8 irq=1", *big, *disk(image(path, 8)))
    assert run.status == OK, run
    assert path.read_bytes() == pattern(0, 8 * BLOCK, 8)
    places = [
        line.split(" 4,0x")[1] for line in run.log if "virtio-blk-pci" in line and " 4," in line
    ]
    addresses = [int(place.split("+")[0], 16) for place in places]
    assert max(addresses) >= 1 << 32 > addresses[-1]


@pytest.mark.parametrize(
    ("words", "properties", "line"),
    [
        ("", None, "guest: no such virtio block device"),
        ("", ",disable-modern=on,disable-legacy=off",
         "guest: the PCI device has no virtio 1.0 registers (disable-modern=on?)"),
        ("irq=1", ",vectors=0",
         "guest: irq=1 needs MSI-X, and the PCI device has none"),
    ],
)  # fmt: skip
def test_a_failure_is_one_line_and_an_exit_code(
    qemu: str, words: str, properties: str | None, line: str
) -> None:
    disks = [] if properties is None else disk(NULL_DISK, properties)
    run = boot(qemu, words, *disks)
    assert (run.status, run.lines) == (DEVICE_FAILED, [line])
