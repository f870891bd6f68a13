# SPDX-License-Identifier: GPL-2.0-or-later
"""Listening sockets of a display: TCP with a range of ports, or a file for its owner alone."""

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

from vmm.display.vnc.options import Address, TcpAddress, UnixAddress
from vmm.errors import VmmError

_BACKLOG = 16


@dataclass
class Listener:
    """Sockets of one address. ``offset``: how far from the first port of its range."""

    sockets: list[socket.socket]
    offset: int = 0
    path: Path | None = None
    _inode: int = field(default=0)

    def close(self) -> None:
        """Stop listening; a socket file is removed unless somebody put another in its place."""
        for each in self.sockets:
            each.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                if self.path.lstat().st_ino == self._inode:
                    self.path.unlink()
            self.path = None


def listen(address: Address, offset: int | None = None) -> Listener:
    """Open an address. offset: only this port of its range.

    Raises:
        VmmError: it cannot be had; one line with the reason.
    """
    try:
        if isinstance(address, UnixAddress):
            return _listen_unix(address.path)
        return _listen_tcp(address, offset)
    except OSError as error:
        raise VmmError(f"VNC: cannot listen on {address}: {error.strerror or error}") from None


def _listen_tcp(address: TcpAddress, offset: int | None) -> Listener:
    ports = range(address.port, address.last + 1)
    if offset is not None:
        ports = ports[offset : offset + 1]
    for port in ports:
        try:
            return Listener(_bind_all(address.host, port), port - address.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    if len(ports) > 1:
        raise OSError(errno.EADDRINUSE, f"ports {ports[0]} to {ports[-1]} are in use")
    raise OSError(errno.EADDRINUSE, "the port is in use (to=N tries the displays up to N)")


def _bind_all(host: str, port: int) -> list[socket.socket]:
    """One socket for each address of the host, all on one port, or none."""
    flags = socket.AI_PASSIVE
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            each = socket.socket(
                family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol
            )
            sockets.append(each)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.bind(where)
            each.listen(_BACKLOG)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _listen_unix(path: Path) -> Listener:
    _remove_stale(path)
    each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    old = os.umask(0o177)  # the file has its mode from the moment it exists
    try:
        each.bind(os.fspath(path))
        each.listen(_BACKLOG)
    except BaseException:
        each.close()
        raise
    finally:
        os.umask(old)
    return Listener([each], path=path, _inode=path.lstat().st_ino)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises OSError: it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the file exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # somebody listens, with a full queue
            pass
    raise OSError(errno.EADDRINUSE, "another process listens there")
