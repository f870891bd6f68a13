# SPDX-License-Identifier: GPL-2.0-or-later
"""``bqlscope run``'s command line: QEMU's spellings, what is answered, and the help page."""

import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tests.support.run_config import config_of, run_options
from vmm.cmdline.command import SECTIONS, WIDTH
from vmm.cmdline.given import OptionError
from vmm.cmdline.qemu_names import ANSWERS, HARMLESS, OTHERWISE
from vmm.commands.run import run

QEMU = "qemu-system-x86_64"
MICRO = ("-kernel", "micro")
HELP_PAGE = Path(__file__).with_name("run_help.txt")
ANY_TEXT = st.text(st.characters(exclude_characters="\0"), max_size=12)


def lines_of(*words: str) -> list[str]:
    result = CliRunner().invoke(run, list(words))
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_a_qemu_command_line_and_ours_are_the_same_machine() -> None:
    ours = config_of(
        *("--kernel", "vmlinux", "--initrd", "i.cpio", "--append", "console=ttyS0"),
        *("--smp", "2", "--memory", "512M", "--accel", "kvm", "--object", "iothread,id=io0"),
        *("--drive", "file=d.img,id=d0,cache=none,num-queues=2,iothread=io0,serial=a,bootindex=1"),
        *("--serial", "file:log", "--name", "vm1"),
    )
    qemus = config_of(
        *("-name", "guest=vm1,debug-threads=on", "-M", "microvm", "-enable-kvm", "-cpu", "host"),
        *("-m", "size=512M", "-smp", "cpus=2", "-kernel", "vmlinux", "-initrd", "i.cpio"),
        *("-append", "console=ttyS0", "-nodefaults", "-no-user-config", "-nographic"),
        *(
            "-display",
            "none",
            "-vga",
            "none",
            "-monitor",
            "none",
            "-object",
            '{"qom-type":"iothread","id":"io0"}',
        ),
        *("-drive", "if=none,id=d0,file=d.img,format=raw,cache=none,aio=io_uring"),
        *("-device", "virtio-blk-device,drive=d0,num-queues=2,iothread=io0,serial=a,bootindex=1"),
        *("-serial", "file:log"),
    )
    assert qemus.drives == ours.drives
    assert qemus.blockdevs == ours.blockdevs
    for name in ("kernel", "initrd", "command_line", "cpus", "memory_bytes", "accel", "serial"):
        assert getattr(qemus, name) == getattr(ours, name)
    assert (qemus.name, qemus.objects) == (ours.name, ours.objects)


@given(ANY_TEXT)
def test_a_value_may_look_like_an_option(text: str) -> None:
    for word in ("-append", "--append"):
        config = config_of("-kernel", "vmlinux", word, text, "-smp", "2")
        assert (config.command_line, config.cpus) == (text, 2)
    assert config_of("-kernel", "vmlinux", f"--append={text}").command_line == text


@given(st.lists(st.sampled_from(["-smp", "2", "-m", "-S", "-", "--", "-x", "-append", "a=b", ""])))
def test_any_words_are_understood_or_refused(words: list[str]) -> None:
    with suppress(OptionError, click.UsageError):
        config_of(*MICRO, *words)


@pytest.mark.parametrize("name", sorted(HARMLESS))
@pytest.mark.parametrize("dash", ["-", "--"])
def test_options_that_change_nothing_are_accepted(name: str, dash: str) -> None:
    allowed = HARMLESS[name]
    plain = config_of(*MICRO)
    assert config_of(dash + name, *(allowed or ())[:1], *MICRO) == plain
    if allowed is not None:
        with pytest.raises(click.UsageError, match=re.escape(OTHERWISE[name])):
            config_of(f"-{name}", "something", *MICRO)
    assert (name in OTHERWISE) == (allowed is not None)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_options_that_qemu_has_and_we_do_not_are_answered(name: str) -> None:
    assert name not in {word.lstrip("-") for option in run_options() for word in option.opts}
    with pytest.raises(click.UsageError) as caught:
        config_of(*MICRO, f"-{name}", "x")
    assert caught.value.message == f"-{name}: {ANSWERS[name]}"


@pytest.mark.skipif(shutil.which(QEMU) is None, reason="needs a QEMU to ask")
def test_no_option_of_qemu_is_unheard_of() -> None:
    page = subprocess.run([QEMU, "-help"], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^--?([A-Za-z0-9][\w-]*)", page, re.MULTILINE))
    assert len(names) > 100
    unheard_of = []
    for name in sorted(names):
        try:
            config_of(*MICRO, f"-{name}", "x")
        except (click.UsageError, click.exceptions.Exit) as error:
            unheard_of += [name] * str(error).startswith("no such option")
        except OptionError:
            continue
    assert not unheard_of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-memery", "1"), "no such option: -memery; did you mean '--memory'?"),
        (("--nodefault",), "did you mean '--nodefaults'?"),
        (("-xyz",), "no such option: -xyz"),
        (("-smp",), "'--smp' requires an argument"),
        (("a.toml", "b.toml"), "Got unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        config_of(*MICRO, *words)
    assert message in caught.value.format_message()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--kernel FILE is missing"),
        ((*MICRO, "-smp", "99"), "--smp 99: must be from 1 to 16"),
        ((*MICRO, "-accel", "kvm", "-M", "microvm,accel=kvm"), "say the same thing"),
        ((*MICRO, "-object", "iothread,id=a", "-object", "iothread,id=a"), "duplicate ID 'a'"),
        ((*MICRO, "--no-record", "--keep-recording"), "exclude each other"),
        ((*MICRO, "-append", "smp=2"), "raise --smp"),
        ((*MICRO, *("-drive", "driver=null") * 9), "at most 8 drives"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        config_of(*words)


def test_a_wrong_command_line_is_status_2_and_one_line() -> None:
    for words in (["-kernel", "micro", "-smp", "x"], ["-netdev", "user"], ["--nope"]):
        result = CliRunner().invoke(run, words)
        assert result.exit_code == 2
        assert len([line for line in result.output.splitlines() if "Error: " in line]) == 1


def test_the_help_has_sections_of_80_columns_with_every_option_once() -> None:
    lines = lines_of("--help")
    assert max(map(len, lines)) <= WIDTH
    found = [line.removesuffix(" options:") for line in lines if line.endswith(" options:")]
    assert found == [section for section in SECTIONS if section in found]
    assert {"Machine", "Boot", "Block", "Recording", "Other"} <= set(found)
    for option in run_options():
        heads = [line for line in lines if re.match(rf"  (-\w, )?{option.opts[0]}( |$)", line)]
        assert len([h for h in heads if not h.startswith("  bqlscope")]) == 1, option.opts
        assert option.section in SECTIONS
    for word in ("bqlscope run -M microvm", "Exit status:", "  2     for a wrong command line"):
        assert any(word in line for line in lines)


def test_the_help_page_is_the_one_that_was_looked_at() -> None:
    """After a change: .venv/bin/python -m vmm run --help > tests/unit/run_help.txt, and read it."""
    result = CliRunner().invoke(run, ["--help"], prog_name="vmm run")
    assert result.output == HELP_PAGE.read_text()


def test_one_dash_help_is_help() -> None:
    assert lines_of("-h") == lines_of("--help") == lines_of("-help")


@pytest.mark.parametrize("word", ["help", "?"])
def test_devices_and_objects_are_listed(word: str) -> None:
    assert 'name "virtio-blk-device", bus virtio-bus' in lines_of("-device", word)
    assert lines_of("-object", word) == ["List of user creatable objects:", "  iothread"]
    assert any(line.startswith("microvm ") for line in lines_of("-machine", word))


def test_properties_of_a_device_are_listed_with_type_and_default() -> None:
    lines = lines_of("-device", "virtio-blk-device,help")
    assert lines[0] == "virtio-blk-device options:"
    assert "  num-queues=<uint16>    - virtqueues (default: 1)" in lines
    assert any(line.startswith("  iothread=<link<iothread>>") for line in lines)
    assert not any("realized" in line or "type=" in line for line in lines)
    assert max(map(len, lines)) <= WIDTH
    assert "  poll-max-ns=<int>" in "\n".join(lines_of("-object", "iothread,help"))


def test_help_about_something_that_is_not_there_is_an_error() -> None:
    result = CliRunner().invoke(run, ["-device", "virtio-net-device,help"])
    assert (result.exit_code, "not a valid device model name" in result.output) == (2, True)


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(run, [str(tmp_path / "no.toml")])
    assert (result.exit_code, "No such file" in result.output) == (2, True)
