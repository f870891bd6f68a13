/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the event loop's test programs share: an eventfd with a handler, and the test runner. */
#ifndef TESTS_NATIVE_AIO_SUPPORT_H
#define TESTS_NATIVE_AIO_SUPPORT_H

#include <sys/eventfd.h>
#include <unistd.h>

#include "aio_internal.h"
#include "check.h"

typedef struct AioTest {
    const char *name;
    void (*fn)(AioContext *ctx);
} AioTest;

#define TEST(fn) {#fn, fn}

typedef struct Source {
    AioContext *ctx;
    int fd;
    int reads, writes;
    uint64_t sum;
    struct Source *victim; /* removed by our read handler */
} Source;

static void source_read(void *opaque)
{
    Source *source = opaque;
    uint64_t value;

    source->reads++;
    if (read(source->fd, &value, sizeof(value)) == sizeof(value)) {
        source->sum += value;
    }
    if (source->victim) {
        CHECK(aio_set_fd_handler(source->ctx, source->victim->fd, NULL, NULL) == 0);
    }
}

static const AioHandlerOps read_ops = {.io_read = source_read};

static void source_open(Source *source, AioContext *ctx)
{
    *source = (Source){.ctx = ctx, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    CHECK(source->fd >= 0);
    CHECK(aio_set_fd_handler(ctx, source->fd, &read_ops, source) == 0);
}

static void source_kick(Source *source, uint64_t value)
{
    CHECK(write(source->fd, &value, sizeof(value)) == sizeof(value));
}

/* Run the tests on a fresh context each, once for each way of waiting. */
static void run_tests(const AioTest *tests, size_t count)
{
    for (int fdmon = AIO_FDMON_EPOLL; fdmon <= AIO_FDMON_IO_URING; fdmon++) {
        for (size_t i = 0; i < count; i++) {
            AioConfig config = {.fdmon = fdmon, .ring = true};
            AioContext *ctx = aio_context_new(&config);
            CHECK(ctx && aio_fdmon(ctx) == fdmon);
            tests[i].fn(ctx);
            aio_context_free(ctx);
            printf("ok %s %s\n", fdmon == AIO_FDMON_EPOLL ? "epoll" : "io_uring", tests[i].name);
        }
    }
}

#endif
