# SPDX-License-Identifier: GPL-2.0-or-later
import errno
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm.block.options import DriveError, DriveOptions, drive_keys, parse_drive


def test_a_file_alone_gets_the_defaults() -> None:
    assert parse_drive("file=disk.img") == DriveOptions(file="disk.img")


def test_every_key_reaches_its_field() -> None:
    options = parse_drive(
        "file=a.img,driver=file,format=raw,readonly=on,cache=none,aio=threads,iothread=io0,"
        "num-queues=4,queue-size=128,bootindex=1,serial=DISK-7,discard=off,write-cache=off,"
        "logical-block-size=4096,ioeventfd=on,irq=mainloop,locking=off,delay-us=10,"
        "error-every=3,error-errno=ENOSPC,id=d0"
    )
    assert options == DriveOptions(
        file="a.img",
        readonly=True,
        cache="none",
        aio="threads",
        iothread="io0",
        num_queues=4,
        queue_size=128,
        bootindex=1,
        serial="DISK-7",
        discard=False,
        write_cache=False,
        logical_block_size=4096,
        irq="mainloop",
        locking=False,
        delay_us=10,
        error_every=3,
        error_errno=errno.ENOSPC,
        id="d0",
    )


def test_a_null_drive_has_a_size_and_a_latency() -> None:
    options = parse_drive("driver=null,size=4G,latency-us=25")
    assert (options.size, options.latency_us, options.file) == (4 << 30, 25, None)


def test_options_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        parse_drive("file=a").file = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("1k", 1024), ("3K", 3072), ("2M", 2 << 20), ("1T", 1 << 40)]
)
def test_sizes_take_suffixes(text: str, size: int) -> None:
    assert parse_drive(f"driver=null,size={text}").size == size


@given(st.text(alphabet=st.characters(exclude_characters="\0"), min_size=1))
def test_a_doubled_comma_is_a_comma_of_the_file_name(name: str) -> None:
    assert parse_drive("readonly=on,file=" + name.replace(",", ",,")).file == name


def test_three_commas_are_an_escaped_one_and_a_separator() -> None:
    options = parse_drive("file=a,,,serial=b")
    assert (options.file, options.serial) == ("a,", "b")


@pytest.mark.parametrize(
    ("text", "placement", "iothreads"),
    [
        ("file=a", "mainloop", ()),
        ("file=a,ioeventfd=off", "vcpu", ()),
        ("file=a,iothread=io0", "iothread", ("io0",)),
        ("file=a,iothread-vq-mapping=io0+io1", "iothread-vq-mapping", ("io0", "io1")),
    ],
)
def test_the_placement_follows_from_the_options(
    text: str, placement: str, iothreads: tuple[str, ...]
) -> None:
    options = parse_drive(text)
    assert options.placement == placement
    assert options.iothreads == iothreads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown drive option ''"),
        ("file=a,", "unknown drive option ''"),
        ("fil=a", "did you mean 'file'?"),
        ("file=a,iothreads=io0", "did you mean 'iothread'?"),
        ("file=a,zzzzzz=1", "known keys: file, driver"),
        ("file", "drive option 'file' needs a value"),
        ("file=", "file=: needs a value"),
        ("file=a\0b", "NUL"),
        ("file=a,file=b", "'file' is given twice"),
        ("readonly=on", "a drive needs file=PATH"),
        ("file=a,readonly=maybe", "readonly=maybe: must be on or off"),
        ("file=a,format=qcow2", "format=qcow2: only raw"),
        ("file=a,driver=null-co", "must be one of file, null"),
        ("file=a,cache=writethrough", "must be one of none, writeback, unsafe"),
        ("file=a,aio=native", "must be one of io_uring, threads"),
        ("file=a,queue-size=100", "power of two from 4 to 1024"),
        ("file=a,queue-size=2048", "power of two from 4 to 1024"),
        ("file=a,queue-size=0", "power of two from 4 to 1024"),
        ("file=a,queue-size=-2", "power of two from 4 to 1024"),
        ("file=a,num-queues=0", "from 1 to 1024"),
        ("file=a,num-queues=٣", "from 1 to 1024"),
        ("file=a,error-every=" + "0" * 5000, "from 0 to"),
        ("file=a,num-queues=" + "9" * 5000, "from 1 to 1024"),
        ("file=a,logical-block-size=8192", "power of two from 512 to 4096"),
        ("file=a,serial=" + "x" * 21, "at most 20 bytes"),
        ("file=a,serial=" + "ä" * 11, "at most 20 bytes"),
        ("file=a,id=0d", "must start with a letter"),
        ("file=a,iothread-vq-mapping=io0+", "must start with a letter"),
        ("file=a,iothread-vq-mapping=io0+io0", "duplicate IOThread name"),
        ("file=a,iothread=io0,iothread-vq-mapping=io1", "exclude each other"),
        ("file=a,iothread=io0,ioeventfd=off", "iothread= needs ioeventfd=on"),
        ("file=a,iothread-vq-mapping=io0,ioeventfd=off", "iothread-vq-mapping= needs ioeventfd"),
        ("file=a,num-queues=1,iothread-vq-mapping=io0+io1", "leaves one without a queue"),
        ("file=a,size=1M", "size= is for driver=null only"),
        ("file=a,latency-us=1", "latency-us= is for driver=null only"),
        ("driver=null,file=a", "file= is for driver=file only"),
        ("driver=null,cache=none", "cache= is for driver=file only"),
        ("driver=null,size=1000", "multiple of 512"),
        ("driver=null,size=0", "multiple of 512"),
        ("driver=null,size=9999999999999999T", "multiple of 512"),
        ("driver=null,size=1.5G", "multiple of 512"),
        ("file=a,error-errno=EWHAT", "such as EIO"),
        ("file=a,error-errno=EIO", "needs error-every"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DriveError) as caught:
        parse_drive(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_documented_keys_are_the_accepted_ones() -> None:
    assert len(drive_keys()) == 24
    for key in drive_keys():
        with pytest.raises(DriveError, match=f"^drive option '{key}' needs a value"):
            parse_drive(key)


@given(st.text())
def test_no_text_does_anything_but_parse_or_raise_drive_error(text: str) -> None:
    try:
        options = parse_drive(text)
    except DriveError:
        return
    assert isinstance(options, DriveOptions)


@given(
    st.dictionaries(
        st.sampled_from(drive_keys()), st.text(alphabet="019kon+f,raw_-E", max_size=6), max_size=6
    )
)
def test_no_values_do_anything_but_parse_or_raise_drive_error(pairs: dict[str, str]) -> None:
    text = ",".join(f"{key}={value.replace(',', ',,')}" for key, value in pairs.items())
    try:
        options = parse_drive(text)
    except DriveError:
        return
    assert options.file or options.driver == "null"
