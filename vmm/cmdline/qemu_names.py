# SPDX-License-Identifier: GPL-2.0-or-later
"""Options of QEMU that this VMM does not have: those that change nothing here, and the answers.

Nobody who moves a QEMU command line here should have to guess: an option is taken, dropped because
it asks for what is so anyway, or answered in one line.
"""

HARMLESS: dict[str, tuple[str, ...] | None] = {
    "nodefaults": None,
    "no-user-config": None,
    "no-acpi": None,
    "no-hpet": None,
    "nographic": None,
    "display": ("none",),
    "vga": ("none",),
    "net": ("none",),
    "nic": ("none",),
    "parallel": ("none",),
}
"""By name without dashes: the values that ask for what is so; None: the option has no value."""

OTHERWISE = {
    "display": "there are no windows: use -vnc, or -display none",
    "vga": "there is no VGA adapter: use -vga none",
    "net": "there are no network devices: use -net none",
    "nic": "there are no network devices: use -nic none",
    "parallel": "there is no parallel port: use -parallel none",
}
"""What to answer to another value of a harmless option."""

_NO_FIRMWARE = "there is no firmware: -kernel boots a PVH kernel directly"
_USE_DRIVE = "use -drive file=FILE (raw images, virtio-blk)"
_NO_MIGRATION = "there is no migration"
ANSWERS = {
    "bios": _NO_FIRMWARE,
    "pflash": _NO_FIRMWARE,
    "boot": "there is no firmware to choose a disk: -append root=… does, bootindex= is a property",
    "cdrom": _USE_DRIVE,
    "hda": _USE_DRIVE,
    "hdb": _USE_DRIVE,
    "hdc": _USE_DRIVE,
    "hdd": _USE_DRIVE,
    "fda": _USE_DRIVE,
    "sd": _USE_DRIVE,
    "snapshot": "there are no overlays: use readonly=on, or a copy of the image",
    "chardev": "name the target itself, as in -serial file:PATH",
    "mon": "use -qmp or -monitor with the target itself",
    "netdev": "there are no network devices",
    "usb": "there is no USB",
    "usbdevice": "there is no USB",
    "numa": "there is no NUMA topology",
    "incoming": _NO_MIGRATION,
    "only-migratable": _NO_MIGRATION,
    "loadvm": "there are no snapshots",
    "daemonize": "run it under a service manager, or with & in a shell",
    "pidfile": "run it under a service manager; the shell's $! has the process id",
    "readconfig": "use a machine file: bqlscope run MACHINE.toml",
    "writeconfig": "use --dump-machine",
    "rtc": "there is no real-time clock",
    "gdb": "there is no gdb stub",
    "s": "there is no gdb stub",
    "icount": "there is no emulated CPU",
    "bt": "there are no Bluetooth devices",
    "fw_cfg": "there is no fw_cfg device",
    "smbios": _NO_FIRMWARE,
    "acpitable": "there is no ACPI",
    "global": "set the property on the object itself",
    "sandbox": "there is no seccomp filter of its own: use a service manager's",
    "runas": "start it as that user",
    "chroot": "start it there",
    "dtb": "x86 machines have no device tree",
    "spice": "use -vnc",
    "sdl": "there are no windows: use -vnc",
    "curses": "there are no windows: use -vnc",
    "audiodev": "there are no sound devices",
    "tpmdev": "there is no TPM",
    "fsdev": "there are no shared directories",
    "virtfs": "there are no shared directories",
    "D": "messages go to standard error",
    "watchdog": "there is no watchdog device",
}
"""By name without dashes: the one-line answer."""
