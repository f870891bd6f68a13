/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The io_uring of an AioContext: submission, completion, deferred calls.
 *
 * Completions travel in two steps: wait takes CQEs off the ring (polls of descriptors become ready
 * handlers, the others are staged), dispatch runs the staged ones. So aio_wait() never runs a
 * handler, although polls and block I/O share one ring under fdmon_io_uring.
 */
#include <errno.h>
#include <stdlib.h>

#include "aio_internal.h"

/*
 * Best first; an older kernel refuses what it does not know with EINVAL.
 *
 * Chosen by CPU time per 4 KiB O_DIRECT read at queue depth 32 (the rate is the disk's):
 * COOP_TASKRUN 1, no flags 1.3, DEFER_TASKRUN 1.4, since its waiter is woken for each completion
 * where the others find several. At depth 1 they are equal. DEFER_TASKRUN would also bind the ring
 * to the first thread that uses it, and its ring never becomes readable in an epoll set (6.18).
 * TASKRUN_FLAG: shows in user space that a system call would bring completions.
 */
static const unsigned ring_flags[] = {
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    0,
};

void aio_ring_setup(AioContext *ctx, AioRingSetupFn *ring_setup)
{
    int ret = -EINVAL;

    ctx->staged = malloc(AIO_STAGED_MAX * sizeof(*ctx->staged));
    if (!ctx->staged) {
        return;
    }
    for (size_t i = 0; i < sizeof(ring_flags) / sizeof(*ring_flags) && ret == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = ring_flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = AIO_CQ_ENTRIES,
        };
        ret = ring_setup(AIO_SQ_ENTRIES, &ctx->ring, &params);
    }
    ctx->has_ring = ret == 0;
}

void aio_ring_teardown(AioContext *ctx)
{
    if (ctx->has_ring) {
        io_uring_queue_exit(&ctx->ring);
        ctx->has_ring = false;
    }
    free(ctx->staged);
    free(ctx->deferred);
}

void aio_ring_flush(AioContext *ctx)
{
    if (!ctx->has_ring || io_uring_sq_ready(&ctx->ring) == 0) {
        return;
    }
    /* EAGAIN, EBUSY, EINTR: the rest stays queued, and every wait flushes again. */
    io_uring_submit(&ctx->ring);
    aio_count(&ctx->stats.submits, 1);
}

/* For the loop's own requests and aio_get_sqe(): NULL if full even after a submit. */
struct io_uring_sqe *aio_ring_sqe(AioContext *ctx)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ctx->ring);
    if (!sqe) {
        aio_ring_flush(ctx);
        sqe = io_uring_get_sqe(&ctx->ring);
    }
    return sqe;
}

struct io_uring_sqe *aio_get_sqe(AioContext *ctx, AioCqe *cqe)
{
    struct io_uring_sqe *sqe = ctx->has_ring ? aio_ring_sqe(ctx) : NULL;
    if (sqe) {
        io_uring_sqe_set_data(sqe, cqe); /* io_uring_prep_*() leave it alone */
        ctx->inflight++;
    }
    return sqe;
}

void aio_submit(AioContext *ctx)
{
    if (ctx->batch_depth > 0) {
        ctx->submit_wanted = true;
    } else {
        aio_ring_flush(ctx);
    }
}

/* The kernel has something that only a system call brings into the completion queue. */
static bool ring_needs_enter(AioContext *ctx)
{
    unsigned flags = __atomic_load_n(ctx->ring.sq.kflags, __ATOMIC_RELAXED);
    return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

bool aio_ring_ready(AioContext *ctx)
{
    if (!ctx->has_ring) {
        return false;
    }
    return ctx->staged_head != ctx->staged_tail || io_uring_cq_ready(&ctx->ring) > 0 ||
           ring_needs_enter(ctx);
}

static void ring_poll_event(AioContext *ctx, const struct io_uring_cqe *cqe)
{
    if (cqe->user_data == AIO_KEY_NOTIFY) {
        ctx->notify_armed = cqe->flags & IORING_CQE_F_MORE;
        return;
    }
    AioHandler *handler = aio_handler_by_key(ctx, cqe->user_data);
    if (!handler) {
        return; /* removed or changed meanwhile */
    }
    handler->armed = false;
    if (cqe->res > 0) {
        aio_handler_event(ctx, handler, (uint32_t)cqe->res);
    } else if (cqe->res == -ECANCELED) {
        ctx->fdmon->rearm(ctx, handler); /* the thread that asked has ended; the new owner asks */
    } /* else: the descriptor was closed under us; like epoll, nothing more to report */
}

/* Take CQEs off the ring until it is empty or the stage is full. */
void aio_ring_collect(AioContext *ctx)
{
    struct io_uring_cqe *cqe;
    unsigned head, seen = 0;
    uint64_t completed = 0;

    if (!ctx->has_ring) {
        return;
    }
    if (io_uring_cq_ready(&ctx->ring) == 0 && ring_needs_enter(ctx)) {
        io_uring_get_events(&ctx->ring);
    }
    io_uring_for_each_cqe(&ctx->ring, head, cqe)
    {
        if (ctx->staged_tail - ctx->staged_head == AIO_STAGED_MAX) {
            break;
        }
        seen++;
        if (cqe->user_data & AIO_KEY_BIT) {
            ring_poll_event(ctx, cqe);
        } else if (cqe->user_data) {
            ctx->staged[ctx->staged_tail++ % AIO_STAGED_MAX] = (AioStaged){
                .cqe = (AioCqe *)(uintptr_t)cqe->user_data,
                .res = cqe->res,
            };
            completed++;
        } /* else: the answer to a POLL_REMOVE */
    }
    io_uring_cq_advance(&ctx->ring, seen);
    ctx->inflight -= completed;
    aio_count(&ctx->stats.cqes, completed);
}

bool aio_ring_complete(AioContext *ctx)
{
    unsigned end = ctx->staged_tail;
    bool any = false;
    /* A handler that polls the context again may run entries of ours, and stage and run newer. */
    while ((int)(end - ctx->staged_head) > 0) {
        AioStaged staged = ctx->staged[ctx->staged_head++ % AIO_STAGED_MAX];
        staged.cqe->complete(staged.cqe, staged.res);
        any = true;
    }
    return any;
}

void aio_batch_begin(AioContext *ctx)
{
    ctx->batch_depth++;
}

/* Deferred calls first: they are interrupts and queue more SQEs, a submission takes microseconds.
 */
void aio_batch_end(AioContext *ctx)
{
    if (ctx->batch_depth > 1) {
        ctx->batch_depth--;
        return;
    }
    /* Still inside the batch: what the calls defer is appended and run here. deferred_run keeps
     * apart what has been called: deferred again, it must be called again. */
    while (ctx->deferred_run < ctx->deferred_len) {
        AioDeferred call = ctx->deferred[ctx->deferred_run++];
        call.fn(call.opaque);
    }
    ctx->deferred_run = ctx->deferred_len = 0;
    ctx->batch_depth = 0;
    if (ctx->submit_wanted) {
        ctx->submit_wanted = false;
        aio_submit(ctx);
    }
}

static bool deferred_reserve(AioContext *ctx)
{
    if (ctx->deferred_len < ctx->deferred_cap) {
        return true;
    }
    size_t cap = ctx->deferred_cap ? 2 * ctx->deferred_cap : 16;
    AioDeferred *deferred = realloc(ctx->deferred, cap * sizeof(*deferred));
    if (!deferred) {
        return false;
    }
    ctx->deferred = deferred;
    ctx->deferred_cap = cap;
    return true;
}

void aio_defer_call(AioContext *ctx, AioFn *fn, void *opaque)
{
    if (ctx->batch_depth == 0) {
        fn(opaque);
        return;
    }
    for (size_t i = ctx->deferred_run; i < ctx->deferred_len; i++) {
        if (ctx->deferred[i].fn == fn && ctx->deferred[i].opaque == opaque) {
            return;
        }
    }
    if (!deferred_reserve(ctx)) {
        fn(opaque); /* too early is correct, only slower */
        return;
    }
    ctx->deferred[ctx->deferred_len++] = (AioDeferred){.fn = fn, .opaque = opaque};
}
