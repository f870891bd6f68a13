#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Prepares a plain Debian or Ubuntu machine. Safe to run again; installs only what is missing.
#
#   bootstrap.sh --venv DIR     compiler and headers, then DIR with the locked Python packages
#   bootstrap.sh --test-tools   programs that some tests use, as far as that is possible
#   bootstrap.sh --prometheus   Prometheus, for the demo of the exporter
#   bootstrap.sh --qemu         QEMU 10 (from backports on Debian 12) and fio; asks for root
#   bootstrap.sh --backports    let apt see Debian 12's backports; installs nothing
#
# Without root nothing of the system is touched: the one command to run is printed instead.
set -euo pipefail
cd "$(dirname "$0")/.."

NOVNC=1.7.0

say() { printf 'bootstrap: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

installed() {
    [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]
}

missing_of() {
    local package
    for package in "$@"; do
        installed "$package" || printf '%s\n' "$package"
    done
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null >&2 && apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# The newest Python in 3.11 … 3.13, with the headers that building the extension takes.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null && "$name" - 2>/dev/null <<'PY'; then
import os, sys, sysconfig
import ensurepip, venv
headers = os.path.join(sysconfig.get_path("include"), "Python.h")
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(headers)))
PY
            command -v "$name"
            return
        fi
    done
    return 1
}

# A release whose python3 is too old may still package a newer one beside it.
python_packages() {
    local name=python3 candidate
    for candidate in python3.11 python3.12 python3.13; do
        apt-cache show "$candidate-venv" >/dev/null 2>&1 && name=$candidate
    done
    printf '%s\n' "$name" "$name-venv" "$name-dev"
}

require_system_packages() {
    local wanted=(gcc libc6-dev make liburing-dev) missing
    if ! command -v dpkg-query >/dev/null; then
        say "no dpkg here: assuming gcc, make, liburing and Python >= 3.11 headers are installed"
        return
    fi
    if ! find_python >/dev/null; then
        ((EUID != 0)) || apt-get update -qq </dev/null >&2 || true
        mapfile -t -O "${#wanted[@]}" wanted < <(python_packages)
    fi
    mapfile -t missing < <(missing_of "${wanted[@]}")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        die "missing packages; run: sudo apt install ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    apt_install "${missing[@]}"
}

make_venv() {
    local venv=$1 python
    require_system_packages
    if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        python=$(find_python) || die "no Python >= 3.11 with its headers (Python.h) and venv found"
        say "creating $venv with $python"
        "$python" -m venv --clear "$venv"
    fi
    say "installing locked Python packages"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r requirements/dev.txt
}

# Best effort by design: the tests that need these programs skip and name what they miss.
install_test_tools() {
    command -v dpkg-query >/dev/null || return 0
    want_test_tools qemu-system-x86 qemu-utils fio util-linux prometheus openssl tmux
    want_test_tools tigervnc-viewer xvfb xdotool
    # On its own, because not every release packages it: Ubuntu's is a snap.
    if ! command -v chromium chromium-browser google-chrome >/dev/null; then
        want_test_tools chromium fonts-dejavu-core
    fi
    want_novnc build/novnc
}

# The VNC client that runs in a browser: scripts without dependencies, packed by its authors.
want_novnc() {
    local archive
    [[ -d $1 ]] && return
    mkdir -p "$1.new"
    if command -v npm >/dev/null &&
        archive=$(npm pack --silent --pack-destination "$1.new" "@novnc/novnc@$NOVNC" </dev/null) &&
        tar -xzf "$1.new/$archive" -C "$1.new" --strip-components=1; then
        mv "$1.new" "$1"
    else
        rm -rf "$1.new"
        say "the test of noVNC will be skipped; it takes npm and the package @novnc/novnc"
    fi
}

want_test_tools() {
    local missing
    mapfile -t missing < <(missing_of "$@")
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) || ! apt_install "${missing[@]}"; then
        say "tests that use ${missing[*]} will be skipped; to have them: sudo apt install ${missing[*]}"
    fi
}

# Debian's package starts a server on port 9090 as well; the demo runs its own and leaves that alone.
install_prometheus() {
    command -v prometheus >/dev/null && return 0
    if ((EUID != 0)) || ! command -v dpkg-query >/dev/null; then
        die "no prometheus here; run: sudo apt install prometheus"
    fi
    say "installing prometheus"
    apt_install prometheus
}

# Prints the address of the machine's own Debian source, in deb822 or one-line form. Which of the
# files exist differs from machine to machine; an empty answer is for the caller to judge.
debian_uri() {
    local files
    shopt -s nullglob
    files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list)
    shopt -u nullglob
    sed -snE -e 's/^URIs:[[:space:]]*([^[:space:]]+).*/\1/p' \
        -e 's/^deb[[:space:]]+(\[[^]]*\][[:space:]]+)?([^[:space:]]+)[[:space:]]+bookworm[[:space:]].*/\2/p' \
        "${files[@]}" 2>/dev/null | awk '!/security/ && /debian/ { print; exit }' || true
}

enable_backports() {
    local uri
    grep -rqs 'bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d && return 0
    uri=$(debian_uri)
    [[ -n $uri ]] || die "found no Debian source to copy the address from"
    say "enabling bookworm-backports"
    printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' \
        "$uri" /usr/share/keyrings/debian-archive-keyring.gpg \
        >/etc/apt/sources.list.d/bqlscope-backports.sources
}

install_qemu() {
    local codename
    ((EUID == 0)) || die "installing QEMU takes root: sudo make bench-deps"
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    if [[ $codename == bookworm ]]; then
        enable_backports
        apt_install -t bookworm-backports qemu-system-x86 qemu-utils
        apt_install fio
    else
        apt_install qemu-system-x86 qemu-utils fio
    fi
    qemu-system-x86_64 --version | head -n 1 >&2
}

see_backports() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    [[ $codename == bookworm ]] || return 0
    enable_backports
    apt-get update -qq </dev/null >&2
}

case "${1:-}" in
--venv) make_venv "${2:?--venv takes a directory}" ;;
--test-tools) install_test_tools ;;
--prometheus) install_prometheus ;;
--qemu) install_qemu ;;
--backports) see_backports ;;
*) die "usage: $0 --venv DIR | --test-tools | --prometheus | --qemu | --backports" ;;
esac
