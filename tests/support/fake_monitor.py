# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor without a QEMU: answers QMP on a Unix socket from a thread, as a script says.

    with FakeMonitor(tmp_path / "qmp", {"query-name": {"name": "vm"}}) as monitor:
        Qmp(str(monitor.path)).execute("query-name")

An answer is a value, a callable that gets the arguments, `Refusal`, `SILENCE`, or `HANG_UP`. With
an answer for `qmp_capabilities` the monitor goes away right after the negotiation.
"""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GREETING = {
    "QMP": {
        "version": {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": "test"},
        "capabilities": [],
    }
}


@dataclass(frozen=True)
class Refusal:
    """An error answer."""

    desc: str


HANG_UP = object()
SILENCE = object()


class FakeMonitor:
    """Serves one client after another until the end of the `with` block."""

    def __init__(
        self, path: Path, answers: Mapping[str, Any], greeting: bytes | None = None
    ) -> None:
        self.path = path
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers
        self._greeting = json.dumps(GREETING).encode() if greeting is None else greeting
        self._listener = socket.socket(socket.AF_UNIX)
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="monitor")

    def __enter__(self) -> "FakeMonitor":
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for client in self._clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    @property
    def commands(self) -> list[str]:
        """Command lines of the human monitor, and names of other commands, in order."""
        return [str(arguments.get("command-line", name)) for name, arguments in self.seen]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            with client, suppress(OSError):
                client.sendall(self._greeting + b"\r\n")
                for request in _requests(client):
                    if not self._answer(client, request):
                        break

    def _answer(self, client: socket.socket, request: dict[str, Any]) -> bool:
        name, arguments = request["execute"], request.get("arguments", {})
        answer: Any = self._answers.get(name, Refusal(f"The command {name} has not been found"))
        if name == "qmp_capabilities":
            answer = {}
        else:
            self.seen.append((name, arguments))
        if callable(answer):
            answer = answer(arguments)
        if answer is HANG_UP:
            return False
        if answer is SILENCE:
            return True
        reply: dict[str, Any] = {"return": answer}
        if isinstance(answer, Refusal):
            reply = {"error": {"class": "GenericError", "desc": answer.desc}}
        client.sendall(json.dumps({**reply, "id": request.get("id")}).encode() + b"\r\n")
        return not (name == "qmp_capabilities" and name in self._answers)


def _requests(client: socket.socket) -> Iterator[dict[str, Any]]:
    """Requests as they come: one JSON value after another, without line ends."""
    text = ""
    while data := client.recv(65536):
        text += data.decode()
        while text:
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break
            text = text[end:].lstrip()
            yield request
