# SPDX-License-Identifier: GPL-2.0-or-later
"""A small synchronous client of QEMU's monitor (QMP), on top of the `qemu.qmp` library.

Rules
 1. One connection, one command at a time, each with a time limit: a QEMU whose main loop is stuck
    costs its caller `command_timeout` seconds and no more.
 2. Every failure is a `QmpError`, one line with the way out. A QEMU that ended is `QmpClosedError`.
 3. The event loop is private and runs inside calls only: no thread, nothing left after `close`,
    and nothing printed.

The socket is connected here and handed to the library, so that a full queue of connections ends in
an error instead of a wait, and so that the kernel can be asked who is at the other end.
"""

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from qemu.qmp import ConnectError, ExecuteError, QMPClient, Runstate

from profiler.errors import UserError

_T = TypeVar("_T")

CONNECT_TIMEOUT = 5.0
COMMAND_TIMEOUT = 10.0
LARGEST_ANSWER = 16 << 20  # bytes; the memory map of a machine with 1000 devices has about 1 MiB


class QmpError(UserError):
    """The monitor cannot be used, or refuses a command."""


class QmpClosedError(QmpError):
    """QEMU ended, or closed the monitor."""


class QmpTimeoutError(QmpError):
    """QEMU did not answer in time. The connection stays usable; a late answer is dropped."""


class Qmp:
    """A connection to a monitor. A context manager."""

    def __init__(
        self,
        address: str,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        command_timeout: float = COMMAND_TIMEOUT,
    ) -> None:
        """Connect and negotiate. `address`: the path of a Unix socket, or `HOST:PORT` on loopback.

        Times are seconds. Raises QmpError.
        """
        self.address = address
        self._command_timeout = command_timeout
        sock = open_monitor(address, connect_timeout)
        self._peer_pid = _peer_pid(sock)
        sock.setblocking(False)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._client = QMPClient(readbuflen=LARGEST_ANSWER)
        try:
            self._run(self._client.connect(sock), connect_timeout)
        except Exception as error:  # the library also asserts that its peer does not go meanwhile
            self._give_up(sock)
            raise no_greeting(address, error, connect_timeout) from error
        except BaseException:
            self._give_up(sock)
            raise

    def __enter__(self) -> "Qmp":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. May be called again; never raises."""
        if self._loop.is_closed():
            return
        with suppress(Exception):
            # Also collects the errors of the library's own tasks when QEMU is gone already.
            self._run(self._client.disconnect(), self._command_timeout)
        with suppress(Exception):
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:  # gather() of nothing makes an event loop that nobody closes
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    @property
    def peer_pid(self) -> int | None:
        """The process that listens on the Unix socket; None over TCP.

        It is whoever made the socket: a manager such as libvirt makes it before it starts QEMU.
        """
        return self._peer_pid

    @property
    def version(self) -> str:
        """QEMU's version by its greeting, `10.0.2`; empty if the greeting has none."""
        greeting = self._client.greeting
        try:
            numbers: Any = greeting.QMP.version["qemu"] if greeting else {}
            return ".".join(str(int(numbers[part])) for part in ("major", "minor", "micro"))
        except (KeyError, TypeError, ValueError):
            return ""

    def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """Run a command and return its answer. Raises QmpError."""
        if self._loop.is_closed():
            raise QmpClosedError(f"the monitor {self.address} is closed")
        try:
            return self._run(self._client.execute(command, arguments), self._command_timeout)
        except ExecuteError as error:
            raise QmpError(
                f"QEMU refuses the command {command}: {error.error.error.desc}"
            ) from error
        except TimeoutError as error:
            raise QmpTimeoutError(
                f"QEMU did not answer {command} in {self._command_timeout:g} s: its main loop is"
                " stuck, or the process is stopped; try again later"
            ) from error
        except Exception as error:
            if self._client.runstate is Runstate.RUNNING:
                raise QmpError(f"QEMU's answer to {command} makes no sense: {error}") from error
            raise QmpClosedError(f"QEMU ended or closed the monitor {self.address}") from error

    def hmp(self, command_line: str) -> str:
        """Run a command of the human monitor; its text, with lines that end in a newline only.

        Raises QmpError.
        """
        answer = self.execute("human-monitor-command", {"command-line": command_line})
        if not isinstance(answer, str):
            raise QmpError(f"QEMU answered '{command_line}' with something that is not text")
        return answer.replace("\r\n", "\n")

    def thread_ids(self) -> frozenset[int]:
        """The ids of the virtual CPUs' threads, as QEMU sees them. Raises QmpError."""
        answer = self.execute("query-cpus-fast")
        try:
            return frozenset(int(cpu["thread-id"]) for cpu in answer)
        except (TypeError, KeyError, ValueError) as error:
            raise QmpError("QEMU's answer to query-cpus-fast makes no sense") from error

    def _give_up(self, sock: socket.socket) -> None:
        sock.close()
        self.close()

    def _run(self, what: Coroutine[Any, Any, _T], timeout: float) -> _T:
        return self._loop.run_until_complete(asyncio.wait_for(what, timeout))


def open_monitor(address: str, timeout: float) -> socket.socket:
    """A connection to the path of a Unix socket, or HOST:PORT on this machine. Raises QmpError."""
    host, _, port = address.rpartition(":")
    if host and port.isascii() and port.isdigit() and not Path(address).exists():
        return _connect_tcp(host.strip("[]"), int(port), timeout)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except (OSError, ValueError) as error:
        sock.close()
        raise _not_connected(address, error) from error
    return sock


def _connect_tcp(host: str, port: int, timeout: float) -> socket.socket:
    """A connection to this machine only: what the monitor says and does is not for the network."""
    where = f"{host}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        local = [each for each in addresses if ipaddress.ip_address(each).is_loopback]
    except (OSError, OverflowError, ValueError) as error:
        raise _not_connected(where, error) from error
    if not local:
        raise QmpError(f"{where} is not on this machine: give a Unix socket, or 127.0.0.1:PORT")
    try:
        return socket.create_connection((local[0], port), timeout)
    except OSError as error:
        raise _not_connected(where, error) from error


def _not_connected(address: str, error: Exception) -> QmpError:
    hints: dict[type[Exception], str] = {
        FileNotFoundError: "there is no such socket; QEMU makes one when it is started with"
        f" -qmp unix:{address},server=on,wait=off",
        ConnectionRefusedError: "nothing listens there; has that QEMU ended?",
        PermissionError: "no permission; become the user that QEMU runs as, or root",
        BlockingIOError: "it is in use by another client; give QEMU a second -qmp option",
        TimeoutError: "nobody answers; is that QEMU stopped?",
    }
    hint = hints.get(type(error)) or getattr(error, "strerror", None) or str(error)
    return QmpError(f"cannot connect to the monitor {address}: {hint}")


def no_greeting(address: str, error: Exception, timeout: float) -> QmpError:
    """What to tell when a monitor was reached and the session did not come about."""
    if isinstance(error, TimeoutError):
        return QmpError(
            f"the monitor {address} says nothing for {timeout:g} s: another client uses it (give"
            " QEMU a second -qmp option), its main loop is stuck, or it is not a QMP monitor"
        )
    cause = error.exc if isinstance(error, ConnectError) else error
    if isinstance(cause, EOFError | OSError | AssertionError):
        return QmpClosedError(f"QEMU closed the monitor {address} at once; has it ended?")
    return QmpError(f"{address} does not speak QMP: is it QEMU's -qmp socket, not its -monitor?")


def _peer_pid(sock: socket.socket) -> int | None:
    if sock.family != socket.AF_UNIX:
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", raw)[0]
    return pid or None  # 0: a process of another namespace
