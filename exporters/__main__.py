# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m exporters`: the exporter without an installed entry point, as other verbs start it."""

import sys

from profiler.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
