# SPDX-License-Identifier: GPL-2.0-or-later
"""Where recordings lie, whose they are, and whether their process still runs."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def recording_directories(environ: Mapping[str, str] | None = None) -> list[Path]:
    """Directories in which the recorder puts its files, as bqlrec_open() chooses them.

    Both are listed because a service and a login session of one user may differ in
    XDG_RUNTIME_DIR.
    """
    env = os.environ if environ is None else environ
    found = []
    if runtime := env.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime) / "bqlscope")
    temporary = env.get("TMPDIR") or tempfile.gettempdir()
    found.append(Path(temporary) / f"bqlscope-{os.getuid()}")
    return found


def process_start_time(pid: int, proc: Path = PROC) -> int | None:
    """Field 22 of /proc/PID/stat (clock ticks since boot), or None if there is no such process.

    The command name, field 2, may contain spaces and parentheses: fields count from the last one.
    """
    try:
        stat = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        return int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def maps_file(pid: int, device: int, inode: int, proc: Path = PROC) -> bool:
    """Whether a process has this file mapped. True if that cannot be found out.

    It tells a recording that is being written from a copy of it: header and process are the same.
    """
    wanted = (f"{os.major(device):02x}:{os.minor(device):02x}", str(inode))
    try:
        with (proc / str(pid) / "maps").open(encoding="utf-8", errors="replace") as lines:
            return any(tuple(line.split(maxsplit=5)[3:5]) == wanted for line in lines)
    except OSError:
        return True


def shared_files(pid: int, proc: Path = PROC) -> list[Path]:
    """Files that a process has mapped shared, as recordings are. Empty if that is not known."""
    found = {}
    try:
        with (proc / str(pid) / "maps").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                _, mode, _, _, inode, *path = line.rstrip("\n").split(maxsplit=5)
                if mode.endswith("s") and inode != "0" and path and path[0].startswith("/"):
                    found[Path(path[0])] = True
    except (OSError, ValueError):
        return []
    return list(found)


def own_processes(proc: Path = PROC) -> list[int]:
    """Ids of this user's processes, ascending."""
    found = []
    for entry in proc.iterdir():
        with suppress(OSError, ValueError):
            if entry.stat().st_uid == os.getuid():
                found.append(int(entry.name))
    return sorted(found)


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """A process and its children, their children, …, as far as they can be found out."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in (proc / str(parent) / "task").iterdir():
                with suppress(OSError, ValueError):
                    found += map(int, (task / "children").read_text().split())
    return found


def mapped_recordings(pid: int, proc: Path = PROC) -> list[Path]:
    """Files that a process has mapped as it would map its recording, wherever they lie.

    Empty if that cannot be found out. Whether they are recordings is for the reader to say.
    """
    found: list[Path] = []
    with suppress(OSError):
        lines = (proc / str(pid) / "maps").read_text(encoding="utf-8", errors="surrogateescape")
        for line in lines.splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or fields[1] != "rw-s" or not fields[5].startswith("/"):
                continue
            path = Path(fields[5].replace("\\012", "\n"))
            if path not in found and path.is_file():
                found.append(path)
    return found


def candidates(directories: Sequence[Path] | None = None, proc: Path = PROC) -> list[Path]:
    """Files that may be recordings of this user: in the directories, or mapped by a process.

    Each file once, whatever its names.
    """
    searched = recording_directories() if directories is None else directories
    paths = [path for directory in searched for path in sorted(directory.glob("*.bql"))]
    for pid in own_processes(proc):
        paths += mapped_recordings(pid, proc)
    found: dict[tuple[int, int], Path] = {}
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())
