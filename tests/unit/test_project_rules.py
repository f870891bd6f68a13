# SPDX-License-Identifier: GPL-2.0-or-later
"""The rules that a reviewer would otherwise have to remember, checked on every file."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("vmm", "profiler", "exporters", "grafana")
FOLDERS = (*PACKAGES, ".ci", "docs", "requirements", "scripts", "tests")
BUILT_SUFFIXES = {".pyc", ".so", ".o", ".a", ".elf"}
SPDX = "SPDX-License-Identifier: GPL-2.0-or-later"
SOURCE_SUFFIXES = {".py", ".c", ".h", ".S", ".ld", ".mk", ".sh"}
MAX_LINES = 400
LENGTH_EXCUSE = re.compile(r"longer than 400 lines", re.IGNORECASE)
FORBIDDEN_IMPORTS = {
    "vmm": {"profiler", "exporters", "grafana"},
    "profiler": {"vmm", "exporters", "grafana"},
    "exporters": {"vmm", "grafana"},
    "grafana": {"vmm", "profiler"},
}
# Absolute paths of one person's machine; the pieces are joined so that this file passes.
PRIVATE_PATH = re.compile("(?<![\\w.])/" + "(?:work|root|home/\\w+)" + "(?:/|\\b)")
MARKDOWN_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def repository_files() -> list[Path]:
    """All files people wrote: those of the known folders and of the top, without build output."""
    found = [path for path in ROOT.iterdir() if path.name != ".git"]
    for folder in FOLDERS:
        found += (ROOT / folder).rglob("*")
    return sorted(
        path
        for path in found
        if path.is_file() and path.suffix not in BUILT_SUFFIXES and path.name != "_native.c"
    )


@pytest.fixture(scope="module")
def files() -> list[Path]:
    return repository_files()


@pytest.fixture(scope="module")
def sources(files: list[Path]) -> list[Path]:
    named = {ROOT / "Makefile", ROOT / ".ci" / "run"}
    return [f for f in files if f.suffix in SOURCE_SUFFIXES or f.name == "Makefile" or f in named]


@pytest.fixture(scope="module")
def modules(files: list[Path]) -> dict[Path, ast.Module]:
    """Every module of the shipped packages, parsed."""
    return {
        path.relative_to(ROOT): ast.parse(path.read_text())
        for path in files
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    }


def imported_packages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every absolute import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]


def public_definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public functions, classes and methods with their dotted names; no locals, no overloads."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_") or any(
            ast.unparse(decorator).endswith(("overload", ".setter"))
            for decorator in node.decorator_list
        ):
            continue
        yield prefix + node.name, node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node, f"{prefix}{node.name}.")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_source_file_names_its_licence_in_the_first_two_lines(sources: list[Path]) -> None:
    assert sources
    missing = [
        relative(path)
        for path in sources
        if SPDX not in "\n".join(path.read_text().splitlines()[:2]) and path.stat().st_size
    ]
    assert not missing


def test_imports_point_one_way(modules: dict[Path, ast.Module]) -> None:
    assert modules
    wrong = [
        f"{path}:{line} imports {package}"
        for path, tree in modules.items()
        for line, package in imported_packages(tree)
        if package in FORBIDDEN_IMPORTS[path.parts[0]] | {"tests"}
    ]
    assert not wrong


def test_everything_public_has_a_docstring(modules: dict[Path, ast.Module]) -> None:
    missing = [str(path) for path, tree in modules.items() if not ast.get_docstring(tree)]
    missing += [
        f"{path}: {name}"
        for path, tree in modules.items()
        for name, node in public_definitions(tree)
        if not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    assert not missing


def test_long_files_say_why_they_are_long(sources: list[Path]) -> None:
    unexplained = []
    for path in sources:
        lines = path.read_text().splitlines()
        if len(lines) > MAX_LINES and not LENGTH_EXCUSE.search("\n".join(lines[:60])):
            unexplained.append(f"{relative(path)}: {len(lines)} lines")
    assert not unexplained


def test_no_file_holds_a_path_of_somebodys_machine(files: list[Path]) -> None:
    found = []
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{relative(path)}:{number}"
            for number, line in enumerate(text.splitlines(), 1)
            if PRIVATE_PATH.search(line)
        ]
    assert not found


def test_the_lock_file_has_hashes_and_no_index_address() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    blocks = re.split(r"\n(?=[a-z0-9])", text)[1:]
    assert blocks
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked_for = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    wanted = {re.split("[<>=!~;]", each)[0] for each in asked_for}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.M))
    assert {"cffi", "pytest"} <= wanted
    assert {name.replace(".", "-") for name in wanted} - locked == set()


def test_make_help_lists_every_documented_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)
    assert phony
    assert documented == set(phony[1].split())
    output = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shown = {line.split()[0] for line in output.splitlines() if re.match(r"  [a-z-]+ +\S", line)}
    assert documented <= shown


def test_documents_link_only_to_files_that_exist(files: list[Path]) -> None:
    documents = [path for path in files if path.suffix == ".md"]
    assert documents
    broken = []
    for path in documents:
        prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in MARKDOWN_LINK.findall(prose):
            file = target.split("#")[0]
            if "://" in target or target.startswith("mailto:") or not file:
                continue
            if not (path.parent / file).exists():
                broken.append(f"{relative(path)}: {target}")
    assert not broken
