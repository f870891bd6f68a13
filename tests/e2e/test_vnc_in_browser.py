# SPDX-License-Identifier: GPL-2.0-or-later
"""noVNC in a real browser, straight to the display's WebSocket: no proxy in between."""

import base64
import functools
import io
import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support.browser import Browser, Page, find_browser
from tests.support.rig import wait_until
from tests.support.vm import ROOT, start_vm
from vmm.guest.draw import draw

NOVNC = ROOT / "build" / "novnc"
BROWSER = find_browser()
WIDTH, HEIGHT, FRAMES, SEED = 320, 200, 10, 3
PAGE = """<!DOCTYPE html><title>VNC</title><div id="screen"></div>
<script type="module">
import RFB from "/novnc/core/rfb.js";
const port = new URLSearchParams(location.search).get("port");
const rfb = new RFB(document.getElementById("screen"), "ws://127.0.0.1:" + port,
                    {credentials: {password: "secret"}});
window.states = [];
for (const name of ["connect", "disconnect", "securityfailure", "desktopname"])
    rfb.addEventListener(name, event => window.states.push([name, event.detail]));
window.rfb = rfb;
</script>"""

pytestmark = pytest.mark.skipif(
    BROWSER is None or not NOVNC.is_dir(), reason="needs Chromium, and noVNC in build/novnc"
)


class Handler(SimpleHTTPRequestHandler):
    """Serves the page and noVNC, silently."""

    def do_GET(self) -> None:
        if self.path.startswith("/novnc/"):
            self.path = self.path.removeprefix("/novnc")
            super().do_GET()
            return
        body = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def web_server() -> Iterator[int]:
    """noVNC over HTTP on a loopback port."""
    handler = functools.partial(Handler, directory=str(NOVNC))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="web server")
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def canvas(page: Page) -> NDArray[np.uint32]:
    """What noVNC shows; empty before it is connected."""
    url = page.evaluate(
        "window.rfb && rfb._rfbConnectionState == 'connected' ? rfb.toDataURL() : ''"
    )
    if not url:
        return np.zeros((0, 0), np.uint32)
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")
    rgb = np.asarray(image).astype(np.uint32)
    return (rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]).astype(np.uint32)


@pytest.mark.parametrize("options", ["", ",password-file={folder}/password"])
def test_novnc_shows_what_the_guest_draws(options: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    expected = draw("text", WIDTH, HEIGHT, FRAMES, SEED)
    words = f"mode=idle ms=3600000 draw=1 draw_kind=text draw_frames={FRAMES} seed={SEED}"
    display = ":9,to=99,websocket=on" + options.format(folder=tmp_path)
    assert BROWSER is not None
    with start_vm(
        *("--kernel", "micro", "--accel", "qtest", "--smp", "2", "--append", words),
        *("--framebuffer", f"{WIDTH}x{HEIGHT}", "--vnc", display),
    ) as vm:
        vm.wait_until_running()
        assert vm.process.stderr is not None
        lines = [vm.process.stderr.readline() for _ in range(2)]
        match = re.search(r"VNC over WebSocket: 127\.0\.0\.1:([0-9]+)", lines[1])
        assert match, lines
        with web_server() as port, Browser(BROWSER) as browser:
            page = browser.open(f"http://127.0.0.1:{port}/?port={match[1]}", width=800)
            wait_until(lambda: np.array_equal(canvas(page), expected), "the picture in noVNC")
            names = [name for name, _ in json.loads(page.evaluate("JSON.stringify(states)"))]
            assert set(names) == {"desktopname", "connect"}
            assert page.complaints == []
        vm.process.send_signal(signal.SIGTERM)
        result = vm.finish()
    assert result.status == 0
    assert "Traceback" not in result.stderr
