# SPDX-License-Identifier: GPL-2.0-or-later
"""One set of values out of a machine file and a command line.

A value of the command line replaces the file's; of what may be repeated the file's come first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from vmm.cmdline.command import RunOption
from vmm.cmdline.given import Setting, from_text
from vmm.machine_file import FileSettings


def merge(
    options: Iterable[RunOption], typed: Mapping[str, Any], file: FileSettings
) -> dict[str, Any]:
    """Converted values by the options' Python names; what nobody gave is left out.

    Args:
        options: those of the command.
        typed: click's values by name; None, False and () were not given.
        file: what the machine file gives.

    Returns:
        For each option that is repeated, given or not, a list: of Given for one with keys and
        values, else of values. For others the value.

    Raises:
        OptionError: a value that cannot be converted, at its place.
    """
    values: dict[str, Any] = {}
    for option in options:
        name = str(option.name)
        if option.tables:
            words = [
                from_text(option.option, text, option.implied, option.bare) for text in typed[name]
            ]
            values[name] = [*file.tables.get(option.toml, ()), *words]
        elif option.multiple:
            given = [*file.lists.get(option.toml, ()), *(_typed(option, t) for t in typed[name])]
            values[name] = [setting.convert(option.convert) for setting in given]
        else:
            setting = _setting(option, typed.get(name)) or file.settings.get(option.toml)
            if setting is not None:
                values[name] = setting.convert(option.convert)
    return values


def _setting(option: RunOption, value: object) -> Setting | None:
    """What was typed for an option that is not repeated; None: nothing."""
    return None if value is None or value is False else _typed(option, value)


def _typed(option: RunOption, value: object) -> Setting:
    shown = "" if option.is_flag else f" {value}"
    return Setting(value, lambda: f"{option.option}{shown}")
