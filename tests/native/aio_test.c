/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bottom halves, timers and wake-ups of the event loop. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "aio_support.h"

/* ---- bottom halves ---- */

typedef struct Log {
    AioContext *ctx;
    char text[64];
    AioBh *bhs[3];
    AioTimer *timers[3];
} Log;

static void log_a(void *opaque)
{
    strcat(((Log *)opaque)->text, "a");
}

static void log_b(void *opaque)
{
    strcat(((Log *)opaque)->text, "b");
}

static void log_c(void *opaque)
{
    strcat(((Log *)opaque)->text, "c");
}

static void log_r_again(void *opaque)
{
    Log *log = opaque;
    strcat(log->text, "r");
    aio_bh_schedule(log->bhs[0]);
}

static void log_d_deletes(void *opaque)
{
    Log *log = opaque;
    strcat(log->text, "d");
    aio_bh_delete(log->bhs[1]); /* scheduled behind us: must not run */
    aio_bh_delete(log->bhs[0]); /* ourselves */
}

static void test_bottom_halves_run_once_in_order(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    AioBh *a = aio_bh_new(ctx, log_a, &log), *b = aio_bh_new(ctx, log_b, &log);
    aio_bh_schedule(b);
    aio_bh_schedule(a);
    aio_bh_schedule(b);
    aio_bh_oneshot(ctx, log_c, &log);
    CHECK(aio_wait(ctx, -1) && log.text[0] == 0);
    CHECK(aio_dispatch(ctx));
    CHECK(!strcmp(log.text, "bac"));
    CHECK(!aio_poll(ctx, false));
    aio_bh_schedule(a);
    aio_bh_delete(a); /* unrun */
    aio_bh_delete(b);
    CHECK(!aio_dispatch(ctx) && !strcmp(log.text, "bac"));
}

static void test_bottom_half_may_reschedule_and_delete(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    log.bhs[0] = aio_bh_new(ctx, log_r_again, &log);
    aio_bh_schedule(log.bhs[0]);
    for (int i = 0; i < 4; i++) {
        CHECK(aio_poll(ctx, true)); /* once per iteration, never starving the loop */
    }
    CHECK(!strcmp(log.text, "rrrr"));
    aio_bh_delete(log.bhs[0]);
    CHECK(!aio_poll(ctx, false));

    log = (Log){.ctx = ctx};
    log.bhs[0] = aio_bh_new(ctx, log_d_deletes, &log);
    log.bhs[1] = aio_bh_new(ctx, log_a, &log);
    aio_bh_schedule(log.bhs[0]);
    aio_bh_schedule(log.bhs[1]);
    CHECK(aio_poll(ctx, true));
    CHECK(!aio_poll(ctx, false) && !strcmp(log.text, "d"));
}

static void log_n_nested(void *opaque)
{
    Log *log = opaque;
    strcat(log->text, "<");
    CHECK(aio_poll(log->ctx, true)); /* runs what was queued behind us */
    strcat(log->text, ">");
}

static void test_nested_poll_runs_the_rest(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    aio_bh_oneshot(ctx, log_a, &log);
    aio_bh_oneshot(ctx, log_n_nested, &log);
    aio_bh_oneshot(ctx, log_b, &log);
    CHECK(aio_poll(ctx, true));
    CHECK(!strcmp(log.text, "a<b>"));
}

/* ---- timers ---- */

static void log_t_again(void *opaque)
{
    Log *log = opaque;
    strcat(log->text, "t");
    aio_timer_mod(log->timers[0], 0); /* due at once, but in the next iteration */
}

static void log_s_stops(void *opaque)
{
    Log *log = opaque;
    strcat(log->text, "s");
    aio_timer_free(log->timers[1]); /* due as well, behind us */
    aio_timer_free(log->timers[0]); /* ourselves */
}

static void test_timers_fire_in_order(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    int64_t now = aio_now_ns();
    AioTimer *a = aio_timer_new(ctx, log_a, &log), *b = aio_timer_new(ctx, log_b, &log);
    AioTimer *c = aio_timer_new(ctx, log_c, &log);

    aio_timer_mod(a, now - 1);
    aio_timer_mod(b, now - 2);
    aio_timer_mod(c, now - 1); /* equal: armed first, fires first */
    CHECK(aio_wait(ctx, -1) && log.text[0] == 0);
    CHECK(aio_dispatch(ctx) && !strcmp(log.text, "bac"));
    CHECK(!aio_poll(ctx, false));

    aio_timer_mod(a, aio_now_ns() + 3000000);
    aio_timer_mod(b, INT64_MAX);
    aio_timer_mod(c, 0);
    aio_timer_del(c);
    CHECK(!aio_poll(ctx, false));
    while (strcmp(log.text, "baca")) { /* the wait is bounded by the first deadline */
        aio_poll(ctx, true);
    }
    CHECK(aio_now_ns() >= now + 3000000);
    CHECK(!aio_wait(ctx, 2000000)); /* and by the caller's timeout */
    aio_timer_free(a);
    aio_timer_free(b);
    aio_timer_free(c);
}

static void test_timer_may_rearm_and_free(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    log.timers[0] = aio_timer_new(ctx, log_t_again, &log);
    aio_timer_mod(log.timers[0], 0);
    for (int i = 0; i < 4; i++) {
        CHECK(aio_poll(ctx, true));
    }
    CHECK(!strcmp(log.text, "tttt"));
    aio_timer_free(log.timers[0]);

    log = (Log){.ctx = ctx};
    log.timers[0] = aio_timer_new(ctx, log_s_stops, &log);
    log.timers[1] = aio_timer_new(ctx, log_a, &log);
    aio_timer_mod(log.timers[0], 0);
    aio_timer_mod(log.timers[1], 1);
    CHECK(aio_poll(ctx, true));
    CHECK(!aio_poll(ctx, false) && !strcmp(log.text, "s"));
}

typedef struct HeapProbe {
    int64_t deadline, *last;
} HeapProbe;

static void heap_probe(void *opaque)
{
    HeapProbe *probe = opaque;
    CHECK(probe->deadline >= *probe->last);
    *probe->last = probe->deadline;
}

static void test_many_timers_keep_their_order(AioContext *ctx)
{
    enum { N = 997 };
    HeapProbe probes[N];
    AioTimer *timers[N];
    uint32_t random = 1;
    int64_t last = 0;
    AioStats stats;

    for (int i = 0; i < N; i++) {
        random = random * 1103515245 + 12345;
        probes[i] = (HeapProbe){random % 5000, &last};
        timers[i] = aio_timer_new(ctx, heap_probe, &probes[i]);
        aio_timer_mod(timers[i], random);
        aio_timer_mod(timers[i], probes[i].deadline);
    }
    for (int i = 0; i < N; i += 3) {
        aio_timer_del(timers[i]);
    }
    aio_stats(ctx, &stats);
    uint64_t before = stats.timer_runs;
    CHECK(aio_poll(ctx, true));
    aio_stats(ctx, &stats);
    CHECK(stats.timer_runs - before == N - (N + 2) / 3);
    for (int i = 0; i < N; i++) {
        aio_timer_free(timers[i]);
    }
}

/* ---- other threads ---- */

enum { STORM_THREADS = 4, STORM_EVENTS = 4001 };

typedef struct Storm {
    AioContext *ctx;
    AioBh *bh;
    atomic_int pending; /* units of work announced by the shared bottom half */
    int done, oneshots, posts;
    Source source;
} Storm;

typedef struct StormPost {
    AioPost post;
    Storm *storm;
} StormPost;

static void storm_bh(void *opaque)
{
    Storm *storm = opaque;
    storm->done += atomic_exchange(&storm->pending, 0);
}

static void storm_oneshot(void *opaque)
{
    ((Storm *)opaque)->oneshots++;
}

static void storm_post(AioPost *post)
{
    StormPost *mine = (StormPost *)post;
    mine->storm->posts++;
    free(mine);
}

static void *storm_thread(void *opaque)
{
    Storm *storm = opaque;
    for (int i = 0; i < STORM_EVENTS; i++) {
        StormPost *post = malloc(sizeof(*post));
        atomic_fetch_add(&storm->pending, 1);
        aio_bh_schedule(storm->bh);
        aio_bh_oneshot(storm->ctx, storm_oneshot, storm);
        *post = (StormPost){.post.complete = storm_post, .storm = storm};
        aio_post(storm->ctx, &post->post);
        source_kick(&storm->source, 1);
        aio_notify(storm->ctx);
    }
    return NULL;
}

static void test_no_event_of_a_storm_is_lost(AioContext *ctx)
{
    enum { ALL = STORM_THREADS * STORM_EVENTS };
    Storm storm = {.ctx = ctx};
    pthread_t threads[STORM_THREADS];

    storm.bh = aio_bh_new(ctx, storm_bh, &storm);
    source_open(&storm.source, ctx);
    for (int i = 0; i < STORM_THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, storm_thread, &storm) == 0);
    }
    /* Blocks for ever if the wake-up for the last event of any kind is lost. */
    while (storm.done < ALL || storm.oneshots < ALL || storm.posts < ALL ||
           storm.source.sum < ALL) {
        aio_poll(ctx, true);
    }
    for (int i = 0; i < STORM_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(storm.done == ALL && storm.oneshots == ALL && storm.posts == ALL);
    CHECK(storm.source.sum == ALL);
    aio_bh_delete(storm.bh);
    CHECK(aio_set_fd_handler(ctx, storm.source.fd, NULL, NULL) == 0);
    close(storm.source.fd);
}

static void *notify_thread(void *opaque)
{
    aio_notify(opaque);
    return NULL;
}

static void test_notify_ends_one_wait(AioContext *ctx)
{
    pthread_t thread;
    for (int i = 0; i < 23; i++) {
        CHECK(pthread_create(&thread, NULL, notify_thread, ctx) == 0);
        CHECK(!aio_wait(ctx, -1)); /* before or after the notify: it returns, with nothing ready */
        CHECK(!aio_dispatch(ctx));
        pthread_join(thread, NULL);
    }
}

static void *setup_thread(void *opaque)
{
    Source *source = opaque;
    AioContext *ctx = source->ctx;
    source_open(source, ctx);
    CHECK(!aio_poll(ctx, false)); /* even waits here */
    return NULL;
}

static void test_context_can_be_handed_to_another_thread(AioContext *ctx)
{
    Source source = {.ctx = ctx};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, setup_thread, &source) == 0);
    pthread_join(thread, NULL);
    source_kick(&source, 1);
    while (source.reads == 0) {
        aio_poll(ctx, true);
    }
    CHECK(pthread_create(&thread, NULL, notify_thread, ctx) == 0);
    aio_wait(ctx, -1);
    pthread_join(thread, NULL);
    CHECK(aio_set_fd_handler(ctx, source.fd, NULL, NULL) == 0);
    close(source.fd);
}

static void test_leftovers_are_freed_unrun(AioContext *ctx)
{
    Log log = {.ctx = ctx};
    AioBh *bh = aio_bh_new(ctx, log_a, &log);
    Source *source = malloc(sizeof(*source)); /* freed before the context: must not be touched */
    source_open(source, ctx);
    close(source->fd);
    free(source);
    aio_bh_schedule(bh);
    aio_bh_delete(bh);
    aio_bh_oneshot(ctx, log_b, &log); /* the caller frees the context now; ASan looks for leaks */
}

int main(void)
{
    static const AioTest tests[] = {
        TEST(test_bottom_halves_run_once_in_order),
        TEST(test_bottom_half_may_reschedule_and_delete),
        TEST(test_nested_poll_runs_the_rest),
        TEST(test_timers_fire_in_order),
        TEST(test_timer_may_rearm_and_free),
        TEST(test_many_timers_keep_their_order),
        TEST(test_no_event_of_a_storm_is_lost),
        TEST(test_notify_ends_one_wait),
        TEST(test_context_can_be_handed_to_another_thread),
        TEST(test_leftovers_are_freed_unrun),
    };
    run_tests(tests, sizeof(tests) / sizeof(*tests));
    return 0;
}
