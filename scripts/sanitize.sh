#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs pytest on an extension built with a sanitizer: sanitize.sh [--python PY] asan|tsan PYTEST-ARGS…
#
# The extension goes to build/VARIANT/python, so the one in the source tree stays as it is;
# tests/conftest.py puts that directory in front when BQLSCOPE_VARIANT says so. The interpreter is
# not instrumented, hence the preloaded runtime. Address space randomisation is off because the
# shadow memory does not fit every layout.
set -euo pipefail
cd "$(dirname "$0")/.."

python=python3
if [[ ${1:-} == --python ]]; then
    python=$2
    shift 2
fi
variant=${1:?asan or tsan}
shift

export BQLSCOPE_VARIANT=$variant
"$python" setup.py --quiet build_ext \
    --build-lib "build/$variant/python" --build-temp "build/$variant/temp"

# libstdc++ comes along because the sanitizer looks up the C++ throw functions when it starts,
# long before an extension module written in C++ is loaded.
preload="$(gcc -print-file-name="lib$variant.so") $(gcc -print-file-name=libstdc++.so.6)"
# Python keeps much of its memory until the end, so leak reports would only be about Python.
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:ignore_noninstrumented_modules=1:${TSAN_OPTIONS:-}"
export PYTHONMALLOC=malloc
# The instrumented extension has more thread-local storage than the loader keeps spare for
# libraries that come late.
export GLIBC_TUNABLES=glibc.rtld.optional_static_tls=65536
export HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-sanitize}

paths=()
for argument in "$@"; do
    if [[ $argument == tests/* && ! -e ${argument%%::*} ]]; then
        echo "sanitize: $argument does not exist, left out" >&2
    else
        paths+=("$argument")
    fi
done
# A report goes to file descriptor 2 right before the process ends, so pytest must leave that alone.
exec env LD_PRELOAD="$preload" setarch -R "$python" -m pytest --timeout=600 --capture=sys \
    -p no:cacheprovider "${paths[@]}"
