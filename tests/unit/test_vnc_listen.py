# SPDX-License-Identifier: GPL-2.0-or-later
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmm.display.vnc.listen import listen
from vmm.display.vnc.options import TcpAddress, UnixAddress
from vmm.errors import VmmError


@pytest.fixture
def taken() -> Iterator[int]:
    """A port in use whose neighbour was free a moment ago."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]
        try:
            second.bind(("127.0.0.1", port + 1))
        except OSError:
            pytest.skip("the neighbour of the kernel's port is in use")
        second.close()
        yield port


def test_the_first_free_port_of_a_range_is_taken(taken: int) -> None:
    listener = listen(TcpAddress("127.0.0.1", taken, taken + 3))
    try:
        assert listener.offset >= 1
        (each,) = listener.sockets
        assert each.getsockname()[1] == taken + listener.offset
        assert not each.getblocking()
    finally:
        listener.close()


def test_a_port_in_use_is_an_error_with_the_way_out(taken: int) -> None:
    with pytest.raises(VmmError, match=rf"127.0.0.1:{taken}: the port is in use .to=N"):
        listen(TcpAddress("127.0.0.1", taken, taken))
    with pytest.raises(VmmError, match="in use"):
        listen(TcpAddress("127.0.0.1", taken, taken + 5), offset=0)


def test_a_name_nobody_knows_is_an_error() -> None:
    with pytest.raises(VmmError, match=r"cannot listen on no-such-host\.invalid:5900: "):
        listen(TcpAddress("no-such-host.invalid", 5900, 5900))


def test_a_unix_socket_is_its_owners_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    mask = os.umask(0)
    try:
        listener = listen(UnixAddress(path))
        assert os.umask(0) == 0  # the process's own mask is back
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(VmmError, match="another process listens there"):
        listen(UnixAddress(path))
    listener.close()
    assert not path.exists()
    listener.close()


def test_somebody_elses_socket_at_the_path_stays(tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    listener = listen(UnixAddress(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
        listener.close()
        assert path.exists()


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    path.write_text("precious")
    with pytest.raises(VmmError, match="the file exists and is no socket"):
        listen(UnixAddress(path))
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VmmError, match="is no socket"):
        listen(UnixAddress(path))


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "vnc"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    listen(UnixAddress(path)).close()


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VmmError, match="path too long"):
        listen(UnixAddress(tmp_path / ("x" * 120)))
