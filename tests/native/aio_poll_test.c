/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Adaptive polling. Time is never what a test waits for: sources become ready inside the calls that
 * the loop makes, and the poll time's rule is checked on given waits. */
#include <string.h>

#include "aio_support.h"

typedef struct Polled {
    AioContext *ctx;
    int fd;
    int looks, ready_at; /* io_poll says yes at this look, 0 = never */
    int runs, begins, ends, reads;
    bool work_at_end; /* poll_end finds something */
    bool remove_in_poll, remove_in_run;
} Polled;

static void polled_remove(Polled *polled)
{
    CHECK(aio_set_fd_handler(polled->ctx, polled->fd, NULL, NULL) == 0);
}

static bool polled_poll(void *opaque)
{
    Polled *polled = opaque;
    CHECK(polled->begins == polled->ends + 1);
    if (polled->remove_in_poll) {
        polled_remove(polled);
        return true;
    }
    return ++polled->looks == polled->ready_at;
}

static void polled_run(void *opaque)
{
    Polled *polled = opaque;
    polled->runs++;
    if (polled->remove_in_run) {
        polled_remove(polled);
    }
}

static void polled_read(void *opaque)
{
    Polled *polled = opaque;
    uint64_t value;
    polled->reads++;
    CHECK(read(polled->fd, &value, sizeof(value)) == sizeof(value));
}

static void polled_begin(void *opaque)
{
    Polled *polled = opaque;
    polled->begins++;
}

static bool polled_end(void *opaque)
{
    Polled *polled = opaque;
    polled->ends++;
    return polled->work_at_end;
}

static const AioHandlerOps polled_ops = {
    .io_read = polled_read,
    .io_poll = polled_poll,
    .io_poll_ready = polled_run,
    .poll_begin = polled_begin,
    .poll_end = polled_end,
};

static void polled_open(Polled *polled, AioContext *ctx)
{
    *polled = (Polled){.ctx = ctx, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    CHECK(aio_set_fd_handler(ctx, polled->fd, &polled_ops, polled) == 0);
}

/* Long enough that a look succeeds long before, on any machine. */
static void poll_long(AioContext *ctx)
{
    aio_set_poll_params(ctx, 60000000000, 0, 0);
    atomic_store(&ctx->poll_ns, 60000000000);
    aio_dispatch(ctx); /* consumes the notification */
}

static void test_polling_finds_work_without_the_kernel(AioContext *ctx)
{
    Polled polled;
    AioStats stats;

    polled_open(&polled, ctx);
    poll_long(ctx);
    for (int i = 1; i <= 9; i++) {
        polled.looks = 0;
        polled.ready_at = 3;
        CHECK(aio_poll(ctx, true));
        CHECK(polled.runs == i && polled.looks == 3 && polled.reads == 0);
        CHECK(polled.begins == 1 && polled.ends == 0); /* stays off from one poll to the next */
    }
    aio_stats(ctx, &stats);
    CHECK(stats.poll_ok == 9 && stats.poll_miss == 0);
    CHECK(!aio_poll(ctx, false)); /* a poll that may not spin switches back */
    CHECK(polled.ends == 1);
    polled_remove(&polled);
    CHECK(polled.begins == 1 && polled.ends == 1);
    close(polled.fd);
}

static void test_missed_poll_ends_before_blocking(AioContext *ctx)
{
    Polled polled;
    AioStats stats;

    polled_open(&polled, ctx);
    aio_set_poll_params(ctx, 2000, 0, 0);
    atomic_store(&ctx->poll_ns, 2000);
    aio_dispatch(ctx);
    polled.work_at_end = true; /* came between the last look and the switch */
    CHECK(aio_poll(ctx, true));
    CHECK(polled.runs == 1 && polled.begins == 1 && polled.ends == 1 && polled.looks > 0);
    aio_stats(ctx, &stats);
    CHECK(stats.poll_ok == 0 && stats.poll_miss == 1);

    polled.work_at_end = false; /* the kernel reports what polling does not */
    uint64_t one = 1;
    CHECK(write(polled.fd, &one, sizeof(one)) == sizeof(one));
    CHECK(aio_poll(ctx, true));
    CHECK(polled.reads == 1 && polled.begins == polled.ends);
    polled_remove(&polled);
    close(polled.fd);
}

static void test_handler_that_cannot_be_polled_forbids_polling(AioContext *ctx)
{
    Polled polled;
    Source source;

    polled_open(&polled, ctx);
    source_open(&source, ctx);
    poll_long(ctx);
    source_kick(&source, 1);
    CHECK(aio_poll(ctx, true));
    CHECK(source.reads == 1 && polled.begins == 0);
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    polled.ready_at = 1;
    CHECK(aio_poll(ctx, true)); /* gone: polling again */
    CHECK(polled.begins == 1 && polled.runs == 1);
    CHECK(aio_watch_fd(ctx, source.fd, 1) == 0);
    source_kick(&source, 1);
    aio_poll(ctx, true);
    CHECK(polled.ends == 1);
    CHECK(aio_watch_fd(ctx, source.fd, 0) == 0);
    close(source.fd);
    polled_remove(&polled);
    close(polled.fd);
}

static void test_removal_while_polling_switches_notifications_on(AioContext *ctx)
{
    Polled first, second, third;

    polled_open(&first, ctx);
    polled_open(&second, ctx);
    polled_open(&third, ctx);
    poll_long(ctx);
    first.remove_in_poll = true; /* from inside its own look: not run any more */
    second.ready_at = 1;
    second.remove_in_run = true;
    CHECK(aio_poll(ctx, true));
    CHECK(first.runs == 0 && first.begins == 1 && first.ends == 1);
    CHECK(second.runs == 1 && second.begins == 1 && second.ends == 1);
    CHECK(third.runs == 0 && third.begins == 1 && third.ends == 0);
    polled_remove(&third);
    CHECK(third.ends == 1);
    close(first.fd);
    close(second.fd);
    close(third.fd);
}

static void count_bh(void *opaque)
{
    ++*(int *)opaque;
}

static bool poll_schedules(void *opaque)
{
    Polled *polled = opaque;
    if (++polled->looks == 5) {
        aio_bh_oneshot(polled->ctx, count_bh, &polled->runs);
    }
    return false;
}

typedef struct PolledCqe {
    AioCqe cqe;
    Polled polled;
} PolledCqe;

static void cqe_count(AioCqe *cqe, int res)
{
    ((PolledCqe *)cqe)->polled.runs++;
}

static bool poll_submits(void *opaque)
{
    PolledCqe *mine = opaque;
    if (++mine->polled.looks == 5) {
        io_uring_prep_nop(aio_get_sqe(mine->polled.ctx, &mine->cqe));
        aio_submit(mine->polled.ctx);
    }
    return false;
}

static void test_polling_sees_bottom_halves_and_completions(AioContext *ctx)
{
    static const AioHandlerOps schedules = {.io_poll = poll_schedules},
                               submits = {.io_poll = poll_submits};
    PolledCqe mine = {.cqe.complete = cqe_count, .polled.ctx = ctx};

    mine.polled.fd = eventfd(0, EFD_CLOEXEC);
    poll_long(ctx);
    CHECK(aio_set_fd_handler(ctx, mine.polled.fd, &schedules, &mine.polled) == 0);
    CHECK(aio_poll(ctx, true));
    CHECK(mine.polled.looks == 6 && mine.polled.runs == 1); /* seen by the look after */
    CHECK(aio_set_fd_handler(ctx, mine.polled.fd, &submits, &mine) == 0);
    mine.polled.looks = 0;
    while (mine.polled.runs < 2) {
        CHECK(aio_poll(ctx, true));
    }
    CHECK(aio_set_fd_handler(ctx, mine.polled.fd, NULL, NULL) == 0);
    close(mine.polled.fd);
}

static bool end_schedules(void *opaque)
{
    Polled *polled = opaque;
    aio_bh_oneshot(polled->ctx, count_bh, &polled->runs);
    return false;
}

/* Between the loop's last look and its announcement that it blocks, nobody writes the eventfd. */
static void test_bottom_half_scheduled_right_before_blocking_is_seen(AioContext *ctx)
{
    static const AioHandlerOps ops = {
        .io_poll = polled_poll, .poll_begin = polled_begin, .poll_end = end_schedules};
    Polled polled;

    polled_open(&polled, ctx);
    CHECK(aio_set_fd_handler(ctx, polled.fd, &ops, &polled) == 0);
    aio_set_poll_params(ctx, 2000, 0, 0);
    atomic_store(&ctx->poll_ns, 2000);
    aio_dispatch(ctx);
    CHECK(aio_poll(ctx, true)); /* blocks for ever if it is not */
    CHECK(polled.runs == 1);
    polled_remove(&polled);
    close(polled.fd);
}

static uint64_t adjusted(AioContext *ctx, int64_t waited_ns)
{
    AioStats stats;
    aio_poll_adjust(ctx, waited_ns);
    aio_stats(ctx, &stats);
    return stats.poll_ns;
}

static void test_poll_time_follows_the_waits(AioContext *ctx)
{
    aio_set_poll_params(ctx, 32768, 0, 0);
    CHECK(adjusted(ctx, 40000) == 0);    /* too long to poll for */
    CHECK(adjusted(ctx, 10000) == 4000); /* first step */
    CHECK(adjusted(ctx, 10000) == 8000); /* doubles */
    CHECK(adjusted(ctx, 7999) == 8000);  /* long enough */
    CHECK(adjusted(ctx, 10000) == 16000);
    CHECK(adjusted(ctx, 20000) == 32000);
    CHECK(adjusted(ctx, 32400) == 32768); /* never above the limit */
    CHECK(adjusted(ctx, 32768) == 32768);
    CHECK(adjusted(ctx, 40000) == 0); /* shrink 0: back to 0 */
    aio_set_poll_params(ctx, 32768, 3, 4);
    CHECK(adjusted(ctx, 10000) == 4000);
    CHECK(adjusted(ctx, 10000) == 12000);
    CHECK(adjusted(ctx, 40000) == 3000);
    aio_set_poll_params(ctx, 1000, 0, 0);
    CHECK(adjusted(ctx, 1) == 1000); /* the limit was lowered */
}

int main(void)
{
    static const AioTest tests[] = {
        TEST(test_polling_finds_work_without_the_kernel),
        TEST(test_missed_poll_ends_before_blocking),
        TEST(test_handler_that_cannot_be_polled_forbids_polling),
        TEST(test_removal_while_polling_switches_notifications_on),
        TEST(test_polling_sees_bottom_halves_and_completions),
        TEST(test_bottom_half_scheduled_right_before_blocking_is_seen),
        TEST(test_poll_time_follows_the_waits),
    };
    run_tests(tests, sizeof(tests) / sizeof(*tests));
    return 0;
}
