# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps as the watchdog stores them, for tests of everything that reads them."""

from profiler.layout import Blocked, Role
from profiler.stacks.dump import Frame, ThreadStack
from profiler.stacks.store import Dump, Hold, Party, Waiter

MAIN = Party(0, 1, 901, "qemu-system-x86", Role.MAIN, "os_host_main_loop_wait main-loop.c:301")
CPU1 = Party(2, 2, 903, "CPU 1/KVM", Role.VCPU, "serial")
MAIN_STACK = ThreadStack(
    901, "MainThread", True, (Frame("flush", "dev/disk.py", 7), Frame("run", "loop.py", 3))
)


def make_dump(
    *,
    pid: int = 4_000_001,
    start_time: int = 77,
    begin_ns: int = 5_000_100_000,
    end_ns: int = 5_000_120_000,
    held_ns: int = 12_000_000,
    hold_ticks: int = 50_000_000,
    same: bool = True,
    waited: int = 20_000,
    threads: tuple[ThreadStack, ...] = (MAIN_STACK,),
) -> Dump:
    """A dump of `recordings.example()`: the main loop was seen in flush(), vCPU 1 waited."""
    return Dump(
        pid=pid,
        process_start_time=start_time,
        native=False,
        begin_ns=begin_ns,
        end_ns=end_ns,
        hold=Hold(MAIN, 1_000_003, held_ns, hold_ticks, same, Blocked.DRAIN),
        waiters=(Waiter(CPU1, waited),),
        threads=threads,
    )
