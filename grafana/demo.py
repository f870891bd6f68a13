# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m grafana.demo`: Prometheus against two live VMs, on loopback, until Ctrl-C."""

import signal
import threading
from contextlib import suppress

import click

from grafana.live import Live, Options, Stopped, live


@click.command()
@click.option(
    "--duration",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End by itself after so long (default: at Ctrl-C).",
)
@click.option(
    "--scrape",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="Time between scrapes.",
)
@click.option(
    "--accel", type=click.Choice(["auto", "kvm", "qtest"]), default="auto", show_default=True
)
@click.option(
    "--prometheus", default="prometheus", show_default=True, metavar="FILE", help="The program."
)
def main(duration: float | None, scrape: int, accel: str, prometheus: str) -> None:
    """Watch the big lock of two VMs under load, one with its disk in the main loop, the other in
    an iothread, through exporters and Prometheus. Leaves nothing behind.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    click.echo("starting two VMs, two exporters and Prometheus ...", err=True)
    options = Options(scrape=scrape, accel=accel, prometheus=prometheus)
    with suppress(Stopped), live(options, stop) as running:
        click.echo(_greeting(running), nl=False)
        stop.wait(duration)
        click.echo("ending all of them", err=True)


def _greeting(running: Live) -> str:
    lines = [
        f"Prometheus  {running.prometheus}",
        f"  alerts    {running.prometheus}/alerts",
        f"  waiting   {running.prometheus}/graph?g0.expr={QUERY}&g0.tab=0&g0.range_input=5m",
        *(f"exporter    http://{at}/metrics  ({name})" for name, at in running.exporters.items()),
        f"Grafana     takes grafana/provisioning; its data source is {running.prometheus}",
        "Ctrl-C ends everything.",
    ]
    return "".join(f"{line}\n" for line in lines)


QUERY = "sum%20by(variant%2Crole)(rate(bql_wait_seconds_sum%5B10s%5D))"


if __name__ == "__main__":
    main()
