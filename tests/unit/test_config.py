# SPDX-License-Identifier: GPL-2.0-or-later
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.options import parse_drives, parse_object
from vmm.cmdline.objects import ObjectOptions
from vmm.config import MachineConfig, parse_size
from vmm.errors import VmmError

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128M", 128 * MIB),
        ("2G", 2 << 30),
        ("65536k", 64 * MIB),
        ("256", 256 * MIB),
        ("1g", 1 << 30),
        ("1T", 1 << 40),
    ],
)
def test_sizes_have_qemus_suffixes_and_default_to_mib(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "0", "0G", "-1", "1.5G", "1P", "M", " 1M", "1M ", "1MB", "0x10", "٣M", "1" * 13, "65537G"],
)
def test_other_texts_are_no_sizes(text: str) -> None:
    with pytest.raises(VmmError, match=r"--memory .*: must be a size such as"):
        parse_size(text)


@given(st.text(max_size=16) | st.from_regex(r"\A[0-9]{1,14}[kKmMgGtT]?\Z"))
def test_any_text_is_a_size_in_range_or_refused(text: str) -> None:
    with suppress(VmmError):
        assert 0 < parse_size(text) <= 1 << 46


def test_an_object_has_type_id_and_properties() -> None:
    assert parse_object("iothread,id=io0,poll-max-ns=0") == ObjectOptions(
        "iothread", "io0", {"poll-max-ns": 0}
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iothread", "needs an id"),
        ("iothread,id=", "needs an id"),
        ("", "Parameter 'qom-type' does not accept value '' (known: iothread)"),
        ("throttle-group,id=a", "does not accept value 'throttle-group' (known: iothread)"),
        ("iothred,id=a", "did you mean 'iothread'?"),
        ("iothread,id=a,id=b", "'id' is given twice"),
        ("iothread,id", "'id' needs a value"),
        ("iothread,=a", "has an empty word"),
        ("iothread,id=a,", "has an empty word"),
        ("iothread,id=a,poll-max=1", "did you mean 'poll-max-ns'?"),
        ("iothread,id=a,type=b", "Property 'iothread.type' is not writable"),
        ('{"qom-type": "iothread"}', "needs an id"),
        ('{"qom-type": 3, "id": "a"}', "qom-type must be a string"),
        ('{"qom-type": "iothread", "id": "a"', "is no JSON: "),
    ],
)
def test_a_malformed_object_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(VmmError) as caught:
        parse_object(text)
    assert f"--object {text}" in str(caught.value)
    assert words in str(caught.value)


def test_drives_are_parsed_in_their_order() -> None:
    drives = parse_drives(("driver=null,size=1M", "file=a.img"))
    assert [drive.driver for drive in drives] == ["null", "file"]


def test_the_drive_that_is_wrong_is_named() -> None:
    with pytest.raises(VmmError, match=r"--drive cache=maybe: .*cache"):
        parse_drives(("driver=null", "cache=maybe"))


@pytest.mark.parametrize("cpus", [1, 16])
def test_as_many_cpus_as_supported_are_accepted(cpus: int) -> None:
    assert MachineConfig(kernel=Path("k"), cpus=cpus).cpus == cpus


@pytest.mark.parametrize("cpus", [-1, 0, 17])
def test_other_numbers_of_cpus_are_refused(cpus: int) -> None:
    with pytest.raises(VmmError, match=f"--smp {cpus}: must be from 1 to 16"):
        MachineConfig(kernel=Path("k"), cpus=cpus)


def test_one_drive_more_than_there_are_slots_is_refused() -> None:
    drives = parse_drives(("driver=null",) * 8)
    assert MachineConfig(kernel=Path("k"), drives=drives).drives == drives
    with pytest.raises(VmmError, match="at most 8 drives"):
        MachineConfig(kernel=Path("k"), drives=drives + drives[:1])
