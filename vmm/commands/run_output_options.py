# SPDX-License-Identifier: GPL-2.0-or-later
"""The options of ``bqlscope run`` about what a machine shows: displays, monitors, recordings."""

from functools import partial

from vmm.cmdline import relative, values
from vmm.cmdline.command import RunOption
from vmm.commands.metrics import DEFAULT_ADDRESS

DEFAULT_SCREEN = "1024x768"


def output_options() -> list[RunOption]:
    """All of them, in the order of the help."""
    return [*_screen(), *_vnc(), *_monitor(), *_lock(), *_results()]


def _screen() -> list[RunOption]:
    """The console and the screen."""
    option = partial(RunOption, section="Display")
    return [
        option(
            "--serial",
            "serial",
            metavar="TARGET",
            convert=values.serial,
            toml="machine.serial",
            relative=relative.target,
            help="Where COM1 goes: stdio, stderr, null or file:PATH. [default: stdio]",
        ),
        option(
            "--framebuffer",
            "framebuffer",
            optional=DEFAULT_SCREEN,
            metavar="[WxH]",
            convert=values.framebuffer,
            toml="framebuffer.size",
            help=f"A screen, by default of {DEFAULT_SCREEN} pixels.",
        ),
        option(
            "--screendump",
            "screendump",
            metavar="FILE",
            convert=values.picture,
            toml="framebuffer.screendump",
            relative=relative.plain,
            help="Write what the screen shows at the end to a .png or .ppm file; implies "
            "--framebuffer.",
        ),
    ]


def _vnc() -> list[RunOption]:
    """Who may look at it from afar."""
    option = partial(RunOption, section="Display")
    return [
        option(
            "--vnc",
            "vnc",
            multiple=True,
            metavar=":N[,...]",
            convert=values.vnc,
            toml="vnc.listen",
            relative=relative.vnc,
            help="A VNC display on port 5900+N of this host, HOST:N, unix:PATH or none; to=, "
            "password=on, password-file=, websocket=on|PORT|PATH, tls-creds=DIR|anon, "
            "verify-peer=off, share=, connections=, lossy=on, lock-key-sync=off, insecure=on. "
            "Repeatable; implies --framebuffer.",
        ),
        option(
            "--vnc-encode",
            "vnc_encode",
            metavar="WHERE",
            convert=values.encode_in,
            toml="vnc.encode",
            help="Where updates are encoded: in vnc_worker off the lock (worker), or in the main "
            "loop under it (mainloop). [default: worker]",
        ),
    ]


def _monitor() -> list[RunOption]:
    """Who may command it."""
    option = partial(RunOption, section="Monitor")
    return [
        option(
            "--qmp",
            "qmp",
            multiple=True,
            metavar="unix:PATH|tcp:HOST:PORT",
            convert=partial(values.monitor, "--qmp"),
            toml="qmp.listen",
            relative=relative.monitor,
            help="Listen for QMP, QEMU's machine protocol; see 'bqlscope monitor'. Repeatable.",
        ),
        option(
            "--monitor",
            "monitor",
            multiple=True,
            metavar="unix:PATH|tcp:HOST:PORT",
            convert=partial(values.monitor, "--monitor"),
            toml="monitor.listen",
            relative=relative.monitor,
            help="Listen for the human monitor's commands, a line each. Repeatable.",
        ),
        option(
            "--trace",
            "trace",
            multiple=True,
            metavar="PATTERN",
            convert=values.text,
            toml="monitor.trace",
            help="Tell trace events on standard error, as 'monitor_qmp_*'. Repeatable.",
        ),
    ]


def _lock() -> list[RunOption]:
    """The recording of the lock."""
    option = partial(RunOption, section="Recording")
    return [
        option(
            "--no-record",
            "no_record",
            is_flag=True,
            toml="recording.off",
            help="Do not time the lock.",
        ),
        option(
            "--recording",
            "recording",
            metavar="FILE",
            convert=values.output,
            toml="recording.file",
            relative=relative.plain,
            help="Where the recording lives (default: a file per process in the runtime "
            "directory).",
        ),
        option(
            "--keep-recording",
            "keep_recording",
            is_flag=True,
            toml="recording.keep",
            help="Leave the recording behind, for 'bqlscope check'.",
        ),
        option(
            "--window-recording",
            "window_recording",
            is_flag=True,
            toml="recording.window",
            help="Copy the recording to FILE.begin and FILE.end around the guest's measured "
            "window.",
        ),
    ]


def _results() -> list[RunOption]:
    """Where figures go."""
    option = partial(RunOption, section="Recording")
    return [
        option(
            "--metrics",
            "metrics",
            optional=DEFAULT_ADDRESS,
            metavar="[ADDR:PORT]",
            convert=values.text,
            toml="recording.metrics",
            help="Serve live metrics to Prometheus while the VM runs "
            f"(default {DEFAULT_ADDRESS}), from a process of their own.",
        ),
        RunOption(
            "--json",
            "json_file",
            section="Other",
            metavar="FILE",
            convert=values.output,
            help="Write what happened as JSON; - is standard output, the guest's own output "
            "then goes to standard error.",
        ),
    ]
