# SPDX-License-Identifier: GPL-2.0-or-later
"""The root command: what it imports, and how errors end."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

from profiler import cli
from profiler.commands import VERBS, Verb
from profiler.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with a command `go` that is installed as the verb `go`; its body is `action`."""
    module = ModuleType("a_verb_for_tests")

    @click.command()
    @click.option("--count", type=int)
    @click.pass_context
    def go(ctx: click.Context, count: int | None) -> None:
        module.action(ctx)

    module.go = go  # type: ignore[attr-defined]
    module.action = lambda ctx: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(VERBS, "go", Verb("a_verb_for_tests:go", "Test."))
    return module


def raising(error: BaseException) -> object:
    def action(ctx: click.Context) -> None:
        raise error

    return action


def test_the_verbs_are_the_entry_points_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entry_points = project["entry-points"]["bqlscope.commands"]
    assert {name: verb.target for name, verb in VERBS.items()} == entry_points


def test_the_root_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    output = capsys.readouterr().out
    for name, known in VERBS.items():
        assert f"  {name} " in output
        assert known.summary.split(".")[0] in " ".join(output.split())


def test_the_root_help_imports_no_verb_and_no_heavy_library() -> None:
    script = (
        "import sys, profiler.cli as c; c.main(['--help']);"
        "print([m for m in ('numpy', 'rich', 'vmm', 'profiler.reader')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_the_program_runs_without_installed_metadata() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "profiler", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("bqlscope ")


def test_a_user_error_is_one_line_and_its_exit_code(
    verb: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    verb.action = raising(UserError("no such\n  machine", exit_code=7))  # type: ignore[attr-defined]
    assert cli.main(["go"]) == 7
    assert capsys.readouterr().err == "bqlscope: no such machine\n"


def test_a_click_exception_of_another_package_is_one_line_too(
    verb: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    verb.action = raising(click.ClickException("disk is full"))  # type: ignore[attr-defined]
    assert cli.main(["go"]) == 1
    assert capsys.readouterr().err == "bqlscope: disk is full\n"


def test_an_interrupt_ends_with_130(verb: ModuleType) -> None:
    verb.action = raising(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert cli.main(["go"]) == 130


def test_a_verb_sets_its_exit_status(verb: ModuleType) -> None:
    verb.action = lambda ctx: ctx.exit(3)  # type: ignore[attr-defined]
    assert cli.main(["go"]) == 3


def test_a_verb_that_returns_succeeds(verb: ModuleType) -> None:
    assert cli.main(["go"]) == 0


@pytest.mark.parametrize("arguments", [["nonsense"], ["go", "--count", "x"], ["--nonsense"]])
def test_a_wrong_command_line_ends_with_2(
    verb: ModuleType, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bqlscope: ")
    assert "--help)" in line


def test_a_near_miss_of_a_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["comapre"]) == 2
    assert "did you mean 'compare'?" in capsys.readouterr().err


@pytest.mark.parametrize(("redirection", "words"), [(">/dev/full", "No space"), (">&-", "")])
def test_output_that_goes_nowhere_is_no_traceback(redirection: str, words: str) -> None:
    command = f"{sys.executable} -m profiler --help {redirection}"
    done = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == (1 if words else 0)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == bool(words)
    assert words in done.stderr


def test_a_stream_that_knows_no_dash_is_no_traceback() -> None:
    script = (
        "import profiler.cli as c, click; c.root.callback = None;"
        "c.LazyGroup.get_command = lambda *_:"
        " click.Command('x', callback=lambda: print('1\u20132'));"
        "c.main(['x'])"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("1?2\n", "")


@pytest.mark.parametrize(
    "target",
    ["a_module_that_is_not_there:go", "a_verb_for_tests:stop", "profiler.errors:UserError"],
)
def test_a_verb_that_cannot_be_loaded_is_a_user_error(
    verb: ModuleType,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(VERBS, "go", Verb(target, "Test."))
    assert cli.main(["go"]) == 2
    assert capsys.readouterr().err.startswith("bqlscope: the verb 'go' cannot be loaded: ")


def test_verbs_of_other_distributions_are_found(
    verb: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(VERBS, "go")
    monkeypatch.setattr(cli, "_installed_verbs", lambda: {"go": "a_verb_for_tests:go"})
    assert cli.main(["go"]) == 0
    assert cli.main(["--help"]) == 0
    assert "go" in capsys.readouterr().out
