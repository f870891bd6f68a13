# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds what pyproject.toml cannot describe: the C libraries, the cffi extension, the micro-guest.

All C is compiled by native.mk; BQLSCOPE_VARIANT selects release (default), debug, asan or tsan.
"""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py


def native_make(*arguments: str) -> None:
    """Run native.mk on all cores."""
    command = ["make", "-f", "native.mk", "--no-print-directory", f"-j{os.cpu_count() or 1}"]
    subprocess.run([*command, *arguments], check=True)


VARIANT = os.environ.get("BQLSCOPE_VARIANT", "release")
PRELOAD = Path("profiler", "preload", "libbqlrecorder.so")


def make_preload() -> None:
    """Build the library for other processes beside its sources; it is package data.

    A process may have it mapped: it is replaced, not written to.
    """
    native_make("VARIANT=release", "recorder-so")
    fresh = PRELOAD.with_suffix(".new")
    shutil.copy(Path("build", "release", PRELOAD.name), fresh)
    fresh.replace(PRELOAD)


class NativeBuildPy(build_py):
    """Build the package data first: the micro-guest and the recorder for other processes."""

    def run(self) -> None:
        make_preload()
        if platform.machine() == "x86_64":  # elsewhere the qtest accelerator needs no guest code
            native_make("guest")
        super().run()


class NativeBuildExt(build_ext):
    """Compile the static library and the micro-guest first, then the extension that links them."""

    def run(self) -> None:
        native_make(f"VARIANT={VARIANT}", "lib")
        if self.inplace:
            make_preload()
        if self.inplace and platform.machine() == "x86_64":
            native_make("guest")
        super().run()


setup(
    cffi_modules=["vmm/native/build.py:ffibuilder"],
    cmdclass={"build_py": NativeBuildPy, "build_ext": NativeBuildExt},
)
