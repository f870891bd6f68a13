#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs every libFuzzer harness (tests/fuzz/NAME_fuzz.c) for a while, then tests/fuzz/test_*.py.
# A harness keeps its corpus in build/fuzz/corpus/NAME, seeded from tests/fuzz/corpus/NAME.
set -euo pipefail
cd "$(dirname "$0")/.."

python=python3 seconds=60
while (($#)); do
    case $1 in
    --python) python=$2 ;;
    --seconds) seconds=$2 ;;
    *) echo "usage: $0 [--python PY] [--seconds N]" >&2; exit 2 ;;
    esac
    shift 2
done
shopt -s nullglob
harnesses=(tests/fuzz/*_fuzz.c)
if ((${#harnesses[@]})); then
    command -v clang >/dev/null || { echo "fuzz: clang is missing: apt install clang" >&2; exit 1; }
    make -f native.mk VARIANT=fuzz CC=clang fuzzers
fi
for source in "${harnesses[@]}"; do
    name=$(basename "$source" .c)
    mkdir -p "build/fuzz/corpus/$name"
    seeds=()
    [[ -d tests/fuzz/corpus/$name ]] && seeds=("tests/fuzz/corpus/$name")
    echo "== $name, $seconds s"
    "build/fuzz/tests/fuzz/$name" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="build/fuzz/" "build/fuzz/corpus/$name" "${seeds[@]}"
done
tests=(tests/fuzz/test_*.py)
if ((${#tests[@]})); then
    HYPOTHESIS_PROFILE=stress "$python" -m pytest --timeout=3600 "${tests[@]}"
fi
