/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Waiting by epoll, level-triggered. The ring's descriptor and the notifier are in the set. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "aio_internal.h"

/* poll.h and epoll.h give the events we use the same bits; update() and wait() rely on it. */
_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
                   EPOLLHUP == POLLHUP,
               "poll and epoll bits");

enum { EPOLL_BATCH = 64 };

static int epoll_add(AioContext *ctx, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event event = {.events = events, .data.u64 = key};
    return epoll_ctl(ctx->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void fdmon_epoll_teardown(AioContext *ctx)
{
    if (ctx->epoll_fd >= 0) {
        close(ctx->epoll_fd);
        ctx->epoll_fd = -1;
    }
}

static int fdmon_epoll_setup(AioContext *ctx)
{
    ctx->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (ctx->epoll_fd < 0) {
        return -errno;
    }
    /* Edge-triggered: each write() to the eventfd is an edge, so it never needs to be read. */
    int ret = epoll_add(ctx, ctx->notify_fd, EPOLLIN | EPOLLET, AIO_KEY_NOTIFY);
    if (ret == 0 && ctx->has_ring) {
        ret = epoll_add(ctx, ctx->ring.ring_fd, EPOLLIN, AIO_KEY_RING);
    }
    if (ret < 0) {
        fdmon_epoll_teardown(ctx);
    }
    return ret;
}

static int fdmon_epoll_update(AioContext *ctx, AioHandler *handler, uint32_t old_events)
{
    int op = !old_events ? EPOLL_CTL_ADD : handler->events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    struct epoll_event event = {.events = handler->events, .data.u64 = aio_handler_key(handler)};
    return epoll_ctl(ctx->epoll_fd, op, handler->fd, &event) < 0 ? -errno : 0;
}

/* Nanoseconds where the kernel can (5.11), else milliseconds, never too early. */
static int epoll_wait_ns(AioContext *ctx, struct epoll_event *events, int64_t timeout_ns)
{
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};

    if (timeout_ns <= 0) {
        return epoll_wait(ctx->epoll_fd, events, EPOLL_BATCH, timeout_ns < 0 ? -1 : 0);
    }
    if (!ctx->no_epoll_pwait2) {
        int n = epoll_pwait2(ctx->epoll_fd, events, EPOLL_BATCH, &ts, NULL);
        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
        ctx->no_epoll_pwait2 = true;
    }
    int64_t ms = (timeout_ns + 999999) / 1000000;
    return epoll_wait(ctx->epoll_fd, events, EPOLL_BATCH, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

static void fdmon_epoll_wait(AioContext *ctx, int64_t timeout_ns)
{
    struct epoll_event events[EPOLL_BATCH];

    aio_ring_flush(ctx);
    int n = epoll_wait_ns(ctx, events, timeout_ns);
    for (int i = 0; i < n; i++) { /* n < 0: EINTR, an early return as any other */
        AioHandler *handler = aio_handler_by_key(ctx, events[i].data.u64);
        if (handler) { /* else the notifier, the ring, or a descriptor closed before its removal */
            aio_handler_event(ctx, handler, events[i].events);
        }
    }
}

const AioFdmonOps aio_fdmon_epoll = {
    .id = AIO_FDMON_EPOLL,
    .setup = fdmon_epoll_setup,
    .teardown = fdmon_epoll_teardown,
    .update = fdmon_epoll_update,
    .wait = fdmon_epoll_wait,
};
