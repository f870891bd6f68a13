# SPDX-License-Identifier: GPL-2.0-or-later
"""A few bytes of machine code under KVM: what an exit does, seen from inside the guest.

The code starts where PVH starts a kernel, in 32-bit protected mode with flat segments, and tells
what it found through the debug-exit port, that is, through the exit status of the process.
"""

import struct
from pathlib import Path

import pytest

from tests.support.elf import ElfBuilder, Load, pvh_note
from tests.support.vm import VmResult, run_vm

pytestmark = pytest.mark.kvm

CODE = 0x10_0000
TEXT = 0x10_1000
TELL = b"\xe6\xf4\xf4\xeb\xfd"  # out 0xf4, al; then hlt for ever
VIRTIO_SLOT_0 = 0xFEB0_0000
SCRATCH, PYTHON_SCRATCH = 0x5F8, 0x5E8


def move_dx(port: int) -> bytes:
    return b"\x66\xba" + struct.pack("<H", port)


def move_eax(value: int) -> bytes:
    return b"\xb8" + struct.pack("<I", value)


def load_eax(address: int) -> bytes:
    return b"\xa1" + struct.pack("<I", address)


def run_code(tmp_path: Path, code: bytes, *options: str, text: bytes = b"") -> VmResult:
    loads = [Load(CODE, code), Load(TEXT, text or b"\0")]
    kernel = tmp_path / "kernel"
    kernel.write_bytes(ElfBuilder(loads=loads, notes=pvh_note(CODE)).build())
    report = tmp_path / "report.json"
    return run_vm("--kernel", str(kernel), "--accel", "kvm", *options, report=report)


def test_the_status_is_what_the_guest_wrote_to_debug_exit(tmp_path: Path) -> None:
    result = run_code(tmp_path, b"\xb0\x2a" + TELL)
    assert (result.status, result.report["guest_status"]) == (42, 42)
    assert result.report["guest"] is None
    assert result.report["cpus"][0]["pio"] == 1


def test_a_string_instruction_is_one_access_an_element(tmp_path: Path) -> None:
    text = b"the quick brown fox\n" * 50
    source = b"\xbe" + struct.pack("<I", TEXT)  # mov esi
    count = b"\xb9" + struct.pack("<I", len(text))  # mov ecx
    write = b"\xfc\xf3\x6e\xb0\x00"  # cld; rep outsb; mov al, 0
    result = run_code(tmp_path, source + count + move_dx(0x3F8) + write + TELL, text=text)
    assert (result.status, result.stdout) == (0, text.decode())


@pytest.mark.parametrize("port", [SCRATCH, PYTHON_SCRATCH])
def test_a_register_is_read_back_in_every_width(tmp_path: Path, port: int) -> None:
    store = move_dx(port) + move_eax(0x1234_5678) + b"\xef\x31\xc0"  # out dx, eax; xor eax, eax
    assert run_code(tmp_path, store + b"\xec" + TELL).status == 0x78  # in al, dx
    assert run_code(tmp_path, store + b"\x66\xed\x88\xe0" + TELL).status == 0x56  # ax, take ah
    shift = b"\xc1\xe8\x18"  # shr eax, 24
    assert run_code(tmp_path, store + b"\xed" + shift + TELL).status == 0x12


@pytest.mark.parametrize("read", [b"\x31\xc0\xe4\x99", b"\x31\xc0" + load_eax(0xFD00_0000)])
def test_nothing_reads_as_all_ones(tmp_path: Path, read: bytes) -> None:
    assert run_code(tmp_path, read + TELL).status == 0xFF


def test_a_disk_shows_its_magic_number(tmp_path: Path) -> None:
    disk = ("--drive", "driver=null,size=1M")
    result = run_code(tmp_path, load_eax(VIRTIO_SLOT_0) + TELL, *disk)
    assert result.status == ord("v")
    assert result.report["cpus"][0]["mmio"] == 1


def test_a_triple_fault_is_a_crash_in_one_line(tmp_path: Path) -> None:
    result = run_code(tmp_path, b"\x0f\x0b")  # ud2, and no table to look a handler up in
    assert result.status == 1
    assert result.complaint() == "bqlscope: guest stopped: triple fault on CPU 0"
    assert result.report["ended"]["kind"] == "triple_fault"


def test_a_guest_that_halts_for_ever_obeys_the_end(tmp_path: Path) -> None:
    """CPU 0 tells and halts; the others never leave the wait for their start-up interrupt."""
    result = run_code(tmp_path, b"\xb0\x07" + TELL, "--smp", "4")
    assert result.status == 7
    assert [cpu["pio"] for cpu in result.report["cpus"]] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    "line", [b'{"bqlscope_guest":', b'{"bqlscope_guest"\xff', b'{"bqlscope_guest":' + b"[" * 3000]
)
def test_a_result_line_that_is_no_json_is_only_text(tmp_path: Path, line: bytes) -> None:
    source = b"\xbe" + struct.pack("<I", TEXT)
    count = b"\xb9" + struct.pack("<I", len(line) + 1)
    write = b"\xfc\xf3\x6e\xb0\x05"
    code = source + count + move_dx(0x3F8) + write + TELL
    result = run_code(tmp_path, code, "--serial", "null", text=line + b"\n")
    assert (result.status, result.report["guest"]) == (5, None)
