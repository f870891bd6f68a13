#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Proves the devices with somebody else's drivers: builds a small Linux kernel from Debian's own
# kernel source, boots it with an ext2 image on an iothread, and looks for the line that says that
# its virtio-blk driver has mounted the root file system. Nothing in user space is needed for that,
# so it works on hosts where guest system calls do not (kvm_pvm).
#
#   linux_guest.sh [--kernel VMLINUX]     (default: build one in build/linux, some minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

work=build/linux
kernel=$work/source/vmlinux
if [[ ${1:-} == --kernel ]]; then
    kernel=${2:?path of a vmlinux with CONFIG_PVH, VIRTIO_MMIO_CMDLINE_DEVICES, VIRTIO_BLK, EXT2}
fi
mkdir -p "$work"

packages=(linux-source flex bison bc libelf-dev cpio e2fsprogs xz-utils)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' \
        || missing+=("$package")
done
if [[ ! -e $kernel && ${#missing[@]} -gt 0 ]]; then
    if [[ $EUID -ne 0 ]]; then
        echo "linux_guest: first run: sudo apt install ${missing[*]}" >&2
        exit 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

build_kernel() {
    local archive options
    archive=$(ls /usr/src/linux-source-*.tar.xz | tail -1)
    echo "linux_guest: unpacking $archive"
    mkdir -p "$work/source"
    tar xf "$archive" -C "$work/source" --strip-components=1
    options=(64BIT HYPERVISOR_GUEST PARAVIRT PVH KVM_GUEST PRINTK TTY SERIAL_8250
        SERIAL_8250_CONSOLE BINFMT_ELF BLOCK BLK_DEV VIRTIO_MENU VIRTIO_MMIO
        VIRTIO_MMIO_CMDLINE_DEVICES VIRTIO_BLK EXT2_FS X86_UP_APIC X86_UP_IOAPIC DEVTMPFS
        PROC_FS SYSFS HZ_100)
    (
        cd "$work/source"
        make -s tinyconfig
        printf 'CONFIG_%s=y\n' "${options[@]}" >fragment
        ./scripts/kconfig/merge_config.sh -m .config fragment >/dev/null
        make -s olddefconfig
        echo "linux_guest: compiling (log: $work/build.log)"
        make -s "-j$(nproc)" vmlinux >../build.log 2>&1 || { tail -20 ../build.log; exit 1; }
    )
}
[[ -e $kernel ]] || build_kernel

image=$work/root.img
rm -f "$image"
truncate -s 16M "$image"
mkdir -p "$work/root"
echo 'hello from the host' >"$work/root/hello"
mke2fs -q -t ext2 -d "$work/root" "$image"

# The clearcpuid, noxsave and lpj parameters spare hosts that emulate guest ring 0; hardware
# virtualisation does not need them.
parameters='console=ttyS0 panic=-1 reboot=t root=/dev/vda rw rodata=off noxsave tsc=reliable'
parameters+=' lpj=2000000 clearcpuid=smap,smep,popcnt,cx16'
log=$work/console.log
echo "linux_guest: booting $kernel (console: $log)"
status=0
timeout 300 .venv/bin/python -m vmm run --kernel "$kernel" --memory 64M --serial "file:$log" \
    --object iothread,id=io0 --drive "file=$image,iothread=io0" --append "$parameters" || status=$?
# An image without an init ends in a panic, and panic=-1 in a triple fault: a guest crash here.
if grep -a 'VFS: Mounted root' "$log"; then
    echo 'linux_guest: Linux mounted its root from virtio-blk on an iothread'
else
    tail -15 "$log"
    echo "linux_guest: root was not mounted (status $status)" >&2
    exit 1
fi
