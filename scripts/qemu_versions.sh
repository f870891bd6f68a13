#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Puts a second QEMU beside the installed one, for the tests that want both of the versions this
# project supports: the distribution's packages are unpacked into a directory, nothing is installed.
#
#   qemu_versions.sh DIR    makes DIR/MAJOR/qemu-system-x86_64 for every QEMU that apt knows
#
# The libraries are those of the installed QEMU (make test installs it first). Best effort by design:
# without root, Debian 12 or a network the tests run on the QEMU that is there.
set -euo pipefail

directory=${1:?usage: $0 DIR}
here=$(cd "$(dirname "$0")" && pwd)

say() { printf 'qemu_versions: %s\n' "$*" >&2; }

# Versions that apt offers, newest first, one for each major release.
offered() {
    apt-cache madison qemu-system-x86 2>/dev/null |
        awk -F'|' '{ gsub(/ /, "", $2); v = $2; sub(/^[0-9]+:/, "", v); split(v, n, ".");
                     if (!seen[n[1]]++) print n[1], $2 }'
}

# apt's own version of each package of one QEMU build; seabios only where it comes with the suite.
fetch() {
    local version=$1 package
    for package in qemu-system-x86 qemu-system-common qemu-system-data; do
        apt-get download -qq "$package=$version" 2>/dev/null ||
            apt-get download -qq "$package=${version%+b*}" # the data is of the source's version
    done
    case $version in
    *bpo*) apt-get download -qq seabios/bookworm-backports ;;
    *) apt-get download -qq seabios ;;
    esac
}

unpack() {
    local major=$1 version=$2 target work root archive
    target=$directory/$major
    [[ ! -x $target/qemu-system-x86_64 ]] || return 0
    work=$(mktemp -d)
    if ! (cd "$work" && fetch "$version"); then
        say "cannot download QEMU $version: tests that want it use what is installed"
        rm -rf "$work"
        return 0
    fi
    mkdir -p "$target"
    for archive in "$work"/*.deb; do
        dpkg -x "$archive" "$target/root"
    done
    rm -rf "$work"
    root=$(cd "$target/root" && pwd)
    cat >"$target/qemu-system-x86_64" <<SCRIPT
#!/bin/sh
exec "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" "\$@"
SCRIPT
    chmod +x "$target/qemu-system-x86_64"
    if ! "$target/qemu-system-x86_64" --version >/dev/null; then
        say "QEMU $version does not start here: it is left out"
        rm -rf "$target"
    fi
}

if ! command -v apt-get >/dev/null || ((EUID != 0)); then
    say "needs apt and root to fetch further QEMU versions: the installed one is used alone"
    exit 0
fi
"$here/bootstrap.sh" --backports || true
mkdir -p "$directory"
while read -r major version; do
    unpack "$major" "$version"
done < <(offered)
