# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every C test program as one test. Programs are built once, with the release flags."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = sorted(source.stem for source in (ROOT / "tests" / "native").glob("*_test.c"))
LIMIT_SECONDS = 120


@pytest.fixture(scope="session")
def built_programs() -> Path:
    """Compile the programs; the directory that holds them."""
    make = ["make", "-f", "native.mk", f"-j{os.cpu_count() or 1}", "VARIANT=release", "tests"]
    # An outer make passes its flags and VARIANT on through the environment.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    result = subprocess.run(make, cwd=ROOT, env=clean, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"the C test programs do not build:\n{result.stdout}{result.stderr}")
    return ROOT / "build" / "release" / "tests" / "native"


@pytest.mark.timeout(LIMIT_SECONDS + 60)  # the first program also waits for the compiler
@pytest.mark.parametrize("program", PROGRAMS)
def test_c_program_succeeds(program: str, built_programs: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [built_programs / program],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_SECONDS,
        text=True,
        errors="replace",
        check=False,
    )
    assert result.returncode == 0, f"{program} ended with {result.returncode}:\n{result.stdout}"
