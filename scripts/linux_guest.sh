#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Proves the devices with somebody else's drivers: builds a small Linux kernel from Debian's own
# kernel source, boots it with an ext2 image on an iothread, and looks for the line that says that
# its virtio-blk driver has mounted the root file system. Nothing in user space is needed for that,
# so it works on hosts where guest system calls do not (kvm_pvm). By then its keyboard and mouse drivers
# have made their acquaintance too.
#
# A second boot has a screen: the kernel is told of it by boot_params, writes its messages there, and
# what they look like in the end is in build/linux/screen.png.
#
#   linux_guest.sh [--kernel VMLINUX]     (default: build one in build/linux, some minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

work=build/linux
kernel=$work/source/vmlinux
if [[ ${1:-} == --kernel ]]; then
    kernel=${2:?path of a vmlinux with CONFIG_PVH, VIRTIO_MMIO_CMDLINE_DEVICES, VIRTIO_BLK, EXT2, FB_VESA}
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
        PROC_FS SYSFS HZ_100
        VT VT_CONSOLE HW_CONSOLE FB FB_VESA FRAMEBUFFER_CONSOLE FONTS FONT_8x16 LOGO
        LOGO_LINUX_CLUT224
        INPUT INPUT_KEYBOARD KEYBOARD_ATKBD INPUT_MOUSE MOUSE_PS2 SERIO SERIO_I8042 SERIO_LIBPS2
        INPUT_EVDEV INPUT_MOUSEDEV MAGIC_SYSRQ)
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
# A kernel of before there was a screen is built anew.
if [[ ! -e $kernel ]] || { [[ $kernel == "$work"/* ]] \
    && ! grep -q '^CONFIG_FB_VESA=y' "$work/source/.config"; }; then
    build_kernel
fi

image=$work/root.img
rm -f "$image"
truncate -s 16M "$image"
mkdir -p "$work/root"
echo 'hello from the host' >"$work/root/hello"
mke2fs -q -t ext2 -d "$work/root" "$image"

# The clearcpuid, noxsave and lpj parameters spare hosts that emulate guest ring 0; hardware
# virtualisation does not need them.
parameters='console=tty0 console=ttyS0 panic=-1 reboot=t root=/dev/vda rw rodata=off noxsave tsc=reliable'
parameters+=' lpj=2000000 clearcpuid=smap,smep,popcnt,cx16'

# boot LOG OPTION…: until the root is mounted. An image without an init ends in a panic, and panic=-1
# in a triple fault, which resets the machine: --no-reboot ends it instead.
boot() {
    local log=$1 status=0
    shift
    rm -f "$log"
    echo "linux_guest: booting $kernel (console: $log)"
    timeout 600 .venv/bin/python -m vmm run --kernel "$kernel" --memory 64M --serial "file:$log" \
        --no-reboot \
        --object iothread,id=io0 --drive "file=$image,iothread=io0" --append "$parameters" "$@" \
        || status=$?
    if grep -a 'VFS: Mounted root' "$log"; then
        echo 'linux_guest: Linux mounted its root from virtio-blk on an iothread'
    else
        tail -15 "$log"
        echo "linux_guest: root was not mounted (status $status)" >&2
        exit 1
    fi
}

boot "$work/console.log" # by way of PVH
for device in 'AT Translated Set 2 keyboard' 'ImExPS/2 Generic Explorer Mouse'; do
    if ! grep -a "input: $device" "$work/console.log"; then
        echo "linux_guest: Linux has found no '$device' (CONFIG_KEYBOARD_ATKBD, MOUSE_PS2)" >&2
        exit 1
    fi
done

log=$work/console-screen.log
screen=$work/screen.png
rm -f "$screen"
boot "$log" --framebuffer 1024x768 --screendump "$screen" # by the 64-bit entry
if ! grep -a 'Console: switching to .* frame buffer device' "$log"; then
    echo 'linux_guest: Linux has no console on the screen (CONFIG_FB_VESA, FRAMEBUFFER_CONSOLE)' >&2
    exit 1
fi
# The penguin: yellow feet on a black ground, where nothing else on a console is of such a colour.
.venv/bin/python - "$screen" <<'PYTHON'
import sys
import numpy as np
from PIL import Image

logo = np.asarray(Image.open(sys.argv[1]).convert("RGB")).astype(int)[:80, :80]
yellow = (logo[..., 0] > 200) & (logo[..., 1] > 150) & (logo[..., 2] < 80)
if yellow.sum() < 100:
    sys.exit(f"linux_guest: no penguin in the corner of {sys.argv[1]}")
print(f"linux_guest: Linux draws on the screen: see {sys.argv[1]}")
PYTHON
