# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC clients that type and watch, each as a process of its own.

All connect to a port of the loopback address. Raw RFB is in `rfb_viewer.py`, noVNC in `novnc.py`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.rig import wait_until
from tests.support.xvfb import Xvfb

LIMIT_SECONDS = 60
TIGERVNC = shutil.which("xtigervncviewer")
_ASYNCVNC = """
import asyncio, sys
import asyncvnc, numpy

async def look(port, file, looks, keys):
    async with asyncvnc.connect("127.0.0.1", port) as client:
        for key in keys:
            client.keyboard.press(key)
        await client.drain()
        for _ in range(looks):
            picture = await client.screenshot()
        numpy.save(file, picture)

port, file, looks, *keys = sys.argv[1:]
asyncio.run(asyncio.wait_for(look(int(port), file, int(looks), keys), 50))
"""


def start_asyncvnc(
    port: int, file: Path, looks: int = 1, keys: tuple[str, ...] = ()
) -> "subprocess.Popen[bytes]":
    """An asyncvnc that presses keys (X11 keysym names) and looks at the screen so many times.

    The last picture goes to ``file``, a numpy array.
    """
    command = [sys.executable, "-c", _ASYNCVNC, str(port), str(file), str(looks), *keys]
    return subprocess.Popen(command)


def vncdo(port: int, *actions: str) -> None:
    """Run actions of vncdotool: `key`, `type`, `move`, `capture FILE`…"""
    program = Path(sys.executable).parent / "vncdo"
    done = subprocess.run(
        [program, "-s", f"127.0.0.1::{port}", "-t", "50", *actions],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def tigervnc(display: Xvfb, port: int, folder: Path, *options: str) -> Iterator[None]:
    """TigerVNC's viewer, from when it has got its first update on."""
    assert TIGERVNC is not None
    log = folder / "viewer.log"
    with log.open("wb") as stream:
        viewer = subprocess.Popen(
            [TIGERVNC, "-Log=*:stderr:30", "-AutoSelect=0", *options, f"127.0.0.1::{port}"],
            env={**os.environ, "DISPLAY": display.name, "HOME": str(folder), "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: b"Enabling continuous updates" in log.read_bytes(), "the viewer")
            yield
        finally:
            viewer.terminate()
            viewer.wait(20)


def type_into(display: Xvfb, *words: str) -> None:
    """Run xdotool on a display."""
    subprocess.run(
        ["xdotool", *words],
        env={**os.environ, "DISPLAY": display.name},
        check=True,
        timeout=LIMIT_SECONDS,
        stdout=subprocess.DEVNULL,
    )
