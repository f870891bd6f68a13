# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Prometheus for a test: one target, a scrape every 200 ms, its API.

with prometheus(tmp_path, "127.0.0.1:1234", "--enable-feature=native-histograms") as server:
    server.wait_for('up == 1')
"""

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.rig import wait_until

CONFIG = """
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: bqlscope
    file_sd_configs: [{{files: ['{targets}'], refresh_interval: 1s}}]
{more}"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Prometheus:
    """The HTTP API of a server."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url, self.process, self.log = url, process, log

    def api(self, path: str, **query: str) -> Any:
        """`data` of an answer. Raises OSError while the server is not there."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> dict[tuple[str, ...], float]:
        """An instant query: values by the values of the labels (sorted by name; no job or host)."""
        found = {}
        for series in self.api("query", query=expression)["result"]:
            labels = series["metric"]
            for name in ("__name__", "job", "instance", "host"):
                labels.pop(name, None)
            key = tuple(labels[name] for name in sorted(labels))
            found[key] = float(series["value"][1]) if "value" in series else float("nan")
        return found

    def wait_for(self, expression: str) -> dict[tuple[str, ...], float]:
        """Until a query gives something; returns that."""
        found: dict[tuple[str, ...], float] = {}

        def given() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError):
                found.update(self.query(expression))
            return bool(found)

        wait_until(given, expression)
        return found


@contextmanager
def prometheus(
    directory: Path, targets: Path, *options: str, more: str = ""
) -> Iterator[Prometheus]:
    """A server that scrapes the target list `targets`; `more`: lines of the scrape config."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt install prometheus")
    config, log = directory / "prometheus.yml", directory / "prometheus.log"
    config.write_text(CONFIG.format(targets=targets, more=more))
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={directory / 'tsdb'}"]
    command += [f"--web.listen-address={address}", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Prometheus(f"http://{address}", process, log)
    finally:
        process.kill()
        process.wait()
