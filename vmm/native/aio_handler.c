/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File descriptors of an AioContext: native handlers and descriptors watched for somebody else.
 *
 * Life of a handler. It is found by its descriptor and a generation, never by a pointer the kernel
 * keeps, so a late event of a removed handler is recognised and dropped. Removal unlinks it from
 * everything at once: it cannot run after aio_set_fd_handler() returned. Only its memory waits
 * until no loop over handlers is on the stack (ctx->walking), because removal may happen inside
 * one of its own functions.
 *
 * Readiness is collected in wait and consumed in dispatch (native) or aio_take_ready() (watched).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "aio_internal.h"

enum { WATCH_READ = 1, WATCH_WRITE = 2 };

uint64_t aio_handler_key(const AioHandler *handler)
{
    return AIO_KEY_BIT | (uint64_t)handler->gen << 31 | (uint32_t)handler->fd;
}

static AioHandler *handler_by_fd(AioContext *ctx, int fd)
{
    return fd >= 0 && (size_t)fd < ctx->by_fd_len ? ctx->by_fd[fd] : NULL;
}

AioHandler *aio_handler_by_key(AioContext *ctx, uint64_t key)
{
    AioHandler *handler = handler_by_fd(ctx, (int)(key & 0x7fffffff));
    return handler && aio_handler_key(handler) == key ? handler : NULL;
}

static bool handler_unpollable(const AioHandler *handler)
{
    return !handler->ops.io_poll;
}

static void handler_queue(AioContext *ctx, AioHandler *handler)
{
    if (!handler->queued) {
        handler->queued = true;
        TAILQ_INSERT_TAIL(handler->watched ? &ctx->ready_watches : &ctx->ready, handler,
                          ready_link);
    }
}

static void handler_unqueue(AioContext *ctx, AioHandler *handler)
{
    if (handler->queued) {
        handler->queued = false;
        TAILQ_REMOVE(handler->watched ? &ctx->ready_watches : &ctx->ready, handler, ready_link);
    }
    handler->revents = 0;
    handler->poll_ready = false;
}

static void handler_rearm(AioContext *ctx, AioHandler *handler)
{
    if (ctx->fdmon->rearm) {
        ctx->fdmon->rearm(ctx, handler);
    }
}

void aio_handler_event(AioContext *ctx, AioHandler *handler, uint32_t revents)
{
    handler->revents |= revents;
    handler_queue(ctx, handler);
}

void aio_handler_poll_ready(AioContext *ctx, AioHandler *handler)
{
    handler->poll_ready = true;
    handler_queue(ctx, handler);
}

static int by_fd_reserve(AioContext *ctx, int fd)
{
    size_t len = ctx->by_fd_len ? ctx->by_fd_len : 64;
    if ((size_t)fd < ctx->by_fd_len) {
        return 0;
    }
    while (len <= (size_t)fd) {
        len *= 2;
    }
    AioHandler **by_fd = realloc(ctx->by_fd, len * sizeof(*by_fd));
    if (!by_fd) {
        return -ENOMEM;
    }
    memset(by_fd + ctx->by_fd_len, 0, (len - ctx->by_fd_len) * sizeof(*by_fd));
    ctx->by_fd = by_fd;
    ctx->by_fd_len = len;
    return 0;
}

/* Change what the kernel watches the descriptor for; -errno leaves everything as it was. */
static int handler_set_events(AioContext *ctx, AioHandler *handler, uint32_t events)
{
    uint32_t old = handler->events;
    if (old == events) {
        return 0;
    }
    handler->events = events;
    int ret = ctx->fdmon->update(ctx, handler, old);
    if (ret < 0 && events) {
        handler->events = old;
        return ret;
    }
    return 0; /* on removal the descriptor may have been closed already: nothing left to undo */
}

static int handler_add(AioContext *ctx, const AioHandler *model)
{
    int ret = by_fd_reserve(ctx, model->fd);
    if (ret < 0) {
        return ret;
    }
    AioHandler *handler = malloc(sizeof(*handler));
    if (!handler) {
        return -ENOMEM;
    }
    *handler = *model;
    handler->events = 0;
    handler->gen = ctx->next_gen++;
    ret = handler_set_events(ctx, handler, model->events);
    if (ret < 0) {
        free(handler);
        return ret;
    }
    ctx->by_fd[handler->fd] = handler;
    TAILQ_INSERT_TAIL(&ctx->handlers, handler, link);
    ctx->live_handlers++;
    ctx->unpollable += handler_unpollable(handler);
    return 0;
}

/* Switch the source's notifications back on if polling had switched them off. */
static void handler_stop_polling(AioHandler *handler)
{
    if (handler->poll_started) {
        handler->poll_started = false;
        if (handler->ops.poll_end) {
            handler->ops.poll_end(handler->opaque);
        }
    }
}

static void handler_remove(AioContext *ctx, AioHandler *handler)
{
    handler_set_events(ctx, handler, 0);
    handler_unqueue(ctx, handler);
    ctx->by_fd[handler->fd] = NULL;
    ctx->unpollable -= handler_unpollable(handler);
    ctx->live_handlers--;
    ctx->deleted_handlers++;
    handler->deleted = true;
    aio_handlers_walk_begin(ctx);
    handler_stop_polling(handler);
    aio_handlers_walk_end(ctx);
}

/* Same descriptor, other functions. What was seen ready is dropped: it will be seen again. */
static int handler_change(AioContext *ctx, AioHandler *handler, const AioHandler *model)
{
    int ret = handler_set_events(ctx, handler, model->events);
    if (ret < 0) {
        return ret;
    }
    handler_stop_polling(handler);
    if (handler->queued) {
        handler_unqueue(ctx, handler);
        handler_rearm(ctx, handler);
    }
    ctx->unpollable -= handler_unpollable(handler);
    handler->ops = model->ops;
    handler->opaque = model->opaque;
    ctx->unpollable += handler_unpollable(handler);
    return 0;
}

static int handler_set(AioContext *ctx, const AioHandler *model, bool remove)
{
    AioHandler *handler = handler_by_fd(ctx, model->fd);
    if (model->fd < 0) {
        return -EBADF;
    }
    if (handler && handler->watched != model->watched) {
        return remove ? -ENOENT : -EBUSY;
    }
    if (remove) {
        if (!handler) {
            return -ENOENT;
        }
        handler_remove(ctx, handler);
        return 0;
    }
    return handler ? handler_change(ctx, handler, model) : handler_add(ctx, model);
}

int aio_set_fd_handler(AioContext *ctx, int fd, const AioHandlerOps *ops, void *opaque)
{
    static const AioHandlerOps none;
    AioHandler model = {.fd = fd, .ops = ops ? *ops : none, .opaque = opaque};

    model.events = (model.ops.io_read ? POLLIN : 0) | (model.ops.io_write ? POLLOUT : 0);
    return handler_set(ctx, &model, !model.events && !model.ops.io_poll);
}

int aio_watch_fd(AioContext *ctx, int fd, int events)
{
    AioHandler model = {.fd = fd, .watched = true};

    if (events & ~(WATCH_READ | WATCH_WRITE)) {
        return -EINVAL;
    }
    model.events = (events & WATCH_READ ? POLLIN : 0) | (events & WATCH_WRITE ? POLLOUT : 0);
    return handler_set(ctx, &model, !events);
}

/* Error and hang-up count as both: whoever waits must find out, from read() or write(). */
static int watch_events(const AioHandler *handler)
{
    int events = 0;
    if (handler->events & POLLIN && handler->revents & ~(uint32_t)POLLOUT) {
        events |= WATCH_READ;
    }
    if (handler->events & POLLOUT && handler->revents & ~(uint32_t)POLLIN) {
        events |= WATCH_WRITE;
    }
    return events;
}

int aio_take_ready(AioContext *ctx, int *fds, int *events, int max)
{
    AioHandler *handler;
    int n = 0;

    while (n < max && (handler = TAILQ_FIRST(&ctx->ready_watches))) {
        fds[n] = handler->fd;
        events[n] = watch_events(handler);
        n += events[n] != 0;
        handler_unqueue(ctx, handler);
        handler_rearm(ctx, handler);
    }
    return n;
}

/* A new wait begins: only what is ready now counts, and what still is will be reported again. */
void aio_handlers_forget_watches(AioContext *ctx)
{
    AioHandler *handler;
    while ((handler = TAILQ_FIRST(&ctx->ready_watches))) {
        handler_unqueue(ctx, handler);
        handler_rearm(ctx, handler);
    }
}

void aio_handlers_walk_begin(AioContext *ctx)
{
    ctx->walking++;
}

void aio_handlers_walk_end(AioContext *ctx)
{
    AioHandler *handler, *next;
    if (--ctx->walking > 0) {
        return;
    }
    for (handler = TAILQ_FIRST(&ctx->handlers); handler && ctx->deleted_handlers; handler = next) {
        next = TAILQ_NEXT(handler, link);
        if (handler->deleted) {
            TAILQ_REMOVE(&ctx->handlers, handler, link);
            ctx->deleted_handlers--;
            free(handler);
        }
    }
}

/* ops are read anew before each call: the one before may have removed or changed the handler. */
static void handler_run(AioHandler *handler, uint32_t revents, bool poll_ready)
{
    if (poll_ready && handler->ops.io_poll_ready) {
        handler->ops.io_poll_ready(handler->opaque);
    }
    if (revents & ~(uint32_t)POLLOUT && !handler->deleted && handler->ops.io_read) {
        handler->ops.io_read(handler->opaque);
    }
    if (revents & ~(uint32_t)POLLIN && !handler->deleted && handler->ops.io_write) {
        handler->ops.io_write(handler->opaque);
    }
}

/* Caller is inside aio_handlers_walk_begin/end. */
bool aio_handlers_dispatch(AioContext *ctx)
{
    AioHandler *handler;
    uint64_t runs = 0;

    while ((handler = TAILQ_FIRST(&ctx->ready))) {
        uint32_t revents = handler->revents;
        bool poll_ready = handler->poll_ready;
        handler_unqueue(ctx, handler);
        if (revents) {
            handler_rearm(ctx, handler);
        }
        handler_run(handler, revents, poll_ready);
        runs++;
    }
    aio_count(&ctx->stats.fd_runs, runs);
    return runs > 0;
}

void aio_handlers_free(AioContext *ctx)
{
    AioHandler *handler;
    while ((handler = TAILQ_FIRST(&ctx->handlers))) {
        handler_remove(ctx, handler);
    }
    free(ctx->by_fd);
}
