# SPDX-License-Identifier: GPL-2.0-or-later
"""The monitor: QEMU's machine protocol (QMP) and its human one (HMP) for a running machine.

    socket -> IO mon_iothread: bytes -> json_stream -> Session -> OOB commands, answered right there
                                                          |
                 main loop, under the BQL: Dispatcher -> Registry -> command -> reply, events
                                                          |
    socket <- IO mon_iothread <---------------------------'

Nothing in the monitor's thread takes the BQL or waits for the main loop.
"""
