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
    "overcommit": ("mem-lock=off",),
    "msg": ("timestamp=off",),
}
"""By name without dashes: the values that ask for what is so; None: the option has no value."""

OTHERWISE = {
    "display": "there are no windows: use -vnc, or -display none",
    "vga": "there is no VGA adapter: use -vga none",
    "net": "there are no network devices: use -net none",
    "nic": "there are no network devices: use -nic none",
    "parallel": "there is no parallel port: use -parallel none",
    "overcommit": "guest memory is never locked: leave it out",
    "msg": "messages have no time stamp: leave it out",
}
"""What to answer to another value of a harmless option."""

_NO_FIRMWARE = "there is no firmware: -kernel boots a PVH kernel directly"
_USE_DRIVE = "use -drive file=FILE (raw images, virtio-blk)"
_NO_MIGRATION = "there is no migration"
_NO_WINDOWS = "there are no windows: use -vnc"
_NO_EMULATION = "there is no emulated CPU"
_NO_BACKENDS = "guest memory is anonymous, there are no memory backends: leave it out"
_NO_XEN = "there is KVM, and no Xen"
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
    "icount": _NO_EMULATION,
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
    "sdl": _NO_WINDOWS,
    "curses": _NO_WINDOWS,
    "audiodev": "there are no sound devices",
    "tpmdev": "there is no TPM",
    "fsdev": "there are no shared directories",
    "virtfs": "there are no shared directories",
    "D": "messages go to standard error",
    "watchdog": "there is no watchdog device",
    "watchdog-action": "there is no watchdog device",
    "L": _NO_FIRMWARE,
    "option-rom": _NO_FIRMWARE,
    "no-fd-bootchk": _NO_FIRMWARE,
    "mem-path": _NO_BACKENDS,
    "mem-prealloc": _NO_BACKENDS,
    "full-screen": _NO_WINDOWS,
    "portrait": _NO_WINDOWS,
    "rotate": _NO_WINDOWS,
    "k": "there are no keyboard layouts: leave it out",
    "audio": "there are no sound devices",
    "audio-help": "there are no sound devices",
    "d": "there is no emulated CPU whose work could be logged: --trace has what there is",
    "dfilter": _NO_EMULATION,
    "plugin": _NO_EMULATION,
    "seed": _NO_EMULATION,
    "singlestep": _NO_EMULATION,
    "debugcon": "there is no debug console: use -serial",
    "echr": "a terminal is not shared with a monitor: use -qmp or -monitor with a socket",
    "action": "use -no-reboot or -no-shutdown",
    "preconfig": "use -S",
    "add-fd": "name the file itself",
    "set": "set the property on the object itself",
    "qmp-pretty": "use -qmp, and bqlscope monitor to read it",
    "enable-sync-profile": "the lock is always timed: leave it out",
    "dump-vmstate": _NO_MIGRATION,
    "iscsi": "only files and block devices of this host work",
    "mtdblock": _USE_DRIVE,
    "win2k-hack": "there are no IDE disks: leave it out",
    "async-teardown": "guest memory is freed when the process ends: leave it out",
    "compat": "there are no deprecated interfaces: leave it out",
    "xen-attach": _NO_XEN,
    "xen-domid": _NO_XEN,
    "xen-domid-restrict": _NO_XEN,
    "version": "use bqlscope --version",
}
"""By name without dashes: the one-line answer."""
