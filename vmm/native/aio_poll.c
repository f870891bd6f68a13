/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Adaptive polling: before blocking, look for work in user space for up to poll_ns, a time that
 * follows how soon work came lately. As in QEMU, a context polls only if every handler can be
 * polled; else the ones that cannot would be served late. One poll time for the whole context.
 *
 * While a context polls, its sources' notifications are off (poll_begin), also across iterations.
 * They go on again (poll_end) before the first wait that may block, and poll_end looks once more:
 * work that came in between the last look and the switch is not lost.
 */
#include "aio_internal.h"

enum { POLL_FIRST_NS = 4000, POLL_GROW_DEFAULT = 2 };

/* The loops below call out, so handlers may be removed (or added) under them. */
static void poll_begin(AioContext *ctx)
{
    AioHandler *handler;

    aio_handlers_walk_begin(ctx);
    TAILQ_FOREACH(handler, &ctx->handlers, link)
    {
        if (!handler->deleted && !handler->poll_started && handler->ops.io_poll) {
            handler->poll_started = true;
            if (handler->ops.poll_begin) {
                handler->ops.poll_begin(handler->opaque);
            }
        }
    }
    aio_handlers_walk_end(ctx);
    ctx->poll_started = true;
}

/* Notifications on again. True if a source has work after all. */
bool aio_poll_stop(AioContext *ctx)
{
    AioHandler *handler;
    bool found = false;

    if (!ctx->poll_started) {
        return false;
    }
    ctx->poll_started = false;
    aio_handlers_walk_begin(ctx);
    TAILQ_FOREACH(handler, &ctx->handlers, link)
    {
        if (!handler->deleted && handler->poll_started) {
            handler->poll_started = false;
            if (handler->ops.poll_end && handler->ops.poll_end(handler->opaque) &&
                !handler->deleted) {
                aio_handler_poll_ready(ctx, handler);
                found = true;
            }
        }
    }
    aio_handlers_walk_end(ctx);
    return found;
}

static bool poll_once(AioContext *ctx)
{
    AioHandler *handler;
    bool found = aio_foreign_work(ctx) || aio_ring_ready(ctx);

    aio_handlers_walk_begin(ctx);
    TAILQ_FOREACH(handler, &ctx->handlers, link)
    {
        if (!handler->deleted && handler->ops.io_poll && handler->ops.io_poll(handler->opaque) &&
            !handler->deleted) {
            aio_handler_poll_ready(ctx, handler);
            found = true;
        }
    }
    aio_handlers_walk_end(ctx);
    return found;
}

/*
 * Poll for the adaptive time, at most timeout_ns (<0: no limit; 0: look once if polling is on).
 * True: there is work. On false after a timeout other than 0, notifications are on and the caller
 * may block.
 */
bool aio_poll_handlers(AioContext *ctx, int64_t timeout_ns)
{
    int64_t budget = (int64_t)aio_counter(&ctx->poll_ns);
    bool may_poll = ctx->unpollable == 0 && (ctx->live_handlers > 0 || ctx->inflight > 0) &&
                    aio_counter(&ctx->poll_max_ns) > 0;

    if (!may_poll || budget == 0) {
        return aio_poll_stop(ctx);
    }
    if (timeout_ns >= 0 && timeout_ns < budget) {
        budget = timeout_ns;
    }
    aio_ring_flush(ctx);
    poll_begin(ctx);
    int64_t end = aio_now_ns() + budget;
    do {
        if (poll_once(ctx)) {
            aio_count(&ctx->stats.poll_ok, 1);
            return true;
        }
    } while (aio_now_ns() < end);
    if (timeout_ns == 0) {
        return false;
    }
    aio_count(&ctx->stats.poll_miss, 1);
    return aio_poll_stop(ctx);
}

/* Work came after waited_ns: would a longer poll have caught it, is a shorter one enough? */
void aio_poll_adjust(AioContext *ctx, int64_t waited_ns)
{
    uint64_t now = aio_counter(&ctx->poll_ns), max = aio_counter(&ctx->poll_max_ns);
    uint64_t grow = aio_counter(&ctx->poll_grow), shrink = aio_counter(&ctx->poll_shrink);
    uint64_t waited = (uint64_t)waited_ns;

    if (now > max) {
        now = max; /* lowered meanwhile */
    } else if (waited <= now) {
        return; /* polling catches it */
    } else if (waited > max) {
        now = shrink ? now / shrink : 0;
    } else if (now < max) {
        now = now ? now * (grow ? grow : POLL_GROW_DEFAULT) : POLL_FIRST_NS;
        now = now > max ? max : now;
    }
    atomic_store_explicit(&ctx->poll_ns, now, memory_order_relaxed);
}
