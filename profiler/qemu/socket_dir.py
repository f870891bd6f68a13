# SPDX-License-Identifier: GPL-2.0-or-later
"""A private directory for the monitor that `bqlscope qemu` adds."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from profiler.errors import UserError

_LONGEST = 100  # bytes; the kernel takes 107 for the path of a Unix socket
_NAME = "qmp.sock"


class SocketDirectory:
    """Mode 0700. A context manager that removes it at the end unless `keep` is set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._places = [
            environ.get("XDG_RUNTIME_DIR", ""),
            environ.get("TMPDIR", ""),
            tempfile.gettempdir(),
            "/tmp",
        ]
        self.keep = False
        self.path = Path()

    def __enter__(self) -> Path:
        """Make the directory; the path for the socket in it. Raises UserError."""
        for place in self._places:
            if not os.path.isabs(place) or len(os.fsencode(place)) > _LONGEST - 32:
                continue
            try:
                self.path = Path(tempfile.mkdtemp(prefix="bqlscope-", dir=place))
            except OSError:
                continue
            return self.path / _NAME
        raise UserError("no directory for QEMU's monitor: set TMPDIR, or use --no-monitor")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)
