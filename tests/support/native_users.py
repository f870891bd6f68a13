# SPDX-License-Identifier: GPL-2.0-or-later
"""Which tests run native code in their own process, for sanitizers.

    python -m tests.support.native_users tests/unit

A sanitizer sees the extension in the test's process and nothing else. A file that does not import
`vmm._native`, itself or through what it imports, would run ten times slower for nothing.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = "vmm._native"


def imported(path: Path) -> set[str]:
    """Names of modules that a file imports; of `from a import b` both a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _files(module: str) -> Iterator[Path]:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            yield path


@cache
def uses_native(path: Path) -> bool:
    """Whether importing a file imports the extension."""
    seen, waiting = {path}, [path]
    while waiting:
        names = imported(waiting.pop())
        if NATIVE in names:
            return True
        fresh = {file for name in names for file in _files(name)} - seen
        seen |= fresh
        waiting += fresh
    return False


def main(folders: list[str]) -> None:
    """Print the files, blanks between."""
    files = [path for folder in folders for path in sorted((ROOT / folder).glob("test_*.py"))]
    print(*(path.relative_to(ROOT) for path in files if uses_native(path)))


if __name__ == "__main__":
    main(sys.argv[1:])
