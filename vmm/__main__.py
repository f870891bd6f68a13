# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m vmm``: the VMM's own verbs, without the profiler."""

import sys

import click

from vmm.commands.run import run


@click.group(help="The bqlscope virtual machine monitor.")
def main() -> None:
    """Group of the VMM's verbs."""


main.add_command(run)

if __name__ == "__main__":
    main(prog_name="vmm", args=sys.argv[1:])
