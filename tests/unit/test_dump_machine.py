# SPDX-License-Identifier: GPL-2.0-or-later
"""--dump-machine: the effective machine as a file that gives the same machine."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.run_config import config_of, config_of_file, dumped
from vmm.block.options import DriveOptions
from vmm.cmdline import toml_text
from vmm.cmdline.given import OptionError
from vmm.commands.run import run
from vmm.keyval import quote

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=10)
FILES = st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1, max_size=6)


def _words(option: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.just([]) | values.map(lambda value: [option, value])


SCALARS = st.tuples(
    _words("-append", TEXT),
    _words("-smp", st.integers(1, 16).map(str)),
    _words("-m", st.sampled_from(["1", "64M", "3G", "1027k", "4097b"])),
    _words("-accel", st.sampled_from(["kvm", "qtest"])),
    _words("-name", st.sampled_from(["a", "a,,b,process=p", "guest=ü"])),
    _words("-uuid", st.just("550e8400-e29b-41d4-a716-446655440000")),
    _words("-serial", FILES.map(lambda name: f"file:{name}") | st.just("null")),
    _words("-bql-policy", st.sampled_from(["mcs", "pthread"])),
    _words("-initrd", FILES),
    st.lists(st.sampled_from(["-S", "--no-reboot", "--no-shutdown"]), unique=True),
    _words("-qmp", st.sampled_from(["unix:/a", "tcp:[::1]:1", "tcp:127.0.0.1:4"])),
    _words("-monitor", st.just("unix:/b,server=on,wait=off")),
    _words("-vnc", st.sampled_from([":1,websocket=on", "unix:/v,,w,password-file=/p", "none"])),
    _words("-trace", st.just("monitor_*")),
    _words("--vnc-encode", st.just("mainloop")),
    _words("--framebuffer", st.sampled_from(["640x480", "1024x768"])),
    st.sampled_from([[], ["--no-record"], ["--keep-recording", "--window-recording"]]),
)
DRIVES = st.lists(
    st.builds(
        lambda file, more: ["-drive", f"file={quote(file)}{more}"],
        FILES,
        st.sampled_from(
            [
                ",cache=none,num-queues=2,iothread-vq-mapping=io0+io1",
                ",iothread=io0,serial=x,bootindex=3,readonly=on",
                ",discard=off,delay-us=5,error-every=3,error-errno=ENOSPC",
                ",write-cache=off,ioeventfd=off,queue-size=4,logical-block-size=512",
            ]
        ),
    )
    | st.just(["-drive", "driver=null,size=1M,latency-us=7"]),
    max_size=3,
)
BLOCKDEVS = st.lists(
    st.sampled_from(
        [
            "driver=file,filename=/a,,b,cache.direct=on,aio=threads,discard=unmap",
            "driver=null-co,size=1M,latency-ns=5",
            "driver=raw,read-only=on,file.driver=file,file.filename=/a,file.auto-read-only=on",
            "driver=filter,delay-us=3,error-every=2,error-errno=ENOSPC,file.driver=null-aio",
        ]
    ),
    max_size=3,
)
IOTHREADS = ("-object", "iothread,id=io0,poll-max-ns=5", "-object", "iothread,id=io1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["micro", "vmlinux", "ü/k"]), SCALARS, DRIVES, BLOCKDEVS)
def test_a_dumped_machine_is_the_same_machine(
    tmp_path: Path,
    kernel: str,
    scalars: tuple[list[str], ...],
    drives: list[list[str]],
    blockdevs: list[str],
) -> None:
    words = [word for part in (*scalars, *drives) for word in part]
    for number, text in enumerate(blockdevs):
        words += ["-blockdev", f"node-name=n{number},{text}"]
        if number:
            words += ["-device", f"virtio-blk-device,drive=n{number},discard=off,id=b{number}"]
    config = config_of("-kernel", kernel, *words, *IOTHREADS)
    text = dumped(config)
    again = config_of_file(text, tmp_path)
    assert dumped(again) == text
    assert again.drives == tuple(_absolute(drive) for drive in config.drives)
    for name in ("command_line", "cpus", "memory_bytes", "accel", "name", "process_name", "uuid"):
        assert getattr(again, name) == getattr(config, name)
    assert (again.objects, again.run) == (config.objects, config.run)
    assert (again.monitors, again.vnc) == (config.monitors, config.vnc)
    assert again.trace == config.trace
    assert again.vnc_encode is config.vnc_encode or not config.vnc
    assert (again.blockdevs, again.framebuffer) == (config.blockdevs, config.framebuffer)
    assert (again.record, again.keep_recording) == (config.record, config.keep_recording)


def _absolute(drive: DriveOptions) -> DriveOptions:
    return drive if drive.file is None else replace(drive, file=str(Path(drive.file).absolute()))


@given(st.recursive(TEXT | st.integers(-(1 << 63), (1 << 63) - 1) | st.booleans(), st.lists))
def test_values_are_written_as_toml_reads_them(value: object) -> None:
    assert tomllib.loads(f"a = {toml_text.value(value)}") == {"a": value}


@given(st.dictionaries(TEXT, TEXT | st.dictionaries(TEXT, st.integers())))
def test_tables_are_written_as_toml_reads_them(content: dict[str, object]) -> None:
    assert tomllib.loads(toml_text.table("[[t]]", content)) == {"t": [content]}


def test_a_file_name_that_is_no_text_cannot_be_written() -> None:
    config = config_of("-kernel", "micro", "-drive", "file=\udcff")
    with pytest.raises(OptionError, match="is not UTF-8 text, which is all TOML can hold"):
        dumped(config)


def test_the_command_prints_it_and_starts_nothing() -> None:
    result = CliRunner().invoke(run, ["-kernel", "/nonexistent", "-m", "1G", "--dump-machine"])
    assert result.exit_code == 0
    machine = tomllib.loads(result.output)["machine"]
    assert (machine["kernel"], machine["memory"], machine["smp"]) == ("/nonexistent", "1024M", 1)
