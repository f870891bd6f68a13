# SPDX-License-Identifier: GPL-2.0-or-later
"""Headless Chromium through its debugging pipe: no driver, no port, nothing to install but it.

with Browser(program) as browser:
    page = browser.open(file, width=360, dark=True)
    assert page.evaluate("document.title") == "..."
    assert page.complaints == [] and page.requests == [file.as_uri()]
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, Self

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless=new",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
TALK = ("Page", "Runtime", "Log", "Network")


def find_browser() -> str | None:
    """Path of a Chromium that starts, or None: some are stubs that name a package."""
    for path in filter(None, map(shutil.which, PROGRAMS)):
        if subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


class Page:
    """An open page: what it asked for, what it complained about."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the debugging protocol."""
        return self._browser.call(method, parameters, self._session, self)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; it may be a promise. Raises AssertionError if it throws."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def event(self, method: str, parameters: dict[str, Any]) -> None:
        """Note what the page did."""
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(parameters["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])


class Browser:
    """A browser with a profile of its own; a context manager."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="bqlscope-browser-")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [program, *QUIET, *sandbox, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "browser", *command],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._messages, self._number = b"", deque[dict[str, Any]](), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._to)  # the end of its commands is the end of the browser
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(
        self, method: str, parameters: dict[str, Any], session: str = "", page: Page | None = None
    ) -> dict[str, Any]:
        """Send a command and return its answer; events that come first go to the page."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._hand_over(answer, page)

    def _receive(self) -> dict[str, Any]:
        while not self._messages:
            data = os.read(self._from, 1 << 16)
            assert data, "the browser ended"
            *whole, self._buffer = (self._buffer + data).split(b"\0")
            self._messages.extend(json.loads(part) for part in whole)
        return self._messages.popleft()

    def open(self, file: Path | str, width: int, dark: bool = False, script: bool = True) -> Page:
        """Load a file or an address in a window of a width and return once it is there."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, attached["sessionId"])
        for domain in TALK:
            page.call(f"{domain}.enable")
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.call("Emulation.setEmulatedMedia", features=[scheme])
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        page.requests.clear()
        page.loaded = False
        page.call("Page.navigate", url=file if isinstance(file, str) else file.as_uri())
        while not page.loaded:
            self._hand_over(self._receive(), page)
        return page

    @staticmethod
    def _hand_over(message: dict[str, Any], page: Page | None) -> None:
        if page is not None and "method" in message:
            page.event(message["method"], message.get("params", {}))
