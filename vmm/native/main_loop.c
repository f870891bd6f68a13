/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "main_loop.h"

/* About 2 µs: several times what the interpreter needs from one call of C to the next. */
#define PYTHON_STEP_TICKS 5000

static int64_t remaining_ns(int64_t deadline)
{
    int64_t left = deadline - aio_now_ns();

    return left > 0 ? left : 0;
}

static int main_loop_wait(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events,
                          int max)
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

int main_loop_select(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events, int max,
                     uint64_t *left)
{
    int ready = main_loop_wait(ctx, bql, timeout_ns, fds, events, max);
    BqlRec *rec = bql_recorder(bql);

    if (left)
        *left = rec ? bqlrec_ticks(rec) : 0;
    return ready;
}

void main_loop_took_gil(Bql *bql, uint64_t left)
{
    BqlRec *rec = bql_recorder(bql);
    uint64_t waited = rec && left ? bqlrec_ticks(rec) - left : 0;

    if (waited > PYTHON_STEP_TICKS)
        bql_gil_waited(bql, waited);
}
