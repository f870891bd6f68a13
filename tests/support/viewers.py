# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC clients, each as a process of its own: what do they see, what can they type?

Each client is a function or a context manager that connects to a port of the loopback address and
gives the screen as an array of rows of (red, green, blue). Raw RFB is in `rfb_client.py`.
"""

import base64
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.browser import Browser, Page
from tests.support.rig import wait_until

Picture = NDArray[np.uint8]

LIMIT_SECONDS = 60
NOVNC = Path("/usr/share/novnc")
VIEWERS = ("xtigervncviewer", "vncviewer")

_ASYNCVNC = """
import asyncio, sys
import asyncvnc, numpy

async def look(port, file, password, looks, keys):
    async with asyncvnc.connect("127.0.0.1", port, password=password) as client:
        for key in keys:
            client.keyboard.press(key)
        await client.drain()
        for _ in range(looks):
            picture = await client.screenshot()
        numpy.save(file, picture)

port, file, password, looks, *keys = sys.argv[1:]
asyncio.run(asyncio.wait_for(look(int(port), file, password or None, int(looks), keys), 50))
"""


def missing(*programs: str) -> str | None:
    """Why a test that needs these programs cannot run here, or None."""
    absent = [name for name in programs if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (make test installs it as root)" if absent else None


def tigervnc() -> str | None:
    """The program of TigerVNC's viewer, or None."""
    return next(filter(None, map(shutil.which, VIEWERS)), None)


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def asyncvnc_sees(port: int, folder: Path, *keys: str, password: str = "") -> Picture:
    """The screen by asyncvnc, which first presses `keys` (X11 keysym names)."""
    file = folder / "asyncvnc.npy"
    _run([sys.executable, "-c", _ASYNCVNC, str(port), str(file), password, "1", *keys])
    picture: Picture = np.load(file)[:, :, :3]
    return picture


def start_asyncvnc(port: int, file: Path, looks: int) -> "subprocess.Popen[bytes]":
    """An asyncvnc that looks at the screen so many times, one after the other."""
    command = [sys.executable, "-c", _ASYNCVNC, str(port), str(file), "", str(looks)]
    return subprocess.Popen(command)


def vncdo(port: int, *actions: str, password: str = "") -> None:
    """Run actions of vncdotool: `key`, `type`, `move`, `capture FILE`…"""
    secret = ["-p", password] if password else []
    server = f"127.0.0.1::{port}"
    _run([sys.executable, "-m", "vncdotool.command", "-s", server, "-t", "50", *secret, *actions])


def vncdo_sees(port: int, folder: Path) -> Picture:
    """The screen by vncdotool."""
    file = folder / "vncdo.png"
    vncdo(port, "capture", str(file))
    return np.asarray(Image.open(file).convert("RGB"))


class Desktop:
    """An X server without a screen: what it shows is a file."""

    def __init__(self, folder: Path, number: int, process: "subprocess.Popen[bytes]") -> None:
        self.display = f":{number}"
        self.process = process
        self._file = folder / "Xvfb_screen0"

    def environment(self) -> dict[str, str]:
        """For its clients."""
        return {**os.environ, "DISPLAY": self.display}

    def picture(self) -> Picture:
        """What it shows: an X window dump of 32 bits a pixel (X11/XWDFile.h)."""
        data = self._file.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        size, width, height, line, colours = (int(header[i]) for i in (0, 4, 5, 12, 19))
        rows = np.frombuffer(data, np.uint8, line * height, size + 12 * colours)
        pixels: Picture = rows.reshape(height, line)[:, : 4 * width].reshape(height, width, 4)
        return pixels[:, :, 2::-1]

    def do(self, *words: str) -> None:
        """Run xdotool."""
        subprocess.run(
            ["xdotool", *words],
            env=self.environment(),
            check=True,
            timeout=LIMIT_SECONDS,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def desktop(folder: Path, width: int, height: int) -> Iterator[Desktop]:
    """Xvfb with a screen of that size, on a display number that is free."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24"]
    command += ["-fbdir", str(folder), "-nolisten", "tcp", "-noreset"]
    process = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as stream:
            number = int(stream.readline())
        yield Desktop(folder, number, process)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def tiger_viewer(
    port: int, folder: Path, size: tuple[int, int], *options: str
) -> Iterator[Desktop]:
    """TigerVNC's viewer, whole screen, on a desktop as large as the remote one."""
    program = tigervnc()
    assert program is not None
    with desktop(folder, *size) as screen:
        log = (folder / "viewer.log").open("wb")
        command = [program, "-FullScreen=1", "-RemoteResize=0", "-AutoSelect=0", "-MenuKey="]
        command += ["-Log=*:stderr:30", "-DotWhenNoCursor=0", *options, f"127.0.0.1::{port}"]
        viewer = subprocess.Popen(
            command,
            env={**screen.environment(), "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield screen
        finally:
            viewer.terminate()
            viewer.wait()
            log.close()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def files_over_http(folder: Path) -> Iterator[str]:
    """A folder on a port of the loopback address; gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


_CANVAS = """
(() => {
  const canvas = document.querySelector('#screen canvas');
  if (!canvas || !canvas.width || !document.querySelector('#status, #noVNC_status')) return null;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let text = '';
  for (let i = 0; i < data.length; i += 4)
    text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
  return [canvas.width, canvas.height, btoa(text)];
})()
"""


def canvas_of(page: Page) -> Picture | None:
    """The pixels of noVNC's canvas, or None as long as there is none."""
    found = page.evaluate(_CANVAS)
    if found is None:
        return None
    width, height, text = found
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return data.reshape(height, width, 3)


@contextmanager
def novnc(browser: Browser, port: int, extra: str = "") -> Iterator[Page]:
    """NoVNC's small page, connected to a WebSocket port."""
    with files_over_http(NOVNC) as address:
        query = f"host=127.0.0.1&port={port}&path=&scale=false{extra}"
        yield browser.open(f"{address}/vnc_lite.html?{query}", width=1280)


def same(one: Picture | None, other: Picture) -> bool:
    """Whether two pictures are the same, pixel by pixel."""
    return one is not None and one.shape == other.shape and bool((one == other).all())


def wait_for_picture(look: Callable[[], Picture | None], wanted: Picture, what: str) -> None:
    """Until a client shows exactly this picture."""
    wait_until(lambda: same(look(), wanted), what)
