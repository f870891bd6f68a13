# SPDX-License-Identifier: GPL-2.0-or-later
"""A terminal of a given size to run a program in, and to look at: tmux with a server of its own."""

import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import pytest

from tests.support.rig import wait_until

PROMPT = "ready> "


class Tmux:
    """A shell in a terminal; a context manager. Skips the test where tmux is missing."""

    def __init__(
        self, width: int = 80, height: int = 24, environ: Mapping[str, str] | None = None
    ) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed (apt install tmux)")
        self._socket = f"bqlscope-test-{uuid.uuid4().hex}"
        self._size = (str(width), str(height))
        self._environ = {**os.environ, "LC_ALL": "C.UTF-8", **(environ or {})}
        self._environ.pop("TMUX", None)

    def __enter__(self) -> Self:
        width, height = self._size
        shell = "bash --norc --noprofile"
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", width, "-y", height, shell)
        self.say(f"PS1={shlex.quote(PROMPT)}; clear")
        self.wait_until(lambda lines: lines[0].strip() == PROMPT.strip(), "the shell")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-L", self._socket, *words],
            env=self._environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    def type(self, *keys: str) -> None:
        """Press keys by tmux's names: `q`, `Space`, `C-z`, `Down`."""
        self._tmux("send-keys", *keys)

    def run(self, *words: str) -> None:
        """Type a command line."""
        self._tmux("send-keys", "-l", shlex.join(words))
        self._tmux("send-keys", "Enter")

    def say(self, line: str) -> None:
        """Type a line for the shell as it is."""
        self._tmux("send-keys", "-l", line)
        self._tmux("send-keys", "Enter")

    def resize(self, width: int, height: int) -> None:
        """Make the terminal another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def lines(self, colours: bool = False) -> list[str]:
        """What is on the screen."""
        return self._tmux("capture-pane", "-p", *(["-e"] if colours else [])).splitlines()

    def wait_until(self, condition: Callable[[list[str]], bool], what: str) -> list[str]:
        """The screen as soon as it fulfils a condition."""
        seen: list[str] = []

        def holds() -> bool:
            nonlocal seen
            seen = self.lines()
            return condition(seen)

        try:
            wait_until(holds, what)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *seen])) from None
        return seen

    def wait_for_prompt(self) -> list[str]:
        """The screen as soon as the shell waits for the next line."""

        def prompts(lines: list[str]) -> bool:
            filled = [line.strip() for line in lines if line.strip()]
            return bool(filled) and filled[-1] == PROMPT.strip()

        return self.wait_until(prompts, "the shell's prompt")

    def wait_for(self, text: str) -> list[str]:
        """The screen as soon as a text is on it."""
        return self.wait_until(lambda lines: any(text in line for line in lines), repr(text))
