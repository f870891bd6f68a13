/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timers of an AioContext: a binary heap ordered by (deadline, arming order).
 *
 * What is due leaves the heap for the expired list before the first handler runs. So a handler that
 * arms its timer for "now" is run again in the next iteration, not for ever in this one, and a
 * handler may stop or free any other timer, due or not.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "aio_internal.h"

int64_t aio_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool timer_before(const AioTimer *a, const AioTimer *b)
{
    return a->deadline != b->deadline ? a->deadline < b->deadline : a->seq < b->seq;
}

static void heap_put(AioContext *ctx, size_t index, AioTimer *timer)
{
    ctx->heap[index] = timer;
    timer->index = index;
}

static void heap_up(AioContext *ctx, AioTimer *timer)
{
    size_t index = timer->index;
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!timer_before(timer, ctx->heap[parent])) {
            break;
        }
        heap_put(ctx, index, ctx->heap[parent]);
        index = parent;
    }
    heap_put(ctx, index, timer);
}

static void heap_down(AioContext *ctx, AioTimer *timer)
{
    size_t index = timer->index, child;
    while ((child = 2 * index + 1) < ctx->heap_len) {
        if (child + 1 < ctx->heap_len && timer_before(ctx->heap[child + 1], ctx->heap[child])) {
            child++;
        }
        if (!timer_before(ctx->heap[child], timer)) {
            break;
        }
        heap_put(ctx, index, ctx->heap[child]);
        index = child;
    }
    heap_put(ctx, index, timer);
}

static void heap_remove(AioContext *ctx, AioTimer *timer)
{
    AioTimer *last = ctx->heap[--ctx->heap_len];
    if (last != timer) {
        heap_put(ctx, timer->index, last);
        heap_up(ctx, last);
        heap_down(ctx, last);
    }
}

AioTimer *aio_timer_new(AioContext *ctx, AioFn *fn, void *opaque)
{
    /* Room in the heap for every timer there is: arming one cannot fail. */
    if (ctx->timers == ctx->heap_cap) {
        size_t cap = ctx->heap_cap ? 2 * ctx->heap_cap : 8;
        AioTimer **heap = realloc(ctx->heap, cap * sizeof(AioTimer *));
        if (!heap) {
            return NULL;
        }
        ctx->heap = heap;
        ctx->heap_cap = cap;
    }
    AioTimer *timer = calloc(1, sizeof(*timer));
    if (timer) {
        timer->ctx = ctx;
        timer->fn = fn;
        timer->opaque = opaque;
        ctx->timers++;
    }
    return timer;
}

void aio_timer_del(AioTimer *timer)
{
    AioContext *ctx = timer->ctx;
    if (timer->state == AIO_TIMER_ARMED) {
        heap_remove(ctx, timer);
    } else if (timer->state == AIO_TIMER_EXPIRED) {
        TAILQ_REMOVE(&ctx->expired, timer, expired_link);
    }
    timer->state = AIO_TIMER_IDLE;
}

void aio_timer_mod(AioTimer *timer, int64_t deadline_ns)
{
    AioContext *ctx = timer->ctx;
    aio_timer_del(timer);
    timer->deadline = deadline_ns;
    timer->seq = ctx->timer_seq++;
    timer->state = AIO_TIMER_ARMED;
    timer->index = ctx->heap_len++;
    heap_up(ctx, timer);
}

void aio_timer_free(AioTimer *timer)
{
    if (timer) {
        aio_timer_del(timer);
        timer->ctx->timers--;
        free(timer);
    }
}

/* timeout_ns (<0: no limit) cut down to the first deadline. */
int64_t aio_timers_bound(AioContext *ctx, int64_t timeout_ns)
{
    if (!TAILQ_EMPTY(&ctx->expired)) {
        return 0;
    }
    if (timeout_ns == 0 || ctx->heap_len == 0) {
        return timeout_ns;
    }
    int64_t left = ctx->heap[0]->deadline - aio_now_ns();
    left = left < 0 ? 0 : left;
    return timeout_ns < 0 || left < timeout_ns ? left : timeout_ns;
}

bool aio_timers_run(AioContext *ctx)
{
    AioTimer *timer;
    uint64_t runs = 0;

    if (ctx->heap_len > 0) {
        int64_t now = aio_now_ns();
        while (ctx->heap_len > 0 && ctx->heap[0]->deadline <= now) {
            timer = ctx->heap[0];
            heap_remove(ctx, timer);
            timer->state = AIO_TIMER_EXPIRED;
            TAILQ_INSERT_TAIL(&ctx->expired, timer, expired_link);
        }
    }
    while ((timer = TAILQ_FIRST(&ctx->expired))) {
        TAILQ_REMOVE(&ctx->expired, timer, expired_link);
        timer->state = AIO_TIMER_IDLE;
        runs++;
        timer->fn(timer->opaque); /* may free the timer */
    }
    aio_count(&ctx->stats.timer_runs, runs);
    return runs > 0;
}
