# SPDX-License-Identifier: GPL-2.0-or-later
"""This project's VNC server in a process of its own, showing pixels of the test's choice.

    with own_display(tmp_path, 1024, 768) as display:
        display.show(pixels)
        RfbStream.connect(display.vnc)

The process is this module run as a program: the server, its worker thread and a console, without a
machine around them. Each line on its standard input names a file of pixels to show.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tests.support.pictures import Picture
from tests.support.vnc import FakeConsole, FakeRouter
from vmm.display.vnc.options import parse_vnc
from vmm.display.vnc.screen import ScreenWatch
from vmm.display.vnc.server import VncServer
from vmm.display.vnc.worker import EncodeWorker
from vmm.events import EventBus


@dataclass
class OwnDisplay:
    """The running server."""

    process: "subprocess.Popen[str]"
    vnc: Path
    _pictures: Path

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    def show(self, pixels: Picture) -> None:
        """Show a whole screen, from the next update on."""
        np.save(self._pictures, pixels)
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{self._pictures}\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer == "ok\n", answer


@contextmanager
def own_display(directory: Path, width: int, height: int) -> Iterator[OwnDisplay]:
    """Start the server; it is gone when the block ends."""
    vnc = directory / "own-vnc"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(vnc), str(width), str(height)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        display = OwnDisplay(process, vnc, directory / "picture.npy")
        display.show(np.zeros((height, width), np.uint32))
        yield display
    finally:
        process.kill()
        process.communicate()


class PictureConsole(FakeConsole):
    """A console that shows what it is given."""

    def show(self, pixels: Picture) -> None:
        """Draw a whole screen."""
        self.surface.pixels[:] = pixels
        self._dirty[:] = True


async def _serve(vnc: str, width: int, height: int) -> None:
    loop = asyncio.get_running_loop()
    console, ended = PictureConsole(width, height), asyncio.Event()
    worker = EncodeWorker(loop, None)
    options, watch = parse_vnc(f"unix:{vnc}"), ScreenWatch(console, loop)
    VncServer(options, watch, FakeRouter(), loop, EventBus(), worker).start()

    def obey(stdin: IO[str]) -> None:
        line = stdin.readline().strip()
        if not line:
            ended.set()
            return
        console.show(np.load(line))
        print("ok", flush=True)

    loop.add_reader(sys.stdin, obey, sys.stdin)
    await ended.wait()
    worker.close()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
