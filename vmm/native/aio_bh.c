/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bottom halves and posts: how other threads give an AioContext work.
 *
 * Any thread pushes onto a lock-free stack; only the owner takes, and it takes the whole stack with
 * one exchange, so there is no ABA. The owner reverses what it took (first pushed, first run) and
 * appends it to a private queue, from which it runs one entry at a time: a handler that polls the
 * context again (drain) continues with the same queue instead of losing sight of the rest of it.
 *
 * A bottom half is on the stack or the queue at most once, guarded by its PENDING bit, so it may be
 * scheduled and deleted from anywhere and is freed by the owner alone, when it comes off the queue.
 */
#include <sched.h>
#include <stdlib.h>

#include "aio_internal.h"

enum BhFlags {
    BH_PENDING = 1,   /* on the stack or the queue */
    BH_SCHEDULED = 2, /* to be run when it comes off */
    BH_DELETED = 4,   /* to be freed when it comes off, unrun */
    BH_ONESHOT = 8,   /* freed after its run */
};

struct AioBh {
    AioContext *ctx;
    AioBh *next; /* valid while PENDING */
    AioFn *fn;
    void *opaque;
    atomic_uint flags;
};

static AioBh *bh_alloc(AioContext *ctx, AioFn *fn, void *opaque, unsigned flags)
{
    AioBh *bh = malloc(sizeof(*bh));
    if (!bh) {
        return NULL;
    }
    *bh = (AioBh){.ctx = ctx, .fn = fn, .opaque = opaque};
    atomic_init(&bh->flags, flags);
    return bh;
}

/* The push is sequentially consistent, as is the look at notify_me in aio_notify() after it: either
 * the waiter sees the push (aio_foreign_work) or we see that it waits. */
static void bh_push(AioContext *ctx, AioBh *bh)
{
    AioBh *head = atomic_load_explicit(&ctx->bh_pushed, memory_order_relaxed);
    do {
        bh->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&ctx->bh_pushed, &head, bh,
                                                    memory_order_seq_cst, memory_order_relaxed));
    aio_notify(ctx);
}

static void bh_enqueue(AioBh *bh, unsigned flags)
{
    /* Once PENDING is set the owner may run and free the bottom half: read ctx before. */
    AioContext *ctx = bh->ctx;
    /* Release: the run sees what the scheduler wrote before (partner: fetch_and in bh_next), also
     * when the bottom half was pending already. */
    unsigned old = atomic_fetch_or_explicit(&bh->flags, flags | BH_PENDING, memory_order_acq_rel);
    if (!(old & BH_PENDING)) {
        bh_push(ctx, bh);
    }
}

AioBh *aio_bh_new(AioContext *ctx, AioFn *fn, void *opaque)
{
    return bh_alloc(ctx, fn, opaque, 0);
}

void aio_bh_schedule(AioBh *bh)
{
    bh_enqueue(bh, BH_SCHEDULED);
}

void aio_bh_delete(AioBh *bh)
{
    bh_enqueue(bh, BH_DELETED);
}

void aio_bh_oneshot(AioContext *ctx, AioFn *fn, void *opaque)
{
    AioBh *bh = bh_alloc(ctx, fn, opaque, BH_PENDING | BH_SCHEDULED | BH_ONESHOT);
    if (!bh) {
        abort(); /* a lost bottom half is a hang somewhere else; no guest can ask for this */
    }
    bh_push(ctx, bh);
}

void aio_bh_setup(AioContext *ctx)
{
    ctx->bh_last = &ctx->bh_first;
    ctx->posts_last = &ctx->posts_first;
}

/* Append everything pushed so far to the owner's queue, in push order. */
static void bh_take(AioContext *ctx)
{
    /* Acquire: the entries' fields (partner: bh_push). */
    AioBh *bh = atomic_exchange_explicit(&ctx->bh_pushed, NULL, memory_order_seq_cst);
    AioBh *first = NULL, *last = bh;
    while (bh) {
        AioBh *next = bh->next;
        bh->next = first;
        first = bh;
        bh = next;
    }
    if (first) {
        *ctx->bh_last = first;
        ctx->bh_last = &last->next;
    }
}

/* Take the queue's first entry off; its flags before that in *flags. */
static AioBh *bh_next(AioContext *ctx, unsigned *flags)
{
    AioBh *bh = ctx->bh_first;
    if (!bh) {
        return NULL;
    }
    ctx->bh_first = bh->next;
    if (!ctx->bh_first) {
        ctx->bh_last = &ctx->bh_first;
    }
    /* From here another thread may push it again (and so overwrite next). Acquire: what the
     * scheduler wrote before (partner: fetch_or in bh_enqueue). */
    *flags = atomic_fetch_and_explicit(&bh->flags, ~(unsigned)(BH_PENDING | BH_SCHEDULED),
                                       memory_order_acq_rel);
    return bh;
}

/* Runs what was pushed before the call; what the handlers push waits for the next iteration, so a
 * bottom half that schedules itself does not starve the rest of the loop. */
bool aio_bh_run(AioContext *ctx)
{
    AioBh *bh;
    unsigned flags;
    uint64_t runs = 0;

    bh_take(ctx);
    while ((bh = bh_next(ctx, &flags))) {
        if (flags & BH_DELETED) {
            free(bh);
            continue;
        }
        if (flags & BH_SCHEDULED) {
            AioFn *fn = bh->fn;
            void *opaque = bh->opaque;
            if (flags & BH_ONESHOT) {
                free(bh);
            }
            runs++;
            fn(opaque);
        }
    }
    aio_count(&ctx->stats.bh_runs, runs);
    return runs > 0;
}

void aio_bh_free_all(AioContext *ctx)
{
    AioBh *bh;
    unsigned flags;

    bh_take(ctx);
    while ((bh = bh_next(ctx, &flags))) {
        if (flags & (BH_DELETED | BH_ONESHOT)) {
            free(bh);
        }
    }
}

/*
 * Ordering as in bh_push(). Whoever sees the post may conclude that the context has no work left
 * and free it while we are still here, so we are counted from before the push; the push publishes
 * the count. Release: pairs with the acquire in aio_posters_wait().
 */
void aio_post(AioContext *ctx, AioPost *post)
{
    atomic_fetch_add_explicit(&ctx->posters, 1, memory_order_relaxed);
    AioPost *head = atomic_load_explicit(&ctx->posts_pushed, memory_order_relaxed);
    do {
        post->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&ctx->posts_pushed, &head, post,
                                                    memory_order_seq_cst, memory_order_relaxed));
    aio_notify(ctx);
    atomic_fetch_sub_explicit(&ctx->posters, 1, memory_order_release);
}

/* Until the last poster has left aio_post(): a few instructions, or a descheduled thread. */
void aio_posters_wait(AioContext *ctx)
{
    while (atomic_load_explicit(&ctx->posters, memory_order_acquire) > 0) {
        sched_yield();
    }
}

bool aio_posts_run(AioContext *ctx)
{
    AioPost *post = atomic_exchange_explicit(&ctx->posts_pushed, NULL, memory_order_seq_cst);
    AioPost *first = NULL, *last = post;
    while (post) {
        AioPost *next = post->next;
        post->next = first;
        first = post;
        post = next;
    }
    if (first) {
        *ctx->posts_last = first;
        ctx->posts_last = &last->next;
    }
    bool any = ctx->posts_first != NULL;
    while ((post = ctx->posts_first)) {
        ctx->posts_first = post->next;
        if (!ctx->posts_first) {
            ctx->posts_last = &ctx->posts_first;
        }
        post->complete(post); /* may free the post */
    }
    return any;
}
