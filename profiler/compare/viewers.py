# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a VMM with VNC viewers that watch its screen: `python -m profiler.compare.viewers`.

The machine is started paused, every viewer is connected, and only then is the guest told to run:
all trials are watched from their first instruction on. A viewer asks for continuous updates of the
whole screen and throws away what it gets as fast as it comes: decoding would take CPU time from the
machine that is measured, and what was sent is counted by the server.

Usage: viewers CLIENTS ENCODING VNC-SOCKET QMP-SOCKET COMMAND...  Ends with the command's status.
"""

import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from profiler.errors import UserError
from profiler.qemu.qmp import Qmp

START_SECONDS = 30.0
RETRY_SECONDS = 0.02
GREETING = b"RFB 003.008\n"
SECURITY_NONE = 1
CONTINUOUS_UPDATES = -313
_SERVER_INIT = struct.Struct(">HH16sI")


class ViewerError(Exception):
    """The server cannot be watched; the message is one line."""


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ViewerError("the VNC server closed the connection during the handshake")
        data += part
    return data


def _shake_hands(sock: socket.socket) -> tuple[int, int]:
    """RFB 3.8 without a password (RFC 6143, section 7); width and height of the screen."""
    if _receive(sock, 12)[:4] != GREETING[:4]:
        raise ViewerError("this is no VNC server")
    sock.sendall(GREETING)
    offered = _receive(sock, _receive(sock, 1)[0])
    if SECURITY_NONE not in offered:
        raise ViewerError("the VNC server wants a password")
    sock.sendall(bytes([SECURITY_NONE]))
    if _receive(sock, 4) != bytes(4):
        raise ViewerError("the VNC server refuses the viewer")
    sock.sendall(b"\x01")  # shared: the other viewers stay
    width, height, _, name_length = _SERVER_INIT.unpack(_receive(sock, _SERVER_INIT.size))
    _receive(sock, name_length)
    return width, height


def watch(path: Path, encoding: int) -> socket.socket:
    """A viewer that gets updates of the whole screen in `encoding` from now on.

    Raises ViewerError, OSError.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(START_SECONDS)
        sock.connect(str(path))
        width, height = _shake_hands(sock)
        sock.sendall(struct.pack(">BxHii", 2, 2, encoding, CONTINUOUS_UPDATES))
        sock.sendall(struct.pack(">BBHHHH", 150, 1, 0, 0, width, height))
        sock.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait_for(path: Path, vmm: "subprocess.Popen[bytes]") -> bool:
    """Until somebody listens on the socket; False if the VMM ended before."""
    deadline = time.monotonic() + START_SECONDS
    while vmm.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
                return True
            except (FileNotFoundError, ConnectionRefusedError):
                pass
        if time.monotonic() > deadline:
            raise ViewerError(f"nobody listens on {path} after {START_SECONDS:.0f} s")
        time.sleep(RETRY_SECONDS)
    return False


def drain(viewers: Sequence[socket.socket]) -> None:
    """Read and forget until every server side is closed."""
    buffer = bytearray(1 << 20)
    with selectors.DefaultSelector() as selector:
        for sock in viewers:
            selector.register(sock, selectors.EVENT_READ, sock)
        while selector.get_map():
            for key, _ in selector.select():
                viewer: socket.socket = key.data
                try:
                    alive = viewer.recv_into(buffer) > 0
                except BlockingIOError:
                    continue
                except OSError:
                    alive = False
                if not alive:
                    selector.unregister(viewer)
                    viewer.close()


def run(clients: int, encoding: int, vnc: Path, qmp: Path, command: Sequence[str]) -> int:
    """Run the command, watched, to its end; its status, negative for a signal.

    Raises ViewerError, OSError, and QmpError from the monitor.
    """
    vmm = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        if _wait_for(qmp, vmm):
            viewers = [watch(vnc, encoding) for _ in range(clients)]
            with Qmp(str(qmp)) as monitor:
                monitor.execute("cont")
            drain(viewers)
        return vmm.wait()
    finally:
        if vmm.poll() is None:
            vmm.terminate()
            vmm.wait()


def main(arguments: Sequence[str]) -> int:
    """The program."""
    clients, encoding, vnc, qmp, *command = arguments
    try:
        status = run(int(clients), int(encoding), Path(vnc), Path(qmp), command)
    except (ViewerError, OSError, UserError) as error:
        print(f"viewers: {error}", file=sys.stderr)
        return 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
