# SPDX-License-Identifier: GPL-2.0-or-later
"""The HTTP side: addresses, TLS, and clients that are slow, silent, rude or too many."""

import gzip
import http.client
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from exporters.app import MOST_PROFILES, PATIENCE, App
from exporters.exporter import Exporter
from exporters.server import MOST_CONNECTIONS, Listen, Server, Tls
from profiler.errors import UserError
from tests.support.exporting import OPENMETRICS, Log, exporter_of
from tests.support.recordings import example
from tests.support.rig import wait_until


@dataclass
class Served:
    """An exporter that is served, and the clock that its deadlines go by."""

    exporter: Exporter
    server: Server
    log: Log
    clock: list[float]

    @property
    def failures(self) -> dict[str, int]:
        return dict(self.exporter.fleet.failures)

    def plain_fails(self) -> bool:
        """Whether a request without TLS gets no answer."""
        with self.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return not client.recv(65536).startswith(b"HTTP")

    def connect(self) -> socket.socket:
        return socket.create_connection((self.server.listen.host, self.server.listen.port), 20)

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        listen = self.server.listen
        connection = http.client.HTTPConnection(listen.host, listen.port, timeout=20)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body


@contextmanager
def serving(path: Path, tls: Tls | None = None) -> Iterator[Served]:
    log, clock, stop = Log(), [0.0], threading.Event()
    with ExitStack() as stack:
        exporter = stack.enter_context(exporter_of(path, log=log))
        server = Server(Listen("127.0.0.1", 0), exporter.health, tls, clock=lambda: clock[0])
        stack.callback(server.server_close)
        server.set_app(App(exporter, stop.wait))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        stack.callback(stop.set)
        yield Served(exporter, server, log, clock)


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Iterator[Served]:
    with serving(example().write(tmp_path / "r.bql")) as served:
        yield served


def test_each_address_answers(served: Served) -> None:
    for path, kind, part in (
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8", b"bql_wait_seconds_bucket"),
        ("/-/healthy", "text/plain; charset=utf-8", b"ok"),
        ("/", "text/html; charset=utf-8", b"<td>guest</td>"),
    ):
        status, headers, body = served.get(path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert part in body
        status, headers, empty = served.get(path, "HEAD")
        assert (status, empty) == (200, b"")
        assert int(headers["Content-Length"]) > 0
    assert served.get("/metrics", Accept=OPENMETRICS)[2].endswith(b"# EOF\n")


def test_what_is_not_there_is_refused(served: Served) -> None:
    assert served.get("/nothing")[0] == 404
    assert served.get("/metrics", "POST")[0] == 405
    assert served.get("/debug/pprof/mutex?seconds=-1")[0] == 400
    assert served.get("/debug/pprof/mutex?seconds=1e9")[0] == 400
    assert served.get("/debug/pprof/mutex?seconds=soon")[0] == 400
    assert served.get("/debug/pprof/mutex?seconds=nan")[0] == 400
    assert served.get("/debug/pprof/mutex?vm=other")[0] == 404
    assert served.failures == {}


def test_a_part_of_the_metrics_can_be_asked_for(served: Served) -> None:
    body = served.get("/metrics?name[]=bql_waiters&name[]=bql_acquisitions_total")[2].decode()
    names = {line.partition("{")[0] for line in body.splitlines() if not line.startswith("#")}
    assert names == {"bql_acquisitions_total"}  # the process is dead: nobody waits


def test_a_client_on_this_host_gets_nothing_compressed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    assert served.get("/metrics", **wanted)[1]["Content-Encoding"] is None
    monkeypatch.setattr("exporters.app._is_near", lambda environ: False)
    _, headers, body = served.get("/metrics", **wanted)
    assert headers["Content-Encoding"] == "gzip"
    assert b"bql_wait_seconds" in gzip.decompress(body)


def test_a_profile_is_served_as_go_serves_it(served: Served) -> None:
    status, headers, body = served.get("/debug/pprof/mutex")
    assert (status, headers["Content-Type"]) == (200, "application/octet-stream")
    assert headers["Content-Disposition"] == 'attachment; filename="mutex"'
    assert gzip.decompress(body)
    _, headers, _ = served.get("/debug/pprof/mutex?seconds=0.001&vm=guest")
    assert headers["Content-Disposition"] == 'attachment; filename="mutex-delta"'


def test_a_profile_gets_the_time_it_needs_from_the_deadline(served: Served) -> None:
    asked: list[float] = []
    app = served.server.get_app()
    environ: Any = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/debug/pprof/mutex",
        "QUERY_STRING": "seconds=0.002",
        PATIENCE: asked.append,
    }
    assert app is not None
    list(app(environ, lambda status, headers: None))  # type: ignore[arg-type]
    assert asked == [0.002]


def test_profiles_leave_connections_for_scrapes(served: Served) -> None:
    app = served.server.get_app()
    assert isinstance(app, App)
    with ExitStack() as stack:
        for _ in range(MOST_PROFILES):
            client = stack.enter_context(served.connect())
            client.sendall(b"GET /debug/pprof/mutex?seconds=300 HTTP/1.0\r\n\r\n")
        wait_until(lambda: app._profiles._value == 0, "all profiles to begin")
        assert served.get("/debug/pprof/mutex?seconds=0.001")[0] == 503
        assert served.get("/metrics")[0] == 200


def test_silent_clients_do_not_keep_others_waiting_and_are_cut_off(served: Served) -> None:
    silent = [served.connect() for _ in range(MOST_CONNECTIONS - 1)]
    silent[0].sendall(b"GET /metr")
    assert served.get("/-/healthy")[0] == 200
    served.clock[0] += 16
    for client in silent:
        assert client.recv(1) == b""
        client.close()
    wait_until(lambda: not served.server._deadlines, "all connections to end")
    assert served.get("/-/healthy")[0] == 200


def test_a_connection_over_the_limit_is_closed_at_once_and_counted(served: Served) -> None:
    held = [served.connect() for _ in range(MOST_CONNECTIONS)]
    with served.connect() as one_more:
        assert one_more.recv(1) == b""
    assert served.failures["refused"] == 1
    for client in held:
        client.close()
    wait_until(lambda: not served.server._deadlines, "all connections to end")
    assert served.get("/-/healthy")[0] == 200


def test_a_client_that_leaves_in_the_middle_harms_nobody(served: Served) -> None:
    for _ in range(20):
        with served.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
    wait_until(lambda: not served.server._deadlines, "all connections to end")
    assert served.get("/metrics")[0] == 200
    assert "internal" not in served.failures


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"\0\xff\xfe\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET " + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"GET /%00%ff?name[]=%ff&seconds=%00 HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.0\r\nAccept: \xff\xfe;q=\xff\r\n\r\n",
    ],
)
def test_rude_requests_are_answered_or_dropped(
    served: Served, request_bytes: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with served.connect() as client:
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
    wait_until(lambda: not served.server._deadlines, "the connection to end")
    assert "internal" not in served.failures
    assert capfd.readouterr().err == ""


def test_an_error_of_ours_is_an_answer_and_a_count(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError("test")

    monkeypatch.setattr(Exporter, "scrape", broken)
    assert served.get("/metrics")[0] == 500
    assert served.failures == {"internal": 1}
    assert served.log.lines == ["ZeroDivisionError: test"]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9752", "127.0.0.1", 9752),
        ("[::1]:0", "::1", 0),
        ("8080", "127.0.0.1", 8080),
        ("localhost:1", "localhost", 1),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert Listen.parse(text) == Listen(host, port)
    assert Listen.parse(text).is_loopback


@pytest.mark.parametrize(
    "text", ["", ":9752", "a:b", "::1:9752", "1.2.3.4:70000", "1.2.3.4:-1", "²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|address"):
        Listen.parse(text)


def test_an_address_that_is_taken_is_one_clear_line(served: Served) -> None:
    with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1:\d+: address already in"):
        Server(served.server.listen, served.exporter.health)


def make_certificates(directory: Path) -> None:
    """`ca`, and `server` and `client` signed by it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")

    def run(*words: str) -> None:
        subprocess.run([openssl, *words], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        request = ["-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"]
        run("req", *key, *request)
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        run("x509", "-req", "-in", f"{name}.csr", *sign, "-out", f"{name}.pem")


def test_tls_serves_those_with_a_certificate_and_refuses_others(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    tls = Tls(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    with serving(example().write(tmp_path / "r.bql"), tls) as served:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        host, port = served.server.listen.host, served.server.listen.port

        def get() -> int:
            connection = http.client.HTTPSConnection(host, port, timeout=20, context=context)
            with closing(connection):
                connection.request("GET", "/metrics")
                return connection.getresponse().status

        with pytest.raises((ssl.SSLError, ConnectionError)):
            get()
        silent = served.connect()  # never begins its handshake
        context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        assert get() == 200
        silent.close()
        assert served.plain_fails()
        wait_until(lambda: not served.server._deadlines, "all connections to end")
        assert served.failures["client"] >= 2
        assert "internal" not in served.failures
        assert served.server.url.startswith("https://")


def test_tls_files_that_cannot_be_used_are_one_clear_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    with exporter_of(tmp_path / "r") as exporter:
        with pytest.raises(UserError, match=r"TLS files cannot be used \(.*broken\.pem\): "):
            Server(Listen("127.0.0.1", 0), exporter.health, Tls(broken))
