# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of the human monitor: lines in, text and a prompt out. No readline: `rlwrap` or
`bqlscope monitor -H` brings one.
"""

from typing import Any

from vmm.monitor.connection import Connection
from vmm.monitor.hmp.console import run_line
from vmm.monitor.registry import Call, Registry
from vmm.monitor.session import QEMU_VERSION, Session
from vmm.monitor.state import MonitorState

PROMPT = b"(qemu) "
MAX_LINE = 1 << 16  # bytes


class LineSession:
    """Lines of a byte stream that may be cut anywhere; one at a time."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._busy = False
        self._overlong = False

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._bytes += data

    @property
    def wants_bytes(self) -> bool:
        """Whether to read on."""
        return not self._busy and b"\n" not in self._bytes

    def next(self) -> str | None:
        """The next line; None while one is carried out, or none is whole. A line that is longer
        than MAX_LINE is dropped.
        """
        if self._busy:
            return None
        line, newline, rest = self._bytes.partition(b"\n")
        if not newline:
            if len(self._bytes) > MAX_LINE:
                self._bytes.clear()
                self._overlong = True
            return None
        self._bytes = rest
        self._busy = True
        whole = not self._overlong and len(line) <= MAX_LINE
        self._overlong = False
        return line.decode("utf-8", "replace").rstrip("\r") if whole else ""

    def done(self) -> None:
        """The line was carried out."""
        self._busy = False


class HmpConnection(Connection):
    """A client that types lines."""

    def __init__(self, registry: Registry, state: MonitorState, *args: Any) -> None:
        super().__init__(*args)
        self._lines = LineSession()
        self._call = Call(state.machine, registry, Session(state.package), state)

    def greeting(self) -> bytes:
        """QEMU's words, with its version and ours."""
        version = ".".join(map(str, QEMU_VERSION))
        who = f"QEMU {version} monitor ({self._call.state.package})"
        return f"{who} - type 'help' for more information\r\n".encode() + PROMPT

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._lines.feed(data)

    def take(self) -> bool:
        """Hand a line to the main loop."""
        line = self._lines.next()
        if line is None:
            return False
        self.submit(lambda: self._run(line))
        return True

    async def _run(self, line: str) -> bytes:
        text = await run_line(self._call, line)
        return text.replace("\n", "\r\n").encode("utf-8", "replace") + PROMPT

    def finished(self) -> None:
        """Ready for the next line."""
        self._lines.done()

    @property
    def wants_bytes(self) -> bool:
        """Whether no line is waiting."""
        return self._lines.wants_bytes
