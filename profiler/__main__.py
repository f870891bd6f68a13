# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m profiler`: the `bqlscope` command without an installed entry point."""

import sys

from profiler.cli import main

if __name__ == "__main__":
    sys.exit(main())
