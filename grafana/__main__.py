# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m grafana`: writes dashboards, recording rules and alerts."""

from pathlib import Path

import click

from grafana.alerts import RUNBOOK
from grafana.files import HOME, generated


@click.command()
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    default=HOME,
    show_default="here",
    metavar="DIR",
    help="Write below DIR.",
)
@click.option(
    "--runbook",
    default=RUNBOOK,
    show_default=True,
    metavar="URL",
    help="Where your team reads docs/runbook.md; alerts link there.",
)
def main(to: Path, runbook: str) -> None:
    """Write dashboards, recording rules and alerts."""
    for name, text in generated(runbook).items():
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
