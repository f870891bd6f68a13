# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds what pyproject.toml cannot describe: the C library, the cffi extension, the micro-guest.

All C is compiled by native.mk; BQLSCOPE_VARIANT selects release (default), debug, asan or tsan.
"""

import os
import subprocess

from setuptools import setup
from setuptools.command.build_ext import build_ext


class NativeBuildExt(build_ext):
    """Compile the static library and the micro-guest first, then the extension that links them."""

    def run(self) -> None:
        variant = os.environ.get("BQLSCOPE_VARIANT", "release")
        jobs = f"-j{os.cpu_count() or 1}"
        subprocess.run(["make", "-f", "native.mk", jobs, f"VARIANT={variant}", "lib"], check=True)
        subprocess.run(["make", "-f", "native.mk", "guest"], check=True)
        super().run()


setup(cffi_modules=["vmm/native/build.py:ffibuilder"], cmdclass={"build_ext": NativeBuildExt})
