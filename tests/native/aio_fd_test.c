/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of the event loop: native handlers and watches. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "aio_support.h"

static void source_write(void *opaque)
{
    Source *source = opaque;
    source->writes++;
}

static void test_descriptor_is_read_when_ready(AioContext *ctx)
{
    Source source;
    source_open(&source, ctx);
    CHECK(!aio_poll(ctx, false));
    for (uint64_t i = 1; i <= 17; i++) {
        source_kick(&source, i);
        CHECK(aio_wait(ctx, -1));
        CHECK(source.sum == i * (i - 1) / 2); /* wait runs nothing */
        CHECK(aio_dispatch(ctx));
        CHECK(source.sum == i * (i + 1) / 2);
        CHECK(!aio_poll(ctx, false));
    }
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == -ENOENT);
    source_kick(&source, 1);
    CHECK(!aio_poll(ctx, false));
    close(source.fd);
}

static void ignore_read(void *opaque)
{
    Source *source = opaque;
    source->reads++;
}

static void test_unconsumed_readiness_is_reported_again(AioContext *ctx)
{
    static const AioHandlerOps ops = {.io_read = ignore_read};
    Source source;
    source_open(&source, ctx);
    CHECK(aio_set_fd_handler(ctx, source.fd, &ops, &source) == 0);
    source_kick(&source, 1);
    for (int i = 1; i <= 5; i++) {
        CHECK(aio_poll(ctx, true));
        CHECK(source.reads == i);
    }
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    close(source.fd);
}

static void test_handler_may_remove_itself_and_others(AioContext *ctx)
{
    Source sources[3];
    for (int self = 0; self < 3; self++) {
        for (int i = 0; i < 3; i++) {
            source_open(&sources[i], ctx);
            source_kick(&sources[i], 1);
        }
        /* Whichever runs first removes sources[self] (maybe itself); the others must not fault. */
        for (int i = 0; i < 3; i++) {
            if (i == self) {
                sources[i].victim = &sources[i];
            }
        }
        CHECK(aio_poll(ctx, true));
        CHECK(sources[0].reads + sources[1].reads + sources[2].reads == 3);
        for (int i = 0; i < 3; i++) {
            CHECK(aio_set_fd_handler(ctx, sources[i].fd, NULL, NULL) == (i == self ? -ENOENT : 0));
            close(sources[i].fd);
        }
    }
    /* Two that remove each other: exactly one runs. */
    source_open(&sources[0], ctx);
    source_open(&sources[1], ctx);
    sources[0].victim = &sources[1];
    sources[1].victim = &sources[0];
    source_kick(&sources[0], 1);
    source_kick(&sources[1], 1);
    CHECK(aio_poll(ctx, true));
    CHECK(!aio_poll(ctx, false));
    CHECK(sources[0].reads + sources[1].reads == 1);
    CHECK(aio_set_fd_handler(ctx, sources[sources[1].reads].fd, NULL, NULL) == 0);
    close(sources[0].fd);
    close(sources[1].fd);
}

static void test_number_of_a_closed_descriptor_can_be_used_again(AioContext *ctx)
{
    for (int i = 0; i < 50; i++) {
        Source source;
        source_open(&source, ctx);
        source_kick(&source, 1);
        if (i % 2) {
            CHECK(aio_wait(ctx, -1)); /* seen ready, then removed before dispatch */
        }
        CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
        close(source.fd);
        int old = source.fd;
        source_open(&source, ctx);
        CHECK(source.fd == old);
        aio_poll(ctx, false);
        CHECK(source.reads == 0);
        source_kick(&source, 1);
        CHECK(aio_poll(ctx, true));
        CHECK(source.reads == 1);
        CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
        close(source.fd);
    }
}

static void test_read_and_write_are_told_apart(AioContext *ctx)
{
    static const AioHandlerOps both = {.io_read = source_read, .io_write = source_write};
    Source source = {.ctx = ctx};
    int pair[2];

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    source.fd = pair[0];
    CHECK(aio_set_fd_handler(ctx, pair[0], &both, &source) == 0);
    CHECK(aio_poll(ctx, true));
    CHECK(source.reads == 0 && source.writes == 1);
    CHECK(aio_set_fd_handler(ctx, pair[0], &read_ops, &source) == 0); /* changed in place */
    CHECK(!aio_poll(ctx, false));
    CHECK(write(pair[1], "12345678", 8) == 8);
    CHECK(aio_poll(ctx, true));
    CHECK(source.reads == 1 && source.writes == 1);
    close(pair[1]); /* hang-up shows as readable */
    CHECK(aio_poll(ctx, true));
    CHECK(source.reads == 2);
    CHECK(aio_set_fd_handler(ctx, pair[0], NULL, NULL) == 0);
    close(pair[0]);
}

static void test_bad_descriptors_are_refused(AioContext *ctx)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    CHECK(aio_set_fd_handler(ctx, -1, &read_ops, NULL) == -EBADF);
    CHECK(aio_set_fd_handler(ctx, 1 << 20, &read_ops, NULL) == -EBADF);
    CHECK(aio_set_fd_handler(ctx, file, &read_ops, NULL) == -EPERM);
    CHECK(aio_watch_fd(ctx, file, 1) == -EPERM);
    CHECK(aio_watch_fd(ctx, ctx->notify_fd, 4) == -EINVAL);
    close(file);
}

static void test_watched_descriptors_are_level_triggered(AioContext *ctx)
{
    int pair[2], fds[4], events[4];
    char byte;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    CHECK(aio_watch_fd(ctx, pair[0], 1) == 0);
    CHECK(aio_set_fd_handler(ctx, pair[0], &read_ops, NULL) == -EBUSY);
    CHECK(!aio_wait(ctx, 0) && aio_take_ready(ctx, fds, events, 4) == 0);
    CHECK(write(pair[1], "x", 1) == 1);
    for (int i = 0; i < 3; i++) {
        CHECK(aio_wait(ctx, -1));
        CHECK(!aio_dispatch(ctx)); /* nobody is called */
        CHECK(aio_take_ready(ctx, fds, events, 4) == 1);
        CHECK(fds[0] == pair[0] && events[0] == 1);
        CHECK(aio_take_ready(ctx, fds, events, 4) == 0);
    }
    CHECK(aio_wait(ctx, -1)); /* seen, not taken, drained: gone */
    CHECK(read(pair[0], &byte, 1) == 1);
    CHECK(!aio_wait(ctx, 0) && aio_take_ready(ctx, fds, events, 4) == 0);
    CHECK(aio_watch_fd(ctx, pair[0], 3) == 0);
    CHECK(aio_watch_fd(ctx, pair[1], 2) == 0);
    CHECK(aio_wait(ctx, -1));
    CHECK(aio_take_ready(ctx, fds, events, 1) == 1 && events[0] == 2); /* one at a time */
    CHECK(aio_take_ready(ctx, fds, events, 4) == 1 && events[0] == 2);
    CHECK(aio_watch_fd(ctx, pair[1], 0) == 0);
    CHECK(aio_watch_fd(ctx, pair[1], 0) == -ENOENT);
    close(pair[1]);
    CHECK(aio_wait(ctx, -1));
    CHECK(aio_take_ready(ctx, fds, events, 4) == 1 && events[0] == 3); /* hang-up: both */
    CHECK(aio_watch_fd(ctx, pair[0], 0) == 0);
    close(pair[0]);
}

static void test_changed_and_removed_watch_lets_go_of_its_file(AioContext *ctx)
{
    int pair[2];
    char byte;

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    for (int i = 0; i < 5; i++) { /* asked of the kernel each time, never due */
        CHECK(aio_watch_fd(ctx, pair[0], 1) == 0);
        CHECK(!aio_wait(ctx, 0) && !aio_wait(ctx, 0));
        CHECK(aio_watch_fd(ctx, pair[0], 2) == 0);
    }
    CHECK(aio_watch_fd(ctx, pair[0], 1) == 0);
    CHECK(!aio_wait(ctx, 0) && !aio_wait(ctx, 0));
    CHECK(aio_watch_fd(ctx, pair[0], 0) == 0);
    close(pair[0]);
    CHECK(!aio_wait(ctx, 0));
    CHECK(read(pair[1], &byte, 1) == 0); /* end of file: nobody holds the other end open */
    close(pair[1]);
}

static void test_more_descriptors_than_one_batch_all_get_served(AioContext *ctx)
{
    enum { N = 301 };
    Source *sources = calloc(N, sizeof(*sources));
    int served = 0;
    for (int i = 0; i < N; i++) {
        source_open(&sources[i], ctx);
        source_kick(&sources[i], 1);
    }
    while (served < N) {
        CHECK(aio_poll(ctx, true));
        served = 0;
        for (int i = 0; i < N; i++) {
            CHECK(sources[i].reads <= 1);
            served += sources[i].reads;
        }
    }
    for (int i = 0; i < N; i++) {
        CHECK(aio_set_fd_handler(ctx, sources[i].fd, NULL, NULL) == 0);
        close(sources[i].fd);
    }
    free(sources);
}

int main(void)
{
    static const AioTest tests[] = {
        TEST(test_descriptor_is_read_when_ready),
        TEST(test_unconsumed_readiness_is_reported_again),
        TEST(test_handler_may_remove_itself_and_others),
        TEST(test_number_of_a_closed_descriptor_can_be_used_again),
        TEST(test_read_and_write_are_told_apart),
        TEST(test_bad_descriptors_are_refused),
        TEST(test_watched_descriptors_are_level_triggered),
        TEST(test_changed_and_removed_watch_lets_go_of_its_file),
        TEST(test_more_descriptors_than_one_batch_all_get_served),
    };
    run_tests(tests, sizeof(tests) / sizeof(*tests));
    return 0;
}
