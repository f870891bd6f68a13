# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's QEMU command line and what recording adds to it. Pure functions.

Rules
 1. The user's words are neither changed nor reordered: ours come behind them, where QEMU merges a
    second `-name` into the first and opens a second monitor beside the others. A prefix such as
    `taskset -c 3 qemu-system-x86_64 …` works for the same reason.
 2. Ours are two: thread names, unless the user decided about them, and a private monitor.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from profiler.errors import UserError

_QEMU_NAMES = ("qemu-system", "qemu-kvm")
_SEPARATORS = " :"  # between the entries of LD_PRELOAD, which knows no quoting


def program_index(words: Sequence[str]) -> int:
    """Index of the word that is QEMU: the first that is called like one, else the first.

    `kvm` alone is more often the value of `-accel`: it counts in front and with a path only.
    """
    for index, word in enumerate(words):
        if word.rpartition("/")[2].startswith(_QEMU_NAMES) or word.endswith("/kvm"):
            return index
    return 0


def probe_words(words: Sequence[str]) -> list[str]:
    """The command line that makes this QEMU say its version, and do nothing else."""
    return [*words[: program_index(words) + 1], "--version"]


def with_additions(words: Sequence[str], monitor: Path | None) -> list[str]:
    """The command line to run: the user's, named threads, and a monitor at this path."""
    added = list(words)
    if not _decides_about_thread_names(words):
        added += ["-name", "debug-threads=on"]
    if monitor is not None:
        added += ["-qmp", f"unix:{str(monitor).replace(',', ',,')},server=on,wait=off"]
    return added


def daemonizes(words: Sequence[str]) -> bool:
    """Whether QEMU will go into the background."""
    return any(word in ("-daemonize", "--daemonize") for word in words)


def vm_name(words: Sequence[str]) -> str:
    """The guest's name by `-name`; empty if it has none."""
    name = ""
    for value in _values(words, "name"):
        for number, part in enumerate(_split(value)):
            key, equals, rest = part.partition("=")
            if key == "guest" and equals:
                name = rest
            elif number == 0 and not equals:
                name = part
    return name


def environment(
    base: Mapping[str, str],
    library: Path,
    *,
    recording: Path | None = None,
    name: str = "",
    window: bool = False,
    probe: int | None = None,
) -> dict[str, str]:
    """The environment of the recorded QEMU, or with `probe` (a descriptor) of one that answers.

    Raises UserError if the library's path cannot be preloaded.
    """
    if any(separator in str(library) for separator in _SEPARATORS):
        raise UserError(f"a path with blanks or colons cannot be preloaded: {library}")
    env = {key: value for key, value in base.items() if not key.startswith("BQLSCOPE_")}
    env["LD_PRELOAD"] = ":".join(filter(None, (str(library), base.get("LD_PRELOAD", ""))))
    if probe is not None:
        env["BQLSCOPE_PROBE"] = str(probe)
        return env
    if recording is not None:
        env["BQLSCOPE_RECORDING"] = str(recording)
    if name:
        env["BQLSCOPE_VM_NAME"] = name
    if window:
        env["BQLSCOPE_WINDOW"] = "1"
    return env


def package_of(program: str) -> str:
    """Debian's package with this QEMU."""
    target = program.rpartition("/")[2].removeprefix("qemu-system-")
    if target in ("x86_64", "i386", "kvm", "qemu-kvm"):
        return "qemu-system-x86"
    return "qemu-system-arm" if target in ("aarch64", "arm") else "qemu-system"


def _decides_about_thread_names(words: Sequence[str]) -> bool:
    options = (part for value in _values(words, "name") for part in _split(value))
    return any(part.partition("=")[0] in ("debug-threads", "nodebug-threads") for part in options)


def _values(words: Sequence[str], option: str) -> Iterator[str]:
    return (value for word, value in pairwise(words) if word in (f"-{option}", f"--{option}"))


def _split(value: str) -> list[str]:
    """Parts of an option's value; a doubled comma is a comma."""
    mark = "\0"
    return [part.replace(mark, ",") for part in value.replace(",,", mark).split(",")]
