# SPDX-License-Identifier: GPL-2.0-or-later
"""Other people's VNC clients, in processes of their own: what they see is what the guest drew."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.certificates import Authority
from tests.support.vm import Vm, start_vm
from tests.support.xvfb import Xvfb, have_xvfb
from vmm.display.rfb.security import encrypt_challenge
from vmm.guest.draw import draw

WIDTH, HEIGHT, FRAMES, SEED = 360, 212, 10, 3
PATIENCE_SECONDS = 60
ASYNCVNC = """
import asyncio, sys
import asyncvnc
from PIL import Image

async def main(port, password, file):
    async with asyncvnc.connect("127.0.0.1", int(port), password=password) as client:
        Image.fromarray(await client.screenshot()).convert("RGB").save(file)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def machine(folder: Path, kind: str, more: str = "") -> Iterator[tuple[Vm, int]]:
    """A machine that draws a picture, and the port of its display; the password: secret.

    ``more``: options of --vnc.
    """
    (folder / "password").write_text("secret\n")
    words = f"mode=idle ms=3600000 draw=1 draw_kind={kind} draw_frames={FRAMES} seed={SEED}"
    display = f":9,to=99,password-file={folder}/password{more}"
    with start_vm(
        *("--kernel", "micro", "--accel", "qtest", "--smp", "2", "--append", words),
        *("--framebuffer", f"{WIDTH}x{HEIGHT}", "--vnc", display),
    ) as vm:
        vm.wait_until_running()
        assert vm.process.stderr is not None
        line = vm.process.stderr.readline()
        match = re.fullmatch(r"bqlscope: VNC: 127\.0\.0\.1:([0-9]+) \([a-z0-9+]+\)\n", line)
        assert match, line
        yield vm, int(match[1])
        vm.process.send_signal(signal.SIGTERM)
        assert vm.finish().status == 0


def picture(path: Path) -> NDArray[np.uint32]:
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(np.uint32)
    return (rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]).astype(np.uint32)


def capture_until(command: list[str], file: Path, expected: NDArray[np.uint32]) -> None:
    """Take pictures until one is as drawn: the guest draws for a while."""
    for _ in range(20):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stderr
        if np.array_equal(picture(file), expected):
            return
    raise AssertionError("the picture is not what the guest drew")


@pytest.mark.parametrize("kind", ["text", "noise"])
def test_vncdotool_takes_a_picture(kind: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "vncdo")
    file = tmp_path / "screen.png"
    with machine(tmp_path, kind) as (_, port):
        command = [program, "-s", f"127.0.0.1::{port}", "-p", "secret", "capture", str(file)]
        capture_until(command, file, draw(kind, WIDTH, HEIGHT, FRAMES, SEED))


@pytest.mark.parametrize("kind", ["scroll", "pattern"])
def test_asyncvnc_takes_a_picture(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "screen.png"
    with machine(tmp_path, kind) as (_, port):
        command = [sys.executable, "-c", ASYNCVNC, str(port), "secret", str(file)]
        capture_until(command, file, draw(kind, WIDTH, HEIGHT, FRAMES, SEED))


TIGERVNC = shutil.which("xtigervncviewer")
OBFUSCATION_KEY = bytes([23, 82, 107, 6, 35, 78, 88, 7])  # of every vncpasswd file there is
needs_tigervnc = pytest.mark.skipif(
    TIGERVNC is None or not have_xvfb(), reason="needs tigervnc-viewer and xvfb"
)


@needs_tigervnc
@pytest.mark.parametrize(
    ("security", "how"),
    [
        ("VncAuth", "PreferredEncoding=Tight"),
        ("VncAuth", "PreferredEncoding=ZRLE"),
        ("VncAuth", "PreferredEncoding=Hextile"),
        ("TLSVnc", "PreferredEncoding=Tight"),
        ("X509Vnc", "PreferredEncoding=ZRLE"),
    ],
)
def test_tigervnc_shows_the_screen(security: str, how: str, tmp_path: Path) -> None:
    assert TIGERVNC is not None
    Authority().write(tmp_path, "server")
    padded = b"secret".ljust(8, b"\0")
    (tmp_path / "passwd").write_bytes(encrypt_challenge(OBFUSCATION_KEY, padded))
    tls = {
        "VncAuth": "",
        "TLSVnc": ",tls-creds=anon",
        "X509Vnc": f",tls-creds={tmp_path},verify-peer=off",
    }[security]
    with Xvfb() as display, machine(tmp_path, "noise", tls) as (_, port):
        viewer = subprocess.Popen(
            [
                *(TIGERVNC, "-SecurityTypes", security, "-PasswordFile", str(tmp_path / "passwd")),
                *("-X509CA", str(tmp_path / "ca-cert.pem"), f"-{how}", "-AutoSelect=0"),
                *("-FullColor=1", f"127.0.0.1::{port}"),
            ],
            env={**os.environ, "DISPLAY": display.name, "HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            display.wait_for(draw("noise", WIDTH, HEIGHT, FRAMES, SEED))
        finally:
            viewer.terminate()
            viewer.wait(20)
