/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The main loop's wait: what QEMU's os_host_main_loop_wait does. The main thread holds the BQL
 * always, except inside the poll. Native handlers run here, under the BQL and without the GIL;
 * only descriptors that Python watches make it return, so native I/O never waits for Python.
 */
#ifndef VMM_NATIVE_MAIN_LOOP_H
#define VMM_NATIVE_MAIN_LOOP_H

#include "aio.h"
#include "bql.h"

/*
 * Under the BQL. Poll and dispatch until a watched descriptor is ready, timeout_ns has passed (<0:
 * none; 0: one look) or a signal arrived. Stores up to max (fd, events) pairs; returns how many.
 * Without the GIL, to which it returns: *left is when (ticks of the recording's clock, 0 without
 * one), for main_loop_took_gil(). left may be NULL.
 */
int main_loop_select(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events, int max,
                     uint64_t *left);
/*
 * First thing in Python after main_loop_select(): the time since *left went into getting the GIL
 * back, with the BQL held. Less than what Python itself takes to come here is not a wait.
 */
void main_loop_took_gil(Bql *bql, uint64_t left);

#endif
