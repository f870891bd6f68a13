/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waiting by io_uring: each descriptor is a one-shot poll request on the context's ring, asked for
 * again once its event was consumed. Asking anew looks at the descriptor's state, so the handlers
 * see level-triggered events as with epoll; and since the requests go out with the same system call
 * that waits and submits block I/O, asking costs no call of its own. A multishot poll was rejected:
 * it reports edges.
 *
 * Requests are only queued here and go out in wait, because the kernel cancels the requests of a
 * thread that ends, and handlers may be added by a thread that only sets the context up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "aio_internal.h"

static int fdmon_io_uring_setup(AioContext *ctx)
{
    /* Without EXT_ARG (5.11) a timeout would be a request of its own. */
    return ctx->has_ring && ctx->ring.features & IORING_FEAT_EXT_ARG ? 0 : -ENOSYS;
}

static void fdmon_io_uring_teardown(AioContext *ctx)
{
}

static void arm_queue(AioContext *ctx, AioHandler *handler)
{
    if (!handler->arm_queued && !handler->armed && handler->events) {
        handler->arm_queued = true;
        TAILQ_INSERT_TAIL(&ctx->arm, handler, arm_link);
    }
}

static void arm_unqueue(AioContext *ctx, AioHandler *handler)
{
    if (handler->arm_queued) {
        handler->arm_queued = false;
        TAILQ_REMOVE(&ctx->arm, handler, arm_link);
    }
}

/* Void the poll request that is with the kernel. At once, because it holds a reference to the file
 * (a socket that is closed next would stay open). */
static void disarm(AioContext *ctx, AioHandler *handler)
{
    if (handler->armed) {
        struct io_uring_sqe *sqe = aio_ring_sqe(ctx);
        if (sqe) { /* else it dies unrecognised when it fires: the generation changes below */
            io_uring_prep_poll_remove(sqe, aio_handler_key(handler));
            io_uring_sqe_set_data64(sqe, 0);
            aio_ring_flush(ctx);
        }
        handler->armed = false;
    }
    handler->gen = ctx->next_gen++;
}

/* The errors that epoll_ctl() would give: a poll request reports them too late. */
static int check_fd(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ? -EPERM : 0;
}

static int fdmon_io_uring_update(AioContext *ctx, AioHandler *handler, uint32_t old_events)
{
    if (!old_events) {
        int ret = check_fd(handler->fd);
        if (ret < 0) {
            return ret;
        }
    }
    arm_unqueue(ctx, handler);
    disarm(ctx, handler);
    arm_queue(ctx, handler);
    return 0;
}

static void arm_notifier(AioContext *ctx)
{
    struct io_uring_sqe *sqe = ctx->notify_armed ? NULL : aio_ring_sqe(ctx);
    if (sqe) {
        /* Multishot and never read: each write() to the eventfd is one completion. */
        io_uring_prep_poll_multishot(sqe, ctx->notify_fd, POLLIN);
        io_uring_sqe_set_data64(sqe, AIO_KEY_NOTIFY);
        ctx->notify_armed = true;
    }
}

static void arm_handlers(AioContext *ctx)
{
    AioHandler *handler;
    while ((handler = TAILQ_FIRST(&ctx->arm))) {
        struct io_uring_sqe *sqe = aio_ring_sqe(ctx);
        if (!sqe) {
            return; /* in the next wait */
        }
        io_uring_prep_poll_add(sqe, handler->fd, handler->events);
        io_uring_sqe_set_data64(sqe, aio_handler_key(handler));
        arm_unqueue(ctx, handler);
        handler->armed = true;
    }
}

static void fdmon_io_uring_wait(AioContext *ctx, int64_t timeout_ns)
{
    struct __kernel_timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    struct io_uring_cqe *cqe;

    arm_notifier(ctx);
    arm_handlers(ctx);
    if (!ctx->notify_armed || !TAILQ_EMPTY(&ctx->arm)) {
        timeout_ns = 0; /* the kernel took no more requests: never sleep deaf */
    }
    if (io_uring_sq_ready(&ctx->ring) > 0) {
        aio_count(&ctx->stats.submits, 1);
    } else if (timeout_ns == 0) {
        return; /* whatever happened is in the ring, or its flag says so: see aio_ring_collect() */
    }
    if (timeout_ns == 0) {
        io_uring_submit_and_get_events(&ctx->ring);
    } else {
        io_uring_submit_and_wait_timeout(&ctx->ring, &cqe, 1, timeout_ns < 0 ? NULL : &ts, NULL);
    }
}

const AioFdmonOps aio_fdmon_io_uring = {
    .id = AIO_FDMON_IO_URING,
    .setup = fdmon_io_uring_setup,
    .teardown = fdmon_io_uring_teardown,
    .update = fdmon_io_uring_update,
    .rearm = arm_queue,
    .wait = fdmon_io_uring_wait,
};
