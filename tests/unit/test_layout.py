# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python layout against the C header: a program compiled from the header prints its own."""

import json
import subprocess
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest

from profiler import layout

RECORDER = Path(__file__).parents[2] / "profiler" / "recorder"

STRUCTS = {
    "BqlRecHeader": layout.HEADER,
    "BqlRecLive": layout.LIVE,
    "BqlRecSite": layout.SITE,
    "BqlRecHandover": layout.HANDOVER,
    "BqlRecRow": layout.ROW,
    "BqlRecSpill": layout.SPILL,
    "BqlRecThread": layout.THREAD,
    "BqlRecBlame": layout.BLAME,
    "BqlRecEvent": layout.EVENT,
    "BqlRecQueue": layout.QUEUE,
}
C_NAMES = {
    "clock_start_ticks": "clock_start.ticks",
    "clock_start_monotonic_ns": "clock_start.monotonic_ns",
    "clock_start_realtime_ns": "clock_start.realtime_ns",
}
CONSTANTS = {
    "BQLREC_MAGIC": layout.MAGIC,
    "BQLREC_VERSION": layout.VERSION,
    "BQLREC_BUCKETS": layout.BUCKETS,
    "BQLREC_NEAR_BUCKETS": layout.NEAR_BUCKETS,
    "BQLREC_HISTS": len(layout.Hist),
    "BQLREC_NO_THREAD": layout.NO_THREAD,
    "BQLREC_EVENT_CONTENDED": layout.EVENT_CONTENDED,
    "BQLREC_SITES": layout.ROW_OF_SITE_CAPACITY,
    "BQLREC_WHO(5, 7)": layout.who(5, 7),
    "BQLREC_ROLES": len(layout.Role),
    "BQLREC_KINDS": len(layout.Kind),
    "BQLREC_BLOCKED_REASONS": len(layout.Blocked),
    "BQLREC_EXITS": len(layout.Exit),
    "BQLREC_REQUESTS": len(layout.Request),
}
ENUMS: dict[str, type[IntEnum]] = {
    "BQLREC_CLOCK": layout.ClockKind,
    "BQLREC_ROLE": layout.Role,
    "BQLREC_BLOCKED": layout.Blocked,
    "BQLREC_KIND": layout.Kind,
    "BQLREC_HIST": layout.Hist,
    "BQLREC_EXIT": layout.Exit,
    "BQLREC_REQUEST": layout.Request,
    "BQLREC_THREAD": layout.ThreadState,
    "BQLREC_FILE": layout.FileState,
}


def expected() -> dict[str, int]:
    facts = dict(CONSTANTS)
    for prefix, enum in ENUMS.items():
        facts |= {f"{prefix}_{member.name}": member.value for member in enum}
    for struct, dtype in STRUCTS.items():
        facts[f"sizeof({struct})"] = dtype.itemsize
        assert dtype.fields is not None
        for name, (kind, offset, *_) in dtype.fields.items():
            member = C_NAMES.get(name, name)
            facts[f"offsetof({struct}, {member})"] = offset
            facts[f"sizeof((({struct} *)0)->{member})"] = kind.itemsize
    return facts


@pytest.fixture(scope="module")
def c_says(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    folder = tmp_path_factory.mktemp("layout")
    lines = [
        f'    printf("%s\\"%s\\": %llu", {"1" if i else "0"} ? ",\\n" : "", "{fact}",'
        f" (unsigned long long)({fact}));"
        for i, fact in enumerate(expected())
    ]
    source = folder / "facts.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n"
        '#include "bqlrec_layout.h"\n'
        'int main(void)\n{\n    printf("{");\n' + "\n".join(lines) + '\n    printf("}");\n}\n'
    )
    program = folder / "facts"
    subprocess.run(
        ["gcc", "-std=gnu11", f"-I{RECORDER}", "-o", str(program), str(source)], check=True
    )
    output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    facts: dict[str, int] = json.loads(output)
    return facts


def test_sizes_offsets_and_constants_equal_those_of_the_c_header(
    c_says: dict[str, int],
) -> None:
    assert expected() == c_says


def test_holes_in_the_python_structures_are_cache_line_padding_only() -> None:
    for struct, dtype in STRUCTS.items():
        assert dtype.fields is not None
        covered = np.zeros(dtype.itemsize + 1, dtype=bool)
        covered[-1] = True
        for kind, offset, *_ in dtype.fields.values():
            assert not covered[offset : offset + kind.itemsize].any(), f"{struct}: overlap"
            covered[offset : offset + kind.itemsize] = True
        ends = np.flatnonzero(covered[1:] & ~covered[:-1]) + 1
        assert all(end % 64 == 0 for end in ends), f"{struct}: a member is missing"
