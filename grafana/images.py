# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m grafana.images`: draws every dashboard with the figures of a live demo."""

import json
import time
from pathlib import Path

import click

from grafana.drawing import Window, draw
from grafana.files import HOME
from grafana.live import Options, live
from grafana.query import Prometheus, variables

RATE_WINDOW_SECONDS = 6


@click.command()
@click.option(
    "--seconds",
    type=click.IntRange(min=20),
    default=60,
    show_default=True,
    metavar="N",
    help="How long to watch.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=HOME.parent / "docs" / "images",
    show_default="docs/images",
    metavar="DIR",
    help="Where the pictures go.",
)
def main(seconds: int, to: Path) -> None:
    """Draw every dashboard to DIR/NAME.png."""
    with live(Options()) as running:
        click.echo(f"watching for {seconds} s", err=True)
        time.sleep(seconds)
        end = time.time()
        for path in sorted((HOME / "dashboards").glob("*.json")):
            dashboard = json.loads(path.read_text())
            values = variables(dashboard, f"{RATE_WINDOW_SECONDS}s")
            window = Window(end - seconds + RATE_WINDOW_SECONDS, end, 1.0, values)
            picture = to / f"{path.stem.removeprefix('bqlscope-')}.png"
            draw(dashboard, Prometheus(running.prometheus), window, picture)
            click.echo(f"{picture.name}: {picture.stat().st_size // 1024} KiB", err=True)


if __name__ == "__main__":
    main()
