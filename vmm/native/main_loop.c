/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "main_loop.h"

static int64_t remaining_ns(int64_t deadline)
{
    int64_t left = deadline - aio_now_ns();

    return left > 0 ? left : 0;
}

int main_loop_wait(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events, int max)
{
    bool limited = timeout_ns >= 0;
    int64_t deadline = limited ? aio_now_ns() + timeout_ns : 0;

    for (;;) {
        int64_t left = limited ? remaining_ns(deadline) : -1;
        bool woken;
        int ready;

        bql_unlock(bql);
        woken = aio_wait(ctx, left);
        bql_lock(bql);
        woken |= aio_dispatch(ctx);
        ready = aio_take_ready(ctx, fds, events, max);
        /* Woken by nothing of the context's: a signal, whose Python handler is to run now. */
        if (ready || !woken || (limited && remaining_ns(deadline) == 0))
            return ready;
    }
}
