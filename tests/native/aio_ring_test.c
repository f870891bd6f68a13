/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The event loop's io_uring: submission, completion, batches, and life without it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "aio_support.h"

static uint64_t submits(AioContext *ctx)
{
    AioStats stats;
    aio_stats(ctx, &stats);
    return stats.submits;
}

typedef struct Request {
    AioCqe cqe;
    AioContext *ctx;
    int completions, res;
    int *total;
} Request;

static void request_complete(AioCqe *cqe, int res)
{
    Request *request = (Request *)cqe;
    request->completions++;
    request->res = res;
    ++*request->total;
}

static void request_nop(Request *request)
{
    struct io_uring_sqe *sqe = aio_get_sqe(request->ctx, &request->cqe);
    CHECK(sqe);
    io_uring_prep_nop(sqe);
    aio_submit(request->ctx);
}

static Request request_new(AioContext *ctx, int *total)
{
    return (Request){.cqe.complete = request_complete, .ctx = ctx, .total = total};
}

static void test_results_and_errors_arrive(AioContext *ctx)
{
    int total = 0;
    char buffer[16] = "unread", written[16];
    Request good = request_new(ctx, &total), bad = request_new(ctx, &total);
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

    io_uring_prep_read(aio_get_sqe(ctx, &good.cqe), fd, buffer, sizeof(buffer), 0);
    io_uring_prep_read(aio_get_sqe(ctx, &bad.cqe), -1, written, sizeof(written), 0);
    aio_submit(ctx);
    while (total < 2) {
        CHECK(aio_wait(ctx, -1)); /* takes completions off the ring, runs none */
        int before = total;
        CHECK(aio_wait(ctx, -1) && total == before);
        CHECK(aio_dispatch(ctx) && total > before);
    }
    CHECK(good.res == sizeof(buffer) && buffer[0] == 0 && bad.res == -EBADF);
    CHECK(!aio_poll(ctx, false));
    close(fd);
}

static void test_wait_submits_what_was_only_queued(AioContext *ctx)
{
    int total = 0;
    Request request = request_new(ctx, &total);
    io_uring_prep_nop(aio_get_sqe(ctx, &request.cqe));
    CHECK(aio_poll(ctx, true));
    CHECK(total == 1 && request.res == 0);
}

static void test_a_batch_is_one_submission(AioContext *ctx)
{
    int total = 0;
    Request requests[32];

    aio_poll(ctx, false); /* the loop's own requests out of the way */
    uint64_t before = submits(ctx);
    aio_batch_begin(ctx);
    aio_batch_begin(ctx);
    for (int i = 0; i < 32; i++) {
        requests[i] = request_new(ctx, &total);
        request_nop(&requests[i]);
    }
    aio_batch_end(ctx);
    CHECK(submits(ctx) == before);
    aio_batch_end(ctx);
    CHECK(submits(ctx) == before + 1);
    while (total < 32) {
        aio_poll(ctx, true);
    }
    for (int i = 0; i < 32; i++) {
        CHECK(requests[i].completions == 1);
    }
    before = submits(ctx);
    aio_submit(ctx); /* nothing queued, no system call */
    CHECK(submits(ctx) == before);
    request_nop(&requests[0]); /* outside a batch: at once */
    CHECK(submits(ctx) == before + 1);
    while (total < 33) {
        aio_poll(ctx, true);
    }
}

static void test_more_requests_than_any_queue_holds(AioContext *ctx)
{
    enum { N = 10007 }; /* submission queue 256, stage 512, completion queue 4096 */
    int total = 0;
    Request *requests = calloc(N, sizeof(*requests));

    aio_batch_begin(ctx);
    for (int i = 0; i < N; i++) {
        requests[i] = request_new(ctx, &total);
        request_nop(&requests[i]);
    }
    aio_batch_end(ctx);
    while (total < N) {
        CHECK(aio_poll(ctx, true));
    }
    for (int i = 0; i < N; i++) {
        CHECK(requests[i].completions == 1 && requests[i].res == 0);
    }
    AioStats stats;
    aio_stats(ctx, &stats);
    CHECK(stats.cqes == N && ctx->inflight == 0);
    free(requests);
}

static void test_ring_and_descriptors_share_a_wait(AioContext *ctx)
{
    int total = 0;
    Source source;
    Request request = request_new(ctx, &total);

    source_open(&source, ctx);
    source_kick(&source, 7);
    request_nop(&request);
    while (total < 1 || source.reads < 1) {
        CHECK(aio_poll(ctx, true));
    }
    CHECK(total == 1 && source.sum == 7);
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    close(source.fd);
}

/* ---- batches and deferred calls ---- */

typedef struct Calls {
    AioContext *ctx;
    char text[32];
    uint64_t submits_seen;
} Calls;

static void call_a(void *opaque)
{
    strcat(((Calls *)opaque)->text, "a");
}

static void call_b(void *opaque)
{
    strcat(((Calls *)opaque)->text, "b");
}

static void call_c_defers(void *opaque)
{
    Calls *calls = opaque;
    strcat(calls->text, "c");
    aio_defer_call(calls->ctx, call_a, calls); /* a has been run: it must run again */
}

static void test_deferred_calls_run_once_at_the_outermost_end(AioContext *ctx)
{
    Calls calls = {.ctx = ctx}, other = {.ctx = ctx};

    aio_defer_call(ctx, call_a, &calls); /* no batch: at once */
    CHECK(!strcmp(calls.text, "a"));
    aio_batch_begin(ctx);
    aio_defer_call(ctx, call_b, &calls);
    aio_batch_begin(ctx);
    aio_defer_call(ctx, call_a, &calls);
    aio_defer_call(ctx, call_b, &calls);
    aio_defer_call(ctx, call_b, &other);
    aio_batch_end(ctx);
    CHECK(!strcmp(calls.text, "a"));
    aio_batch_end(ctx);
    CHECK(!strcmp(calls.text, "aba") && !strcmp(other.text, "b"));

    calls.text[0] = 0;
    aio_batch_begin(ctx);
    aio_defer_call(ctx, call_a, &calls);
    aio_defer_call(ctx, call_c_defers, &calls);
    aio_batch_end(ctx);
    CHECK(!strcmp(calls.text, "aca"));
}

static void call_submits(void *opaque)
{
    Calls *calls = opaque;
    strcat(calls->text, "i");
    calls->submits_seen = submits(calls->ctx);
}

typedef struct Chained {
    Request request;
    Calls *calls;
    int left;
} Chained;

static void chained_complete(AioCqe *cqe, int res)
{
    Chained *chained = (Chained *)cqe;
    CHECK(res == 0);
    aio_defer_call(chained->request.ctx, call_submits, chained->calls);
    ++*chained->request.total;
    if (chained->left-- > 0) {
        request_nop(&chained->request);
    }
}

static void test_completions_run_in_one_batch(AioContext *ctx)
{
    enum { WIDTH = 8, ROUNDS = 5 };
    int total = 0;
    Calls calls = {.ctx = ctx};
    Chained chained[WIDTH];

    aio_batch_begin(ctx);
    for (int i = 0; i < WIDTH; i++) {
        chained[i] = (Chained){.request = request_new(ctx, &total), .calls = &calls, .left = 4};
        chained[i].request.cqe.complete = chained_complete;
        request_nop(&chained[i].request);
    }
    aio_batch_end(ctx);
    for (int round = 1; round <= ROUNDS; round++) {
        CHECK(aio_wait(ctx, -1)); /* requests that do nothing complete in the submission */
        uint64_t before = submits(ctx);
        CHECK(aio_dispatch(ctx));
        CHECK(total == round * WIDTH);
        CHECK(strlen(calls.text) == (size_t)round);               /* one interrupt */
        CHECK(calls.submits_seen == before);                      /* before the submission */
        CHECK(submits(ctx) == before + (round < ROUNDS ? 1 : 0)); /* of all requests at once */
    }
    CHECK(!aio_poll(ctx, false));
}

static void nested_complete(AioCqe *cqe, int res)
{
    Request *request = (Request *)cqe;
    ++*request->total;
    while (*request->total < 23) { /* a drain: submissions must not wait for our batch to end */
        if (*request->total == 1) {
            ++*request->total;
            struct io_uring_sqe *sqe = aio_get_sqe(request->ctx, &request[22].cqe);
            io_uring_prep_nop(sqe);
            aio_submit(request->ctx);
        }
        aio_poll(request->ctx, true);
    }
}

static void test_completion_may_poll_the_context(AioContext *ctx)
{
    int total = 0;
    Request requests[23];
    aio_batch_begin(ctx);
    for (int i = 0; i < 22; i++) {
        requests[i] = request_new(ctx, &total);
        if (i == 0) {
            requests[i].cqe.complete = nested_complete;
        }
        request_nop(&requests[i]);
    }
    requests[22] = request_new(ctx, &total);
    aio_batch_end(ctx);
    while (total < 24) {
        CHECK(aio_poll(ctx, true));
    }
    CHECK(requests[22].completions == 1);
}

/* ---- without a ring ---- */

static int no_ring_enosys(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    return -ENOSYS;
}

static int no_ring_eperm(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    return -EPERM;
}

static int no_ring_enomem(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    return -ENOMEM;
}

static int old_ring(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    if (params->flags & ~(unsigned)(IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)) {
        return -EINVAL;
    }
    return io_uring_queue_init_params(entries, ring, params);
}

static void test_everything_else_works_without_a_ring(AioRingSetupFn *ring_setup, int fdmon)
{
    AioConfig config = {.fdmon = fdmon, .ring = true, .poll_max_ns = 32768};
    AioContext *ctx = aio_context_new_with(&config, ring_setup);
    Calls calls = {.ctx = ctx};
    AioCqe cqe = {0};
    Source source;

    CHECK(ctx && !aio_has_ring(ctx) && aio_fdmon(ctx) == AIO_FDMON_EPOLL);
    CHECK(!aio_get_sqe(ctx, &cqe));
    source_open(&source, ctx);
    source_kick(&source, 3);
    aio_bh_oneshot(ctx, call_a, &calls);
    aio_batch_begin(ctx);
    aio_submit(ctx);
    aio_batch_end(ctx);
    while (source.sum < 3 || !calls.text[0]) {
        CHECK(aio_poll(ctx, true));
    }
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    close(source.fd);
    aio_context_free(ctx);
}

static void test_configurations_fall_back(void)
{
    static AioRingSetupFn *const broken[] = {no_ring_enosys, no_ring_eperm, no_ring_enomem};
    AioConfig config = {.ring = true};

    for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
        for (int fdmon = AIO_FDMON_AUTO; fdmon <= AIO_FDMON_IO_URING; fdmon++) {
            test_everything_else_works_without_a_ring(broken[i], fdmon);
        }
    }
    AioContext *ctx = aio_context_new_with(&config, old_ring);
    CHECK(ctx && aio_has_ring(ctx)); /* an older kernel: fewer flags */
    test_results_and_errors_arrive(ctx);
    aio_context_free(ctx);

    ctx = aio_context_new(&config);
    CHECK(ctx && aio_has_ring(ctx) && aio_fdmon(ctx) == AIO_FDMON_IO_URING);
    aio_context_free(ctx);
    ctx = aio_context_new(&(AioConfig){.ring = false});
    CHECK(ctx && !aio_has_ring(ctx) && aio_fdmon(ctx) == AIO_FDMON_EPOLL);
    aio_context_free(ctx);
    errno = 0;
    CHECK(!aio_context_new(&(AioConfig){.fdmon = 3}) && errno == EINVAL);
    printf("ok test_configurations_fall_back\n");
}

int main(void)
{
    static const AioTest tests[] = {
        TEST(test_results_and_errors_arrive),
        TEST(test_wait_submits_what_was_only_queued),
        TEST(test_a_batch_is_one_submission),
        TEST(test_more_requests_than_any_queue_holds),
        TEST(test_ring_and_descriptors_share_a_wait),
        TEST(test_deferred_calls_run_once_at_the_outermost_end),
        TEST(test_completions_run_in_one_batch),
        TEST(test_completion_may_poll_the_context),
    };
    run_tests(tests, sizeof(tests) / sizeof(*tests));
    test_configurations_fall_back();
    return 0;
}
