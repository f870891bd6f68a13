# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a monitor listens: what is understood, what is refused, what is left behind."""

import socket
import stat
from pathlib import Path

import pytest

from vmm.errors import VmmError
from vmm.monitor.options import MonitorOptions, listen, parse_monitor, remove_socket


@pytest.mark.parametrize(
    ("text", "path", "host", "port"),
    [
        ("unix:/run/q", "/run/q", "", 0),
        ("unix:q,server=on,wait=off", "q", "", 0),
        ("unix:q,server,nowait", "q", "", 0),
        ("unix:a,,b,server=on", "a,b", "", 0),
        ("tcp:127.0.0.1:4444,server=on,wait=off", None, "127.0.0.1", 4444),
        ("tcp:[::1]:0", None, "::1", 0),
        ("tcp::4444", None, "127.0.0.1", 4444),
    ],
)
def test_qemus_forms_are_understood(text: str, path: str | None, host: str, port: int) -> None:
    found = parse_monitor("--qmp", text)
    assert found == MonitorOptions("--qmp", Path(path) if path else None, host, port)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected unix:PATH"),
        ("unix:", "expected unix:PATH"),
        ("tcp:host", "expected unix:PATH"),
        ("tcp:127.0.0.1:70000", "expected unix:PATH"),
        ("stdio", "expected unix:PATH"),
        ("unix:q,server=off", "only server=on,wait=off works"),
        ("unix:q,wait=on", "only server=on,wait=off works"),
        ("unix:q,colour=blue", "unknown 'colour=blue'"),
    ],
)
def test_what_does_not_work_is_refused_with_the_option(text: str, problem: str) -> None:
    with pytest.raises(VmmError, match=problem) as caught:
        parse_monitor("--qmp", text)
    assert str(caught.value).startswith(f"--qmp {text}: ")


def test_a_unix_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    options = MonitorOptions("--qmp", tmp_path / "q")
    with listen(options):
        assert stat.S_IMODE((tmp_path / "q").stat().st_mode) == 0o600
        with pytest.raises(VmmError, match=r"--qmp .*/q: in use by another process"):
            listen(options)
    with listen(options):  # nobody listens on the old one any more
        assert (tmp_path / "q").is_socket()


def test_a_file_is_not_taken_for_an_old_socket(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    with pytest.raises(VmmError, match="exists and is not a socket"):
        listen(MonitorOptions("--qmp", tmp_path / "precious"))
    assert (tmp_path / "precious").read_text() == "data"


def test_a_folder_that_is_not_there_and_a_name_that_is_too_long_are_explained(
    tmp_path: Path,
) -> None:
    with pytest.raises(VmmError, match="No such file or directory"):
        listen(MonitorOptions("--qmp", tmp_path / "no" / "q"))
    with pytest.raises(VmmError, match="path too long"):
        listen(MonitorOptions("--qmp", tmp_path / ("q" * 200)))


def test_only_the_socket_that_was_made_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "q"
    with listen(MonitorOptions("--qmp", path)):
        inode = path.stat().st_ino
        path.rename(tmp_path / "elsewhere")
        path.write_text("somebody else's")
        remove_socket(path, inode)
        assert path.exists()
        remove_socket(tmp_path / "elsewhere", inode)
        assert not (tmp_path / "elsewhere").exists()
        remove_socket(tmp_path / "elsewhere", inode)


def test_the_network_gets_in_only_if_that_is_said() -> None:
    with pytest.raises(VmmError, match="add insecure=on"):
        listen(parse_monitor("--qmp", "tcp:0.0.0.0:0"))
    with listen(parse_monitor("--qmp", "tcp:0.0.0.0:0,insecure=on")) as open_to_all:
        assert open_to_all.getsockname()[0] == "0.0.0.0"
    with listen(parse_monitor("--qmp", "tcp:127.0.0.1:0")) as local:
        assert local.family == socket.AF_INET
    with pytest.raises(VmmError, match=r"--qmp nosuch\.invalid:1: "):
        listen(parse_monitor("--qmp", "tcp:nosuch.invalid:1"))
