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
 */
int main_loop_wait(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events, int max);

#endif
