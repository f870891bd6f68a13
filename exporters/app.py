# SPDX-License-Identifier: GPL-2.0-or-later
"""The WSGI application: what is at which address."""

import gzip
import html
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from exporters.exporter import CONTENT_TYPES, Exporter
from exporters.mutex_profile import MOST_SECONDS, mutex_profile

StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Environ = dict[str, Any]
PLAIN = "text/plain; charset=utf-8"

MOST_PROFILES = 4
"""At a time: each keeps a connection for as long as its client likes, scrapes need some, too."""

PATIENCE = "bqlscope.patience"
"""Environ key: a function that is told how many seconds more an answer will take."""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>bqlscope exporter</title>
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<style>body{{font-family:sans-serif;margin:2em;max-width:50em}}td,th{{text-align:left;
padding:.2em 1em .2em 0}}</style></head><body>
<h1>bqlscope exporter</h1>
<ul><li><a href="metrics">/metrics</a></li>
<li><a href="debug/pprof/mutex?seconds=5">/debug/pprof/mutex?seconds=5</a>
for <code>go tool pprof</code></li>
<li><a href="-/healthy">/-/healthy</a></li></ul>
<table><tr><th>VM</th><th>process</th><th>recording</th></tr>
{rows}</table></body></html>
"""


class App:
    """Answers GET and HEAD; everything else is refused.

    `wait` sleeps for a profile and returns early, with True, when the server stops.
    """

    def __init__(self, exporter: Exporter, wait: Callable[[float], bool]) -> None:
        self._exporter, self._wait = exporter, wait
        self._profiles = threading.BoundedSemaphore(MOST_PROFILES)
        self._routes: dict[str, Callable[[Environ, StartResponse], bytes]] = {
            "/": self._index,
            "/metrics": self._metrics,
            "/-/healthy": self._healthy,
            "/debug/pprof/mutex": self._mutex,
        }

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """A WSGI application."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return [_refuse(start, "405 Method Not Allowed", "GET only")]
        route = self._routes.get(environ.get("PATH_INFO", "") or "/")
        if route is None:
            return [_refuse(start, "404 Not Found", "nothing here; try /metrics")]
        try:
            body = route(environ, start)
        except Exception as error:
            self._exporter.health.fail("internal", f"{type(error).__name__}: {error}")
            return [_refuse(start, "500 Internal Server Error", "see the exporter's log")]
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _metrics(self, environ: Environ, start: StartResponse) -> bytes:
        only = frozenset(_query(environ).get("name[]", ()))
        document = self._exporter.scrape(environ.get("HTTP_ACCEPT", ""), only)
        body, headers = document.body, [("Vary", "Accept, Accept-Encoding")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", "") and not _is_near(environ):
            body = gzip.compress(body, compresslevel=1)
            headers.append(("Content-Encoding", "gzip"))
        return _answer(start, body, CONTENT_TYPES[document.kind], headers)

    def _healthy(self, _environ: Environ, start: StartResponse) -> bytes:
        return _answer(start, b"ok\n", PLAIN)

    def _index(self, _environ: Environ, start: StartResponse) -> bytes:
        rows = "".join(
            f"<tr><td>{html.escape(vm)}</td><td>{process.pid}</td>"
            f"<td>{html.escape(str(process.path))}</td></tr>\n"
            for vm, process in self._exporter.processes()
        )
        return _answer(start, _PAGE.format(rows=rows).encode(), "text/html; charset=utf-8")

    def _mutex(self, environ: Environ, start: StartResponse) -> bytes:
        query = _query(environ)
        try:
            seconds = float(query.get("seconds", ["0"])[0])
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= MOST_SECONDS:
            return _refuse(start, "400 Bad Request", f"seconds: 0 to {MOST_SECONDS:.0f}")
        if not self._profiles.acquire(blocking=False):
            return _refuse(start, "503 Service Unavailable", f"{MOST_PROFILES} profiles at a time")
        try:
            return self._profile(environ, start, seconds, query.get("vm"))
        finally:
            self._profiles.release()

    def _profile(
        self, environ: Environ, start: StartResponse, seconds: float, wanted: list[str] | None
    ) -> bytes:
        environ.get(PATIENCE, lambda more: None)(seconds)
        processes = [
            named for named in self._exporter.processes() if not wanted or named[0] in wanted
        ]
        if wanted and not processes:
            return _refuse(start, "404 Not Found", "no such vm")
        health = self._exporter.health
        body = mutex_profile(
            processes, seconds, self._wait, lambda message: health.fail("recording", message)
        )
        name = "mutex-delta" if seconds else "mutex"
        disposition = ("Content-Disposition", f'attachment; filename="{name}"')
        return _answer(start, body, "application/octet-stream", [disposition])


def _query(environ: Environ) -> dict[str, list[str]]:
    return parse_qs(environ.get("QUERY_STRING", ""))


def _is_near(environ: Environ) -> bool:
    """Whether the client is on this host: compressing would cost more than it saves."""
    address = environ.get("REMOTE_ADDR", "")
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


def _answer(
    start: StartResponse, body: bytes, kind: str, headers: Iterable[tuple[str, str]] = ()
) -> bytes:
    own = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start("200 OK", [*own, *headers])
    return body


def _refuse(start: StartResponse, status: str, reason: str) -> bytes:
    body = f"{reason}\n".encode()
    start(status, [("Content-Type", PLAIN), ("Content-Length", str(len(body)))])
    return body
