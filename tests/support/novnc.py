# SPDX-License-Identifier: GPL-2.0-or-later
"""noVNC on a page of its own, and what its canvas shows.

with novnc_page(browser, port) as page:
    wait_until(lambda: np.array_equal(canvas(page), picture), "the picture in noVNC")
"""

import base64
import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.browser import Browser, Page, find_browser
from tests.support.vm import ROOT

NOVNC = ROOT / "build" / "novnc"
BROWSER = find_browser()
MISSING = BROWSER is None or not NOVNC.is_dir()
WHY = "needs Chromium, and noVNC in build/novnc"
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


@contextmanager
def novnc_page(port: int) -> Iterator[Page]:
    """A browser that shows the display behind a WebSocket port; its password is `secret`."""
    assert BROWSER is not None
    with web_server() as web, Browser(BROWSER) as browser:
        yield browser.open(f"http://127.0.0.1:{web}/?port={port}", width=800)
