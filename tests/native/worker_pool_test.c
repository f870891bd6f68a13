/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "check.h"
#include "worker_pool.h"

static const int64_t FOR_EVER = INT64_MAX, AT_ONCE = 0;

typedef struct Job {
    WorkerJob job;
    int number;
    atomic_int runs;
    int dones, result;
    int *total;
} Job;

static int job_run(WorkerJob *opaque)
{
    Job *job = (Job *)opaque;
    char name[16];
    pthread_getname_np(pthread_self(), name, sizeof(name));
    CHECK(!strcmp(name, "worker"));
    atomic_fetch_add(&job->runs, 1);
    return -job->number;
}

static void job_done(WorkerJob *opaque, int result)
{
    Job *job = (Job *)opaque;
    job->dones++;
    job->result = result;
    ++*job->total;
}

static AioContext *context(void)
{
    AioContext *ctx = aio_context_new(&(AioConfig){0});
    CHECK(ctx);
    return ctx;
}

/* 10,007 jobs into two contexts, submitted in bursts: each runs once and is answered once. */
static void test_every_job_is_done_exactly_once(unsigned threads, int64_t idle_ns)
{
    enum { N = 10007 };
    AioContext *ctx[2] = {context(), context()};
    WorkerPool *pool = worker_pool_new(threads, idle_ns, NULL);
    Job *jobs = calloc(N, sizeof(*jobs));
    int total[2] = {0}, submitted = 0;

    while (total[0] + total[1] < N) {
        for (int burst = 0; burst < 97 && submitted < N; burst++, submitted++) {
            Job *job = &jobs[submitted];
            job->job.run = job_run;
            job->job.done = job_done;
            job->number = submitted;
            job->total = &total[submitted % 2];
            worker_pool_submit(pool, ctx[submitted % 2], &job->job);
        }
        CHECK(worker_pool_threads(pool) <= threads);
        for (int i = 0; i < 2; i++) {
            aio_poll(ctx[i], submitted == N && total[i] < (N + 1 - i) / 2);
        }
    }
    worker_pool_free(pool);
    for (int i = 0; i < N; i++) {
        CHECK(jobs[i].runs == 1 && jobs[i].dones == 1 && jobs[i].result == -i);
    }
    CHECK(!aio_poll(ctx[0], false) && !aio_poll(ctx[1], false));
    aio_context_free(ctx[0]);
    aio_context_free(ctx[1]);
    free(jobs);
    printf("ok test_every_job_is_done_exactly_once threads %u idle %s\n", threads,
           idle_ns ? "for ever" : "none");
}

typedef struct Meeting {
    Job job;
    pthread_barrier_t *barrier;
} Meeting;

static int meeting_run(WorkerJob *opaque)
{
    Meeting *meeting = (Meeting *)opaque;
    pthread_barrier_wait(meeting->barrier); /* returns only if all jobs run at the same time */
    return 0;
}

static void test_jobs_run_in_parallel_up_to_the_limit(void)
{
    enum { N = 7 };
    AioContext *ctx = context();
    WorkerPool *pool = worker_pool_new(N, FOR_EVER, NULL);
    Meeting meetings[N];
    pthread_barrier_t barrier;
    int total = 0;

    pthread_barrier_init(&barrier, NULL, N);
    CHECK(worker_pool_threads(pool) == 0); /* on demand only */
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < N; i++) {
            meetings[i] = (Meeting){.barrier = &barrier, .job.total = &total};
            meetings[i].job.job.run = meeting_run;
            meetings[i].job.job.done = job_done;
            worker_pool_submit(pool, ctx, &meetings[i].job.job);
        }
        while (total < round * N) {
            aio_poll(ctx, true);
        }
        CHECK(worker_pool_threads(pool) == N); /* idle ones are used again */
    }
    worker_pool_free(pool);
    pthread_barrier_destroy(&barrier);
    aio_context_free(ctx);
    printf("ok test_jobs_run_in_parallel_up_to_the_limit\n");
}

static void test_free_waits_for_queued_jobs(void)
{
    enum { N = 101 };
    AioContext *ctx = context();
    WorkerPool *pool = worker_pool_new(2, FOR_EVER, NULL);
    Job *jobs = calloc(N, sizeof(*jobs));
    int total = 0;

    for (int i = 0; i < N; i++) {
        jobs[i] = (Job){.job = {.run = job_run, .done = job_done}, .total = &total};
        worker_pool_submit(pool, ctx, &jobs[i].job);
    }
    worker_pool_free(pool);
    for (int i = 0; i < N; i++) {
        CHECK(jobs[i].runs == 1 && jobs[i].dones == 0);
    }
    CHECK(aio_poll(ctx, true) && total == N); /* answers outlive the pool */
    aio_context_free(ctx);
    free(jobs);
    printf("ok test_free_waits_for_queued_jobs\n");
}

static int inline_run(WorkerJob *opaque)
{
    return 42;
}

/* The limit counts all threads of the user, and root is exempt: a stack that cannot be mapped
 * makes pthread_create() fail for everybody. */
static void test_job_is_done_even_if_no_thread_can_be_had(void)
{
    AioContext *ctx = context();
    WorkerPool *pool = worker_pool_new(4, FOR_EVER, NULL);
    pthread_attr_t attr, old;
    int total = 0;
    Job job = {.job = {.run = inline_run, .done = job_done}, .total = &total};

    pthread_attr_init(&attr);
    CHECK(pthread_getattr_default_np(&old) == 0);
    CHECK(pthread_attr_setstacksize(&attr, (size_t)1 << 50) == 0);
    CHECK(pthread_setattr_default_np(&attr) == 0);
    worker_pool_submit(pool, ctx, &job.job);
    CHECK(worker_pool_threads(pool) == 0);
    CHECK(pthread_setattr_default_np(&old) == 0);
    CHECK(total == 0); /* answered in the context's thread all the same */
    while (total == 0) {
        aio_poll(ctx, true);
    }
    CHECK(job.result == 42);
    job = (Job){.job = {.run = job_run, .done = job_done}, .total = &total};
    worker_pool_submit(pool, ctx, &job.job);
    while (total < 2) {
        aio_poll(ctx, true);
    }
    CHECK(worker_pool_threads(pool) == 1);
    worker_pool_free(pool);
    aio_context_free(ctx);
    pthread_attr_destroy(&attr);
    pthread_attr_destroy(&old);
    printf("ok test_job_is_done_even_if_no_thread_can_be_had\n");
}

static void test_bad_limits_are_refused(void)
{
    errno = 0;
    CHECK(!worker_pool_new(0, AT_ONCE, NULL) && errno == EINVAL);
    CHECK(!worker_pool_new(65, AT_ONCE, NULL));
    CHECK(!worker_pool_new(1, -1, NULL));
    worker_pool_free(worker_pool_new(64, AT_ONCE, NULL));
    worker_pool_free(NULL);
    printf("ok test_bad_limits_are_refused\n");
}

static void test_a_context_may_be_freed_when_its_last_job_is_done(void)
{
    WorkerPool *pool = worker_pool_new(1, FOR_EVER, NULL);

    for (int i = 0; i < 200; i++) {
        AioContext *ctx = context();
        int total = 0;
        Job job = {.job = {.run = job_run, .done = job_done}, .total = &total};

        worker_pool_submit(pool, ctx, &job.job);
        while (total == 0) {
            aio_poll(ctx, false); /* does not sleep: the worker may still be about to wake us */
        }
        aio_context_free(ctx);
    }
    worker_pool_free(pool);
    puts("a context may be freed when its last job is done");
}

int main(void)
{
    test_every_job_is_done_exactly_once(1, FOR_EVER);
    test_every_job_is_done_exactly_once(64, FOR_EVER);
    test_every_job_is_done_exactly_once(5, AT_ONCE); /* threads end and are replaced all the time */
    test_jobs_run_in_parallel_up_to_the_limit();
    test_free_waits_for_queued_jobs();
    test_job_is_done_even_if_no_thread_can_be_had();
    test_bad_limits_are_refused();
    test_a_context_may_be_freed_when_its_last_job_is_done();
    return 0;
}
