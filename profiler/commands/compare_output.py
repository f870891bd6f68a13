# SPDX-License-Identifier: GPL-2.0-or-later
"""What `bqlscope compare` leaves behind: the JSON document and the directory of `--save`."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profiler.commands.output import STDOUT, write_whole
from profiler.compare.fail_if import Outcome
from profiler.compare.page import Judged
from profiler.compare.result import SCHEMA, to_json
from profiler.compare.statistics import finite
from profiler.errors import UserError


@contextmanager
def save_directory(target: Path | None) -> Iterator[Path | None]:
    """A directory inside `target` that becomes its content if the block succeeds.

    Raises `UserError` when the directory cannot be made or already holds a comparison.
    """
    if target is None:
        yield None
        return
    created = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        if (target / "compare.json").exists():
            raise UserError(f"--save {target}: there is a saved comparison already")
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
    except OSError as error:
        raise UserError(f"--save {target}: {error.strerror}") from error
    done = False
    try:
        yield partial
        for path in sorted(partial.iterdir()):
            os.replace(path, target / path.name)
        done = True
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if created and not done:
            shutil.rmtree(target, ignore_errors=True)


def write_document(target: Path, document: dict[str, Any]) -> None:
    """Write to a file, whole or not at all, or to standard output for `-`.  Raises `UserError`."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if target == STDOUT:
        sys.stdout.write(text)
        return
    try:
        write_whole(target, text)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}", 1) from error


def build_document(judged: Sequence[Judged], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The JSON document: of one VMM its own, of several all of theirs under `vmms`."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    documents = {}
    for result, verdict in judged:
        key = result.plan.key
        checks = [
            {"check": o.check.text, "value": finite(o.value), "failed": o.failed}
            for o in outcomes
            if o.check.vmm == key
        ]
        documents[key] = {**to_json(result, date), "verdict": verdict.to_json(), "checks": checks}
    if len(documents) == 1:
        (document,) = documents.values()
        return document
    return {"schema": SCHEMA, "vmms": documents}
