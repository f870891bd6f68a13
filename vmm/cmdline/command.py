# SPDX-License-Identifier: GPL-2.0-or-later
"""A click command whose options may be written as QEMU's: one dash or two, and its aliases.

click takes ``-smp`` for a run of short options and knows no section in its help. So the words are
brought into click's form first (``--smp=2``: safe for values that begin with a dash), and the help
is grouped by the section each option names. A machine file uses the same options by ``toml``.
"""

import difflib
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from vmm.cmdline.qemu_names import ANSWERS, HARMLESS, OTHERWISE

WIDTH = 80
COLUMN = 28
SECTIONS = ("Machine", "Boot", "Block", "Display", "Monitor", "Recording", "Other")


def _as_given(value: object) -> object:
    return value


class RunOption(click.Option):
    """An option of ``bqlscope run``, which may stand in a machine file as well.

    Args:
        names: with two dashes first, then QEMU's short ones, then the Python name.
        section: one of SECTIONS.
        toml: where a machine file has it: ``machine.smp`` (a list if it can be repeated), or the
            name of a ``[[table]]`` for one that is repeated with keys and values; empty: nowhere.
        convert: from text, number or boolean to the value; ValueError with a reason.
        implied: key of the first word of a repeated option.
        bare: key that is suggested for a value without one.
        relative: from a value (or table) of a machine file and that file's directory to the value
            with its file names made absolute.
        optional: the value stands for itself if the option has none.
    """

    def __init__(
        self,
        *names: str,
        section: str,
        toml: str = "",
        convert: Callable[[object], object] = _as_given,
        implied: str | None = None,
        bare: str = "",
        relative: Callable[[Any, Path], object] | None = None,
        optional: str | None = None,
        **options: Any,
    ) -> None:
        if optional is not None:
            options |= {"is_flag": False, "flag_value": optional}
        super().__init__(list(names), **options)
        self.optional = optional is not None
        self.section = section
        self.toml = toml
        self.convert = convert
        self.implied = implied
        self.bare = bare
        self.relative = relative

    @property
    def tables(self) -> bool:
        """Whether it is a set of keys and values each time: ``[[drive]]``, not a text."""
        return self.multiple and "." not in self.toml

    @property
    def option(self) -> str:
        """The option as messages name it."""
        return self.opts[0]


def _names(option: click.Option) -> Iterator[str]:
    for name in (*option.opts, *option.secondary_opts):
        yield name.lstrip("-")


class RunCommand(click.Command):
    """The command; its options are RunOptions, others go into the section Other."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Bring QEMU's forms into click's, then parse."""
        return super().parse_args(ctx, self._translated(ctx, args))

    def _by_name(self, ctx: click.Context) -> dict[str, click.Option]:
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        return {name: option for option in options for name in _names(option)}

    def _translated(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = self._by_name(ctx)
        words = iter(args)
        out: list[str] = []
        for word in words:
            if word == "--":
                return [*out, word, *words]
            name, equals, value = word.lstrip("-").partition("=")
            if not word.startswith("-") or word == "-":
                out.append(word)
            elif name == "enable-kvm" and not equals:
                out.append("--accel=kvm")
            elif name in known:
                out += self._one(known[name], value if equals else None, words)
            else:
                self._answered(ctx, word, name, words, known)
        return out

    def _one(self, option: click.Option, value: str | None, words: Iterator[str]) -> list[str]:
        """The words of one known option, its value taken from ``words`` if need be."""
        name = max(option.opts, key=len)
        if value is None:
            optional = isinstance(option, RunOption) and option.optional
            value = None if option.is_flag or optional else next(words, None)
        return [name if value is None else f"{name}={value}"]

    def _answered(
        self,
        ctx: click.Context,
        word: str,
        name: str,
        words: Iterator[str],
        known: dict[str, click.Option],
    ) -> None:
        """Drop a harmless option of QEMU; raise UsageError with the way out for any other."""
        if name in HARMLESS:
            allowed = HARMLESS[name]
            if allowed is None or (value := next(words, "")) in allowed:
                return
            raise click.UsageError(f"{word} {value}: {OTHERWISE[name]}", ctx)
        if name in ANSWERS:
            raise click.UsageError(f"{word}: {ANSWERS[name]}", ctx)
        near = difflib.get_close_matches(name, [*known, *HARMLESS], n=1)
        hint = f"; did you mean '{'--' if len(near[0]) > 1 else '-'}{near[0]}'?" if near else ""
        raise click.UsageError(f"no such option: {word}{hint}", ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All options by section, in columns that are the same in all of them."""
        rows: dict[str, list[str]] = {section: [] for section in SECTIONS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                rows[getattr(param, "section", "Other")] += _row(*record)
        for section, lines in rows.items():
            if lines:
                formatter.write_paragraph()
                formatter.write(f"{section} options:\n" + "".join(f"{line}\n" for line in lines))


def _row(names: str, text: str) -> list[str]:
    """An option and its help in two columns; nothing is broken at a hyphen."""
    wrapped = textwrap.wrap(text, WIDTH - COLUMN, break_on_hyphens=False) or [""]
    first = f"  {names}".ljust(COLUMN)
    if len(first) > COLUMN or first[-1] != " ":
        return [first.rstrip(), *(" " * COLUMN + line for line in wrapped)]
    return [first + wrapped[0], *(" " * COLUMN + line for line in wrapped[1:])]
