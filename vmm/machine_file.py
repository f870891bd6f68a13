# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as a TOML file: the options of ``bqlscope run`` in sections.

Every option knows its place in the file (``machine.smp``, ``[[drive]]``), so the file has no list
of keys of its own. Errors begin with ``FILE:LINE:``; file names are relative to the file.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmm.cmdline.command import RunOption
from vmm.cmdline.given import Given, OptionError, Setting
from vmm.cmdline.toml_lines import Key, KeyLines

MAX_BYTES = 64 << 10
MAX_DEPTH = 32  # tables and lists in each other


@dataclass(frozen=True)
class FileSettings:
    """What a machine file gives: by an option's ``toml``."""

    settings: Mapping[str, Setting] = field(default_factory=dict)
    lists: Mapping[str, list[Setting]] = field(default_factory=dict)
    tables: Mapping[str, list[Given]] = field(default_factory=dict)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise OptionError(f"{path}: larger than {MAX_BYTES >> 10} KiB: not a machine file")
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise OptionError(f"{path}:{line}: is not UTF-8 text: not a machine file") from None


def _syntax_error(path: Path, error: tomllib.TOMLDecodeError, text: str) -> OptionError:
    """tomllib's message, its "(at line 3, column 4)" moved to the front."""
    message, _, where = str(error).rpartition(" (at ")
    words = where.rstrip(")").replace(",", "").split()
    if words[:1] == ["line"]:
        return OptionError(f"{path}:{words[1]}: {message}")
    last = text.rstrip().count("\n") + 1
    return OptionError(f"{path}:{last}: {message or error}")


class _Reader:
    """One file being read against the options that exist."""

    def __init__(self, path: Path, options: Iterable[RunOption]) -> None:
        self.path = path
        self.text = _read(path)
        self._lines: KeyLines | None = None
        self.settings: dict[str, RunOption] = {}
        self.tables: dict[str, RunOption] = {}
        for option in options:
            if option.toml:
                (self.tables if option.tables else self.settings)[option.toml] = option

    def place(self, key: Key, name: str = "") -> str:
        """``machine.toml:14``, with the name of what stands there."""
        if self._lines is None:
            self._lines = KeyLines(self.text)
        return f"{self.path}:{self._lines.of(key)}{': ' if name else ''}{name}"

    def load(self) -> FileSettings:
        """Raises OptionError."""
        try:
            content = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise _syntax_error(self.path, error, self.text) from None
        except ValueError:  # Python's limit for the digits of an integer
            raise OptionError(f"{self.path}: a number is too long: not a machine file") from None
        except RecursionError:
            content = None
        if content is None or _is_deep(content):
            raise OptionError(f"{self.path}: nested too deeply: not a machine file")
        found: dict[str, list[Setting]] = {}
        tables: dict[str, list[Given]] = {}
        for name, value in content.items():
            if name in self.tables:
                tables[name] = list(self._tables(self.tables[name], value))
            else:
                found |= self._section(name, value)
        single = {k: each[0] for k, each in found.items() if not self.settings[k].multiple}
        lists = {k: each for k, each in found.items() if self.settings[k].multiple}
        return FileSettings(single, lists, tables)

    def _sections(self) -> list[str]:
        return sorted({toml.partition(".")[0] for toml in self.settings})

    def _section(self, name: str, content: object) -> dict[str, list[Setting]]:
        if name not in self._sections():
            singles, many = self._sections(), sorted(self.tables)
            known = {each: f"[{each}]" for each in singles} | {each: f"[[{each}]]" for each in many}
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {known[near[0]]}?" if near else f"known: {', '.join(known.values())}"
            )
            raise OptionError(f"{self.place((name,))}: unknown section '{name}': {hint}")
        if not isinstance(content, dict):
            raise OptionError(f"{self.place((name,))}: {name} must be a table: write [{name}]")
        found = {}
        for key, value in content.items():
            option = self.settings.get(f"{name}.{key}")
            if option is None:
                keys = [toml.partition(".")[2] for toml in self.settings if _in(toml, name)]
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(keys)}"
                raise OptionError(f"{self.place((name, key))}: unknown key '{key}': {hint}")
            values = value if option.multiple and isinstance(value, list) else [value]
            found[option.toml] = [self._setting(option, (name, key), each) for each in values]
        return found

    def _setting(self, option: RunOption, key: Key, value: object) -> Setting:
        name = str(key[-1])
        if option.is_flag and not isinstance(value, bool):
            raise OptionError(f"{self.place(key)}: {name} must be true or false")
        if not option.is_flag and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise OptionError(f"{self.place(key)}: {name} must be a number or text")
        if isinstance(value, str):
            value = (option.relative or _as_it_is)(value, self.path.absolute().parent)
        return Setting(value, lambda: self.place(key, name))

    def _tables(self, option: RunOption, content: object) -> Iterator[Given]:
        name = option.toml
        if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
            raise OptionError(f"{self.place((name,))}: {name} must be tables: write [[{name}]]")
        for index, table in enumerate(content):
            relative: Callable[[Any, Path], Any] = option.relative or _as_it_is
            yield Given(relative(table, self.path.absolute().parent), self._placer(name, index))

    def _placer(self, name: str, index: int) -> Callable[[str], str]:
        def place(key: str) -> str:
            return self.place((name, index, *filter(None, key.split("."))), f"[[{name}]]")

        return place


def load_machine_file(path: Path, options: Iterable[RunOption]) -> FileSettings:
    """Read a machine file. Values are as TOML has them; the options convert them.

    Args:
        path: the file; names in it are relative to its directory.
        options: those of the command; each knows its place in the file.

    Raises:
        OptionError: it cannot be read, is no TOML, or has something no option stands for; the
            message begins with file and line.
    """
    return _Reader(path, options).load()


def _as_it_is(value: Any, _base: Path) -> Any:
    return value


def _is_deep(content: object) -> bool:
    """Whether it is nested deeper than MAX_DEPTH; what comes after this recurses."""
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [value for each in inside for value in each if isinstance(value, dict | list)]
    return bool(level)


def _in(toml: str, section: str) -> bool:
    return toml.startswith(f"{section}.")
