# SPDX-License-Identifier: GPL-2.0-or-later
"""The VNC server: sockets and clients in the main loop under the BQL, encoding in ``vnc_worker``.

Flow of data, QEMU's (``vnc_refresh``, ``vnc_worker_thread_loop``):

    console.dirty_rows()  ->  ServerScreen (a copy; what really changed, in tiles of 16 x 16)
        ->  each client's dirty tiles  ->  a Job, when it asked and its socket has room
        ->  vnc_worker encodes under the screen's lock, off the BQL  ->  the main loop sends

Rule 1  The main loop never waits for the worker: the refresh tries the screen's lock and comes back
        30 ms later; a client that leaves marks its job cancelled.
Rule 2  The worker does no network I/O and calls nothing of the main loop but call_soon_threadsafe.
Rule 3  A client has at most one job, so its encoder (zlib streams) is used by one thread at a time,
        and every byte an encoder made is sent: a lost one would break those streams.
Rule 4  A mode change makes a new ServerScreen; a running job keeps the old one, and the client
        hears of the new size after that job's bytes.
"""
