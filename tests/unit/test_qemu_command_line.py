# SPDX-License-Identifier: GPL-2.0-or-later
"""What is added to a QEMU command line and its environment."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.errors import UserError
from profiler.qemu.command import (
    daemonizes,
    environment,
    package_of,
    probe_words,
    program_index,
    vm_name,
    with_additions,
)

QEMU = "qemu-system-x86_64"
LIBRARY = Path("/opt/libbqlrecorder.so")
SOCKET = Path("/run/x/qmp.sock")
WORDS = st.lists(
    st.sampled_from(["-name", "vm", "-qmp", "a,debug-threads=off", "-append", "-daemonize", ""])
    | st.text(max_size=8)
)


def test_thread_names_and_a_monitor_come_behind_the_users_words() -> None:
    assert with_additions([QEMU, "-m", "64"], SOCKET) == [
        *[QEMU, "-m", "64", "-name", "debug-threads=on"],
        *["-qmp", "unix:/run/x/qmp.sock,server=on,wait=off"],
    ]
    assert with_additions([QEMU], None) == [QEMU, "-name", "debug-threads=on"]


@given(WORDS)
def test_the_users_words_are_never_changed(words: list[str]) -> None:
    assert with_additions([QEMU, *words], SOCKET)[: len(words) + 1] == [QEMU, *words]


@pytest.mark.parametrize(
    "value",
    [
        "vm,debug-threads=on",
        "debug-threads=off",
        "guest=vm,process=p,debug-threads=off",
        "a,,b,debug-threads=on",
    ],
)
def test_what_the_user_decided_about_thread_names_stays(value: str) -> None:
    words = [QEMU, "-name", "first", "--name", value, "-m", "64"]
    assert with_additions(words, None) == words


@pytest.mark.parametrize("value", ["vm", "guest=debug-threads", "a,,debug-threads=on", "-append"])
def test_a_name_that_says_nothing_about_threads_does_not_count(value: str) -> None:
    assert with_additions([QEMU, "-name", value], None)[-2:] == ["-name", "debug-threads=on"]


def test_commas_in_the_monitors_path_are_doubled() -> None:
    assert with_additions([QEMU], Path("/a,b/s"))[-1] == "unix:/a,,b/s,server=on,wait=off"


@pytest.mark.parametrize(
    ("words", "index"),
    [
        ([QEMU, "-m", "64"], 0),
        (["taskset", "-c", "3", "/usr/bin/qemu-system-aarch64", "-m", "64"], 3),
        (["env", "A=b", "qemu-kvm"], 2),
        (["./start-vm", "--fast", "qemu.img"], 0),
        (["chrt", "1", "/usr/bin/kvm", "-m", "1"], 2),
        (["kvm", "-m", "1"], 0),
        (["./start-vm", "-accel", "kvm"], 0),
    ],
)
def test_qemu_is_found_behind_a_prefix(words: list[str], index: int) -> None:
    assert program_index(words) == index
    assert probe_words(words) == [*words[: index + 1], "--version"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ([], ""),
        (["-name", "vm1"], "vm1"),
        (["-name", "guest=vm2,debug-threads=on"], "vm2"),
        (["-name", "debug-threads=on"], ""),
        (["-name", "a,,b,process=x"], "a,b"),
        (["--name", "one", "-name", "process=p", "-name", "two"], "two"),
        (["-name"], ""),
    ],
)
def test_the_guests_name_is_read_as_qemu_does(words: list[str], name: str) -> None:
    assert vm_name(words) == name


def test_the_library_is_preloaded_before_what_was_preloaded_already() -> None:
    assert environment({}, LIBRARY) == {"LD_PRELOAD": str(LIBRARY)}
    assert environment({"LD_PRELOAD": "/a.so:/b.so"}, LIBRARY)["LD_PRELOAD"] == (
        f"{LIBRARY}:/a.so:/b.so"
    )


def test_the_environment_carries_what_the_recorder_needs_and_nothing_stale() -> None:
    base = {"HOME": "/h", "BQLSCOPE_PROBE": "9", "BQLSCOPE_WINDOW": "1", "BQLSCOPE_VM_NAME": "old"}
    assert environment(base, LIBRARY, recording=Path("/r.bql"), name="vm", window=True) == {
        "HOME": "/h",
        "LD_PRELOAD": str(LIBRARY),
        "BQLSCOPE_RECORDING": "/r.bql",
        "BQLSCOPE_VM_NAME": "vm",
        "BQLSCOPE_WINDOW": "1",
    }
    assert environment(base, LIBRARY, probe=7) == {
        "HOME": "/h",
        "LD_PRELOAD": str(LIBRARY),
        "BQLSCOPE_PROBE": "7",
    }


@pytest.mark.parametrize("path", ["/a dir/l.so", "/a:b/l.so"])
def test_a_library_that_cannot_be_preloaded_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="cannot be preloaded"):
        environment({}, Path(path))


def test_a_daemon_is_recognised_by_the_whole_word() -> None:
    assert daemonizes([QEMU, "-daemonize"])
    assert daemonizes([QEMU, "--daemonize", "-m", "64"])
    assert not daemonizes([QEMU, "-append", "x -daemonize"])


@pytest.mark.parametrize(
    ("program", "package"),
    [
        (QEMU, "qemu-system-x86"),
        ("/usr/bin/qemu-system-i386", "qemu-system-x86"),
        ("kvm", "qemu-system-x86"),
        ("qemu-system-aarch64", "qemu-system-arm"),
        ("qemu-system-riscv64", "qemu-system"),
    ],
)
def test_the_package_to_install_is_known(program: str, package: str) -> None:
    assert package_of(program) == package
