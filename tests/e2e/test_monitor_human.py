# SPDX-License-Identifier: GPL-2.0-or-later
"""The human monitor of a real machine, through QMP and on a socket of its own."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from profiler.qemu.qmp import Qmp
from profiler.qemu.sync_profile import BQL, parse_sync_profile
from tests.support.monitors import everything, monitored_vm
from tests.support.rig import somebody_listens, wait_until

pytestmark = pytest.mark.kvm


@pytest.fixture(scope="module")
def qmp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qmp]:
    with everything(tmp_path_factory.mktemp("human")) as vm, vm.qmp() as connection:
        yield connection


def test_our_own_parser_reads_the_lock_statistics(qmp: Qmp) -> None:
    qmp.execute("stop")  # from now on only the main loop takes the lock
    for _ in range(50):
        qmp.execute("query-status")
    assert qmp.hmp("sync-profile") == "sync-profile is on\n"
    table = parse_sync_profile(qmp.hmp("info sync-profile 1000"))
    assert {key.kind for key in table} == {BQL}
    assert any(key.site.startswith("vmm/native/main_loop.c:") for key in table)
    qmp.hmp("sync-profile reset")
    after = parse_sync_profile(qmp.hmp("info sync-profile 1000"))
    total = sum(waits.count for waits in table.values())
    assert 0 < sum(waits.count for waits in after.values()) < total
    qmp.hmp("sync-profile off")
    frozen = qmp.hmp("info sync-profile 1000")
    qmp.execute("query-status")
    assert qmp.hmp("info sync-profile 1000") == frozen
    qmp.hmp("sync-profile on")
    assert parse_sync_profile(qmp.hmp("info sync-profile 1000")).keys() >= after.keys()
    qmp.execute("cont")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", ""),
        ("nosuch", "unknown command: 'nosuch'\n"),
        ("info nosuch", "unknown command: 'info nosuch'\n"),
        ("stop x", 'stop|s: extraneous characters at the end of line\n'
                   'Try "help stop" for more information\n'),
        ("sync-profile bogus",
         "Error: invalid parameter 'bogus', expecting 'on', 'off', or 'reset'\n"),
        ("sync-profile on x", "sync-profile: extraneous characters at the end of line\n"
                              'Try "help sync-profile" for more information\n'),
        ("info sync-profile x", "invalid char 'x' in expression\n"
                                'Try "help info sync-profile" for more information\n'),
        ("info sync-profile -x", "sync-profile: unsupported option -x\n"
                                 'Try "help info sync-profile" for more information\n'),
        ("info sync-profile 99999999999999999999",
         'number too large\nTry "help info sync-profile" for more information\n'),
        ("sendkey", 'sendkey: string expected\nTry "help sendkey" for more information\n'),
        ("sendkey bogus", "invalid parameter: bogus\n"),
        ("sendkey ctrl-alt-delete", ""),
        ("screendump", 'screendump: filename expected\nTry "help screendump" for more'
                       " information\n"),
        ("help stop", "stop|s  -- stop emulation\n"),
        ("info kvm", "kvm support: enabled\n"),
        ("info name", "microguest\n"),
        ("info uuid", "00000000-0000-0000-0000-000000000000\n"),
    ],
)  # fmt: skip
def test_the_human_monitor_has_qemus_words(qmp: Qmp, line: str, text: str) -> None:
    assert qmp.hmp(line) == text


def test_tables_of_the_human_monitor_name_what_there_is(qmp: Qmp) -> None:
    assert "Attached to:      disk0" in qmp.hmp("info block")
    assert qmp.hmp("info blockstats").startswith("d0: rd_bytes=")
    assert qmp.hmp("info iothreads").startswith("io0:\n  thread_id=")
    assert qmp.hmp("info cpus").startswith("* CPU #0: thread_id=")
    assert "Auth: vnc (Sub: none)" in qmp.hmp("info vnc")
    assert 'dev: virtio-blk-device, id "disk0"' in qmp.hmp("info qtree")
    assert {"help|?", "stop|s", "info"} <= {each.split()[0] for each in qmp.hmp("help").split("\n")
                                            if each}  # fmt: skip


def test_a_human_monitor_on_a_socket_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "hmp"
    with monitored_vm(tmp_path, "--monitor", f"unix:{path}"):
        wait_until(lambda: somebody_listens(path), "the human monitor, made after QMP's")
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(b"info st")
        connection.sendall(b"atus\nnosuch\r\ninfo kvm\n")
        text = b""
        while text.count(b"(qemu) ") < 4:
            text += connection.recv(65536)
        connection.close()
    lines = text.decode().split("\r\n")
    assert lines[0].endswith("type 'help' for more information")
    assert lines[1:] == [
        "(qemu) VM status: running",
        "(qemu) unknown command: 'nosuch'",
        "(qemu) kvm support: enabled",
        "(qemu) ",
    ]
