# SPDX-License-Identifier: GPL-2.0-or-later
"""Python stacks of long holds, on demand and never in a measured interval.

    live line --watchdog--> a hold passes the threshold --pyspy--> stacks of all threads
    event rings --watchdog--> how long it was held in the end, and who waited
                                  |
    FILE.stacks.jsonl <--store----+--> `bqlscope stacks`, `bqlscope flame`
                         windows: what the dumps disturbed, to leave it out of comparisons

py-spy is a program of its own: it reads the memory of the process, and costs it some milliseconds
even where it does not stop it. So a dump is rare, its time is written down, and everything else
comes from shared memory.
"""
