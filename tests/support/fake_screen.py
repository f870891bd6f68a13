# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for a VMM with a screen and a monitor, for the viewers of `compare`.

Usage: fake_screen.py BEHAVIOUR VNC-SOCKET QMP-SOCKET NOTES.  Serves as many viewers as come until
the monitor is told `cont`, sends each of them 1 MiB, writes to NOTES what they asked for, and ends
with status 7.  BEHAVIOUR is `ok`, `password` (no viewer gets in) or `dead` (ends at once).
"""

import json
import select
import socket
import struct
import sys
from pathlib import Path

FLOOD = 1 << 20


def listen(path: str) -> socket.socket:
    """A listening Unix socket."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(16)
    return server


def receive(sock: socket.socket, count: int) -> bytes:
    """So many bytes; fewer at the end of the stream."""
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
    return data


def serve_viewer(sock: socket.socket, password: bool) -> dict[str, object]:
    """Shake hands with a viewer and say what it asked for."""
    sock.sendall(b"RFB 003.008\n")
    assert receive(sock, 12) == b"RFB 003.008\n"
    sock.sendall(b"\x01\x02" if password else b"\x01\x01")
    if password:
        receive(sock, 1)
        return {}
    assert receive(sock, 1) == b"\x01"
    sock.sendall(bytes(4))
    shared = receive(sock, 1)
    name = b"fake"
    sock.sendall(struct.pack(">HH16sI", 640, 480, bytes(16), len(name)) + name)
    kind, count = struct.unpack(">BxH", receive(sock, 4))
    encodings = struct.unpack(f">{count}i", receive(sock, 4 * count))
    updates = struct.unpack(">BBHHHH", receive(sock, 10))
    request = struct.unpack(">BBHHHH", receive(sock, 10))
    assert kind == 2
    return {
        "shared": shared[0],
        "encodings": encodings,
        "updates": updates,
        "request": request,
    }


def serve_monitor(sock: socket.socket) -> None:
    """Speak QMP until `cont`."""
    version = {"qemu": {"major": 10, "minor": 0, "micro": 0}, "package": ""}
    greeting = {"QMP": {"version": version, "capabilities": []}}
    sock.sendall(json.dumps(greeting).encode() + b"\r\n")
    text = ""
    while data := sock.recv(4096):
        text = (text + data.decode()).lstrip()
        try:
            command, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            continue  # not all of it yet
        text = text[end:]
        sock.sendall(json.dumps({"return": {}, "id": command.get("id")}).encode() + b"\r\n")
        if command["execute"] == "cont":
            return


def main() -> int:
    """Behave as told."""
    behaviour, vnc, qmp, notes = sys.argv[1:5]
    if behaviour == "dead":
        return 3
    screen, monitor = listen(vnc), listen(qmp)
    monitor.accept()[0].close()  # the first one only looks whether we are there
    seen, viewers = [], []
    while screen in select.select([screen, monitor], [], [], 30)[0]:
        viewer, _ = screen.accept()
        viewers.append(viewer)
        seen.append(serve_viewer(viewer, behaviour == "password"))
        if behaviour == "password":
            break
    if behaviour == "ok":
        serve_monitor(monitor.accept()[0])
        for viewer in viewers:
            viewer.sendall(bytes(FLOOD))
    Path(notes).write_text(json.dumps(seen))
    return 7


if __name__ == "__main__":
    sys.exit(main())
