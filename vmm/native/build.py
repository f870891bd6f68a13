# SPDX-License-Identifier: GPL-2.0-or-later
"""cffi build script of ``vmm._native`` (API mode): one extension over the static C library.

The declarations live in ``cdef/``, one file an area. Order matters: a file may only use types
declared before it. The kvm accelerator is x86-64's; elsewhere the extension is built without it.
"""

import os
import platform
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
AREAS = (
    "recorder",
    "bql",
    "thread",
    "memory",
    "aio",
    "worker_pool",
    "iothread",
    "block",
    "virtqueue",
    "iospace",
    "virtio",
    "vcpu",
    "devices",
    *(("kvm",) if platform.machine() == "x86_64" else ()),
    "rfb",
    "callbacks",
    "bench",
    "testing",
)
VARIANT = os.environ.get("BQLSCOPE_VARIANT", "release")
SANITIZE = {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}


def declarations() -> str:
    """All cdef files, concatenated in the order of AREAS."""
    return "\n".join((HERE / "cdef" / f"{area}.h").read_text() for area in AREAS)


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "vmm._native",
    (HERE / "cdef" / "preamble.c").read_text(),
    include_dirs=[str(HERE), str(ROOT / "profiler" / "recorder"), str(ROOT / "vmm" / "guest")],
    extra_objects=[str(ROOT / "build" / VARIANT / "libbqlvmm.a")],
    libraries=["uring", "m", "dl"],
    extra_compile_args=["-std=gnu11", "-D_GNU_SOURCE", *SANITIZE.get(VARIANT, [])],
    extra_link_args=SANITIZE.get(VARIANT, []),
    depends=[str(ROOT / "build" / VARIANT / "libbqlvmm.a")],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
