# SPDX-License-Identifier: GPL-2.0-or-later
"""The conversation of `bqlscope monitor`: lines from a person or a file, answers and events out.

Rules
 1. An event is shown when it comes, also in the middle of a line that is being typed.
 2. Ctrl-C gives up the line, or the wait for an answer; the end of input ends the conversation.
 3. Passwords do not go into the history.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from profiler.errors import UserError
from profiler.monitor.client import MonitorClient
from profiler.monitor.completion import HmpCompleter, QmpCompleter
from profiler.monitor.syntax import QmpCommand, parse_line
from profiler.qemu.qmp import QmpClosedError, QmpTimeoutError

HISTORY_LINES = 1000
COMPLETION_SECONDS = 2.0  # for the words that Tab completes; who comes to a stuck machine goes on
ENDING_SECONDS = 2.0  # a machine that is to end hangs up within that, or not at all
_ENDING = ("quit", "q")
_SECRET = ("password",)
_STUCK = """\
The main loop does not answer, so Tab completes nothing. A machine of bqlscope
tells who holds its lock even so: {"exec-oob": "x-query-bql"}
"""


class Completer(Protocol):
    """What completes a line."""

    def complete(self, line: str, word: str) -> list[str]:
        """Candidates for `word`, the last one of `line`."""


class Output:
    """Writes answers and events; `compact`: one line of JSON each."""

    def __init__(self, stream: TextIO, compact: bool) -> None:
        self._stream = stream
        self._compact = compact
        self.prompt: Callable[[], str] | None = None
        """The line being typed, with its prompt, while one is."""

    def json(self, value: Any) -> None:
        """An answer."""
        self.text(json.dumps(value, indent=None if self._compact else 2) + "\n")

    def text(self, text: str) -> None:
        """Text, as it is."""
        self._stream.write(text)
        self._stream.flush()

    def closed(self) -> None:
        """[any thread] The other side hung up."""
        if self.prompt is not None:
            self.text("\r\x1b[K(the monitor was closed: Enter ends)\n")

    def event(self, event: dict[str, Any]) -> None:
        """[any thread] An event."""
        if self._compact:
            line = json.dumps(event)
        else:
            data = f" {json.dumps(event['data'])}" if event.get("data") else ""
            line = f"{_clock(event)} {event.get('event')}{data}"
        if self.prompt is None:
            self.text(f"{line}\n")
        else:
            self.text(f"\r\x1b[K{line}\n{self.prompt()}")


def _clock(event: dict[str, Any]) -> str:
    stamp = event.get("timestamp")
    stamp = stamp if isinstance(stamp, dict) else {}
    seconds, micros = stamp.get("seconds", 0), stamp.get("microseconds", 0)
    return f"[{seconds}.{micros:06d}]"


class Shell:
    """One conversation. `human`: lines are for the human monitor."""

    def __init__(
        self, client: MonitorClient, output: Output, *, human: bool, timeout: float | None
    ) -> None:
        self._client, self._output = client, output
        self._human, self._timeout = human, timeout

    def run_line(self, line: str) -> bool:
        """Carry out a line; False if the monitor refused it. Raises UserError."""
        if self._human:
            command = QmpCommand("human-monitor-command", {"command-line": line})
        else:
            command = parse_line(line)
        reply = self._client.execute(command, self._timeout)
        if "error" in reply:
            self._output.json(reply)
            return False
        if self._human:
            self._output.text(str(reply["return"]).replace("\r\n", "\n"))
        else:
            self._output.json(reply)
        return True

    def run_lines(self, lines: Iterator[str]) -> bool:
        """Carry out lines of a file, comments (#) and empty ones left out; whether all worked."""
        worked = True
        for line in lines:
            if line.strip() and not line.lstrip().startswith("#"):
                worked = self.run_line(line.strip()) and worked
        return worked

    def converse(self, history: Path | None) -> None:
        """Read lines from the terminal until it ends. Raises QmpClosedError."""
        version = self._client.greeting.get("package") or "a monitor"
        self._output.text(f"Connected to {version}. Ctrl-D ends, Tab completes.\n")
        prompt = "(hmp) " if self._human else "(qmp) "
        with _readline(self._completer(), history) as typed:
            while not self._client.closed.is_set():
                self._output.prompt = lambda: prompt + typed()
                try:
                    line = input(prompt)
                except EOFError:
                    self._output.text("\n")
                    return
                except KeyboardInterrupt:
                    self._output.text("\n")
                    continue
                finally:
                    self._output.prompt = None
                if line.strip():
                    _remember(line)
                    self._answer(line.strip())

    def _answer(self, line: str) -> None:
        try:
            if self.run_line(line) and line in _ENDING:
                self._client.closed.wait(ENDING_SECONDS)
        except QmpClosedError:
            raise
        except UserError as error:
            self._output.text(f"{error.message}\n")
        except KeyboardInterrupt:
            self._output.text("\n(not waiting for the answer)\n")

    def _completer(self) -> Completer:
        try:
            if self._human:
                return HmpCompleter(self._help("help"), self._help("help info"))
            command = QmpCommand("query-qmp-schema")
            reply = self._client.execute(command, COMPLETION_SECONDS)
        except QmpTimeoutError:
            self._output.text(_STUCK)
            return HmpCompleter("", "") if self._human else QmpCompleter([])
        return QmpCompleter(reply.get("return") or [])

    def _help(self, line: str) -> str:
        command = QmpCommand("human-monitor-command", {"command-line": line})
        return str(self._client.execute(command, COMPLETION_SECONDS).get("return", ""))


@contextmanager
def _readline(completer: Completer, history: Path | None) -> Iterator[Callable[[], str]]:
    """Line editing with completion and history; gives what is typed so far."""
    import readline  # noqa: PLC0415 (takes the terminal over)

    def candidate(word: str, number: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = completer.complete(line, word)
        return found[number] if number < len(found) else None

    readline.set_completer(candidate)
    readline.set_completer_delims(" \t")
    readline.parse_and_bind("tab: complete")
    readline.set_auto_history(False)
    readline.clear_history()
    if history is not None:
        with suppress(OSError):
            readline.read_history_file(history)
    try:
        yield readline.get_line_buffer
    finally:
        if history is not None:
            _save_history(history)


def _save_history(path: Path) -> None:
    import readline  # noqa: PLC0415

    readline.set_history_length(HISTORY_LINES)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        readline.write_history_file(path)


def _remember(line: str) -> None:
    """Put a line into the history, unless it has a secret in it."""
    import readline  # noqa: PLC0415

    if not any(word in line for word in _SECRET):
        readline.add_history(line)


def is_terminal() -> bool:
    """Whether a person types."""
    return sys.stdin.isatty() and sys.stdout.isatty()
