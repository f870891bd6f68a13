# SPDX-License-Identifier: GPL-2.0-or-later
"""``--qmp`` and ``--monitor``: where a monitor listens, as QEMU writes it."""

import ipaddress
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vmm.errors import VmmError

BACKLOG = 8
FORM = "unix:PATH or tcp:HOST:PORT, then ,server=on,wait=off"


@dataclass(frozen=True)
class MonitorOptions:
    """One monitor: a Unix socket's ``path``, or a TCP ``host`` (numeric or a name) and ``port``."""

    option: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    insecure: bool = False


def parse_monitor(option: str, text: str) -> MonitorOptions:
    """One ``--qmp`` or ``--monitor`` (``option``); a comma in a path is doubled.

    Raises:
        VmmError: not of the form FORM.
    """
    address, *words = (part.replace("\0", ",") for part in text.replace(",,", "\0").split(","))
    insecure = False
    for word in words:
        if word == "insecure=on":
            insecure = True
        elif word in ("server=off", "wait=on"):
            raise VmmError(f"{option} {text}: only server=on,wait=off works: we listen, at once")
        elif word not in ("server", "server=on", "nowait", "wait=off", "insecure=off"):
            raise VmmError(f"{option} {text}: unknown '{word}' (expected {FORM})")
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        return MonitorOptions(option, path=Path(rest))
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise VmmError(f"{option} {text}: expected {FORM}")
    return MonitorOptions(option, host=host.strip("[]") or "127.0.0.1", port=int(port),
                          insecure=insecure)  # fmt: skip


def listen(options: MonitorOptions) -> socket.socket:
    """A listening socket. A Unix one is for its owner only, before anybody can connect.

    Raises:
        VmmError: it cannot be made, or would be open to the network without ``insecure=on``.
    """
    try:
        return _listen_unix(options.path) if options.path is not None else _listen_tcp(options)
    except (OSError, ValueError) as error:
        where = options.path if options.path is not None else f"{options.host}:{options.port}"
        reason = getattr(error, "strerror", None) or str(error)
        raise VmmError(f"{options.option} {where}: {reason}") from None


def _listen_unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # nobody can connect before listen()
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Take away a socket that nobody listens on any more, as QEMU does."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(0, "exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # its queue is full: somebody listens
            pass
    raise FileExistsError(0, "in use by another process")


def remove_socket(path: Path, inode: int) -> None:
    """Take the socket away that we made, unless somebody put another one there."""
    with suppress(OSError):
        if path.lstat().st_ino == inode:
            path.unlink()


def _listen_tcp(options: MonitorOptions) -> socket.socket:
    found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    if not options.insecure and not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(
            "who can connect controls the machine: use 127.0.0.1, a Unix socket, or add insecure=on"
        )
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
