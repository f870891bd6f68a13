# SPDX-License-Identifier: GPL-2.0-or-later
"""`bqlscope export`: serve what recordings say to Prometheus and to `go tool pprof`."""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

from exporters.app import App
from exporters.exporter import Exporter
from exporters.files import replace_file, target_list
from exporters.fleet import GRACE_SECONDS, World
from exporters.server import Listen, Server, Tls
from profiler.commands.output import output_file

DEFAULT_LISTEN = "127.0.0.1:9752"
LOOK_SECONDS = 1.0


def _listen(_ctx: click.Context, _param: click.Parameter, value: str) -> Listen:
    try:
        return Listen.parse(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from error


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUTPUT = click.Path(path_type=Path)


@click.command(
    epilog="\b\nExamples:\n"
    "  bqlscope export\n"
    "  bqlscope export --listen 127.0.0.1:0 --sd /etc/prometheus/bqlscope.json\n"
    "  bqlscope export --textfile /var/lib/node_exporter/bqlscope.prom\n"
    "  go tool pprof http://127.0.0.1:9752/debug/pprof/mutex?seconds=30\n"
    "\b\n"
    "docs/metrics.md lists all metrics."
)
@click.argument("sources", nargs=-1, metavar="[FILE|PID]...")
@click.option(
    "--listen",
    default=DEFAULT_LISTEN,
    show_default=True,
    metavar="ADDR:PORT",
    callback=_listen,
    help="Where to listen; port 0 takes a free one.",
)
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="Serve HTTPS with this certificate.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="Its key, if it is not in that file.")
@click.option(
    "--tls-client-ca",
    type=_FILE,
    metavar="FILE",
    help="Only clients with a certificate that one of these signed.",
)
@click.option(
    "--per-thread", is_flag=True, help="Figures of every thread instead of every role: many series."
)
@click.option(
    "--grace",
    default=GRACE_SECONDS,
    show_default=True,
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long a process that ended is still shown.",
)
@click.option(
    "--sd",
    type=_OUTPUT,
    metavar="FILE",
    callback=output_file,
    help="Write a file_sd target list for Prometheus; removed at the end.",
)
@click.option(
    "--textfile",
    type=_OUTPUT,
    metavar="FILE",
    callback=output_file,
    help="Write the metrics once, for node_exporter's textfile collector, and end.",
)
@click.option("--until-ended", is_flag=True, help="End when all processes have ended.")
def export(
    sources: tuple[str, ...],
    listen: Listen,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    per_thread: bool,
    grace: float,
    sd: Path | None,
    textfile: Path | None,
    until_ended: bool,
) -> None:
    """Serve live metrics of recorded processes to Prometheus.

    All recorded processes of this user on this host, new ones as they appear; or only the given
    ones, by recording or process id. Reads shared memory: the processes do not notice.
    """
    if tls_cert is None and (tls_key or tls_client_ca):
        raise click.UsageError("--tls-key and --tls-client-ca need --tls-cert")
    world = World(sources=sources, log=_say, per_thread=per_thread, grace_seconds=grace)
    exporter = Exporter(world)
    with ExitStack() as stack:
        stack.callback(exporter.close)
        if textfile is not None:
            replace_file(textfile, exporter.scrape().body)
            return
        stop = threading.Event()
        tls = Tls(tls_cert, tls_key, tls_client_ca) if tls_cert else None
        server = Server(listen, exporter.health, tls)
        stack.callback(server.server_close)
        server.set_app(App(exporter, stop.wait))
        if sd is not None:
            stack.enter_context(_target_list(sd, server))
        _announce(server, tls)
        _serve(server, exporter, stop, until_ended)


def _say(line: str) -> None:
    click.echo(f"bqlscope: {line}", err=True)


def _announce(server: Server, tls: Tls | None) -> None:
    _say(f"serving {server.url}/metrics")
    if not server.listen.is_loopback and (tls is None or tls.client_ca is None):
        _say(
            f"warning: whoever reaches {server.listen} can read the metrics;"
            " --tls-cert and --tls-client-ca let only known clients in"
        )


@contextmanager
def _target_list(path: Path, server: Server) -> Iterator[None]:
    scheme = server.url.partition(":")[0]
    replace_file(path, target_list(str(server.listen), scheme, socket.gethostname()))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _serve(server: Server, exporter: Exporter, stop: threading.Event, until_ended: bool) -> None:
    """Serve until SIGINT or SIGTERM, or until all processes have ended if that is wanted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    while not stop.wait(LOOK_SECONDS):
        if until_ended and not any(process.alive for _, process in exporter.processes()):
            break
    stop.set()
    server.shutdown()
    thread.join()
