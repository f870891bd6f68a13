# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``bqlscope run`` makes of a command line or a machine file, without making a machine."""

from pathlib import Path

import click

from vmm.cmdline.build import build_config
from vmm.cmdline.command import RunCommand, RunOption
from vmm.cmdline.dump import dump_machine
from vmm.cmdline.merge import merge
from vmm.commands.run import run
from vmm.config import MachineConfig
from vmm.machine_file import FileSettings, load_machine_file
from vmm.object_types import type_registry


def run_options() -> list[RunOption]:
    """The options of ``bqlscope run``."""
    return [param for param in run.params if isinstance(param, RunOption)]


def config_of(*words: str, file: Path | None = None) -> MachineConfig:
    """The configuration that ``bqlscope run FILE WORDS`` runs. Raises OptionError, UsageError."""
    assert isinstance(run, RunCommand)
    context: click.Context = run.make_context("run", list(words))
    typed = dict(context.params)
    typed.pop("machine_file")
    given = FileSettings() if file is None else load_machine_file(file, run_options())
    return build_config(merge(run_options(), typed, given), type_registry())


def config_of_file(text: str, folder: Path, *words: str) -> MachineConfig:
    """The configuration of a machine file with this text."""
    path = folder / "machine.toml"
    path.write_text(text)
    return config_of(*words, file=path)


def dumped(config: MachineConfig) -> str:
    """The text of ``--dump-machine``."""
    return dump_machine(config, run_options())
