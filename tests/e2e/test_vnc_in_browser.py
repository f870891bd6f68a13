# SPDX-License-Identifier: GPL-2.0-or-later
"""noVNC in a real browser, straight to the display's WebSocket: no proxy in between."""

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.support import novnc
from tests.support.rig import wait_until
from tests.support.vm import start_vm
from vmm.guest.draw import draw

WIDTH, HEIGHT, FRAMES, SEED = 320, 200, 10, 3
pytestmark = pytest.mark.skipif(novnc.MISSING, reason=novnc.WHY)


@pytest.mark.parametrize("options", ["", ",password-file={folder}/password"])
def test_novnc_shows_what_the_guest_draws(options: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    expected = draw("text", WIDTH, HEIGHT, FRAMES, SEED)
    words = f"mode=idle ms=3600000 draw=1 draw_kind=text draw_frames={FRAMES} seed={SEED}"
    display = ":9,to=99,websocket=on" + options.format(folder=tmp_path)
    with start_vm(
        *("--kernel", "micro", "--accel", "qtest", "--smp", "2", "--append", words),
        *("--framebuffer", f"{WIDTH}x{HEIGHT}", "--vnc", display),
    ) as vm:
        vm.wait_until_running()
        assert vm.process.stderr is not None
        lines = [vm.process.stderr.readline() for _ in range(2)]
        match = re.search(r"VNC over WebSocket: 127\.0\.0\.1:([0-9]+)", lines[1])
        assert match, lines
        with novnc.novnc_page(int(match[1])) as page:
            wait_until(lambda: np.array_equal(novnc.canvas(page), expected), "the picture in noVNC")
            names = [name for name, _ in json.loads(page.evaluate("JSON.stringify(states)"))]
            assert set(names) == {"desktopname", "connect"}
            assert page.complaints == []
        vm.process.send_signal(signal.SIGTERM)
        result = vm.finish()
    assert result.status == 0
    assert "Traceback" not in result.stderr
