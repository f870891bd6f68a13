/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clocks that are not perfect: two processors that differ by some ticks, and a counter that jumps
 * back as it may when the host was suspended or the machine moved to another one. The counter
 * cannot be turned back here, so the recording is moved into its future instead.
 */
#include <unistd.h>

#include "single_thread.h"

#define SOME_TICKS 1000
#define AN_HOUR (UINT64_C(1) << 43)

/* One contended acquisition by a single thread. Returns what it waited. */
static uint64_t wait_and_hold(BqlRec *rec)
{
    BqlRecSelf *self = bqlrec_self(rec);
    uint64_t wait;

    bqlrec_wait_begin(rec, self);
    bqlrec_wait_end(rec, self, 0, BQLREC_KIND_LOCK);
    wait = self->acquired - self->request;
    CHECK(bqlrec_release_prepare(rec) == self);
    bqlrec_release_finish(rec, self);
    return wait;
}

static void test_a_hold_does_not_begin_before_the_last_one_ended(void)
{
    char path[128];
    BqlRec *rec = open_named("skew", path);
    BqlRecSelf *self = bqlrec_self(rec);
    uint64_t ahead;

    acquire(rec, 0, 1);
    /* Released by a processor whose counter is ahead of ours. */
    ahead = bqlrec_ticks(rec) + 100 * SOME_TICKS;
    bqlrec_set(rec->live->since, ahead);
    bqlrec_acquired(rec, self, 0, BQLREC_KIND_LOCK);
    CHECK(self->acquired >= ahead);
    CHECK(bqlrec_release_prepare(rec) == self);
    bqlrec_release_finish(rec, self);
    CHECK(self->released >= ahead && check_laws(bqlrec_header(rec)) == 2);
    bqlrec_close(rec, true);
    printf("ok a hold does not begin before the last one ended\n");
}

static void test_a_clock_that_jumps_back_makes_no_wait_or_hold_longer(void)
{
    char path[128];
    BqlRec *rec = open_named("jump", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    BqlRecRow *row;

    acquire(rec, 0, ODD);
    bqlrec_set(rec->live->since, bqlrec_ticks(rec) + AN_HOUR);
    for (int i = 0; i < ODD; i++) {
        CHECK(wait_and_hold(rec) < AN_HOUR / 2);
    }
    row = rec_row(h, 0, 0);
    CHECK(bqlrec_get(row->wait_total) < AN_HOUR / 2 && bqlrec_get(row->hold_total) < AN_HOUR / 2);
    CHECK(bqlrec_get(row->hold_total) > 0);
    CHECK(check_laws(h) == 2 * ODD);
    bqlrec_close(rec, true);
    printf("ok a clock that jumps back makes no wait or hold longer\n");
}

static void test_a_jump_during_a_wait_and_a_hold_is_counted_as_no_time(void)
{
    char path[128];
    BqlRec *rec = open_named("inside", path);
    BqlRecSelf *self = bqlrec_self(rec);

    bqlrec_wait_begin(rec, self);
    self->request += AN_HOUR; /* the counter was that much higher then */
    bqlrec_wait_end(rec, self, 0, BQLREC_KIND_LOCK);
    CHECK(self->acquired == self->request);
    CHECK(bqlrec_release_prepare(rec) == self);
    CHECK(self->released == self->acquired);
    bqlrec_release_finish(rec, self);
    CHECK(wait_and_hold(rec) < AN_HOUR / 2);
    CHECK(check_laws(bqlrec_header(rec)) == 2);
    bqlrec_close(rec, true);
    printf("ok a jump during a wait and a hold is counted as no time\n");
}

static void test_the_calibration_never_runs_backwards(void)
{
    char path[128];
    BqlRec *rec = open_named("calibration", path);
    BqlRecHeader *h = rec->header;
    uint64_t future = bqlrec_ticks(rec) + AN_HOUR;
    uint32_t seq;

    bqlrec_set(h->clock_ticks, future);
    seq = bqlrec_get(h->clock_seq);
    bqlrec_clock_sync(rec);
    CHECK(bqlrec_get(h->clock_ticks) == future && bqlrec_get(h->clock_seq) == seq);
    bqlrec_set(h->clock_ticks, h->clock_start.ticks + 1);
    bqlrec_clock_sync(rec);
    CHECK(bqlrec_get(h->clock_ticks) > h->clock_start.ticks + 1);
    CHECK(bqlrec_get(h->clock_seq) == seq + 2);
    bqlrec_close(rec, true);
    printf("ok the calibration never runs backwards\n");
}

static void test_what_a_hold_slept_is_never_more_than_the_hold(void)
{
    char path[128];
    BqlRec *rec = open_named("slept", path);
    BqlRecSelf *self = bqlrec_self(rec);
    BqlRecRow *row = rec_row(bqlrec_header(rec), 0, 0);
    uint64_t slept = 0;

    acquire(rec, 0, 1);
    /* The hold begins in our processor's future, so it takes no time by its own clock. */
    bqlrec_set(rec->live->since, bqlrec_ticks(rec) + 100 * SOME_TICKS);
    bqlrec_acquired(rec, self, 0, BQLREC_KIND_LOCK);
    bqlrec_blocked_begin(rec, BQLREC_BLOCKED_DRAIN);
    bqlrec_blocked_end(rec);
    bqlrec_gil_waited(rec, 10 * SOME_TICKS);
    bqlrec_gil_waited(rec, AN_HOUR);
    CHECK(bqlrec_release_prepare(rec) == self);
    bqlrec_release_finish(rec, self);
    for (unsigned reason = 0; reason < BQLREC_BLOCKED_REASONS; reason++) {
        slept += bqlrec_get(row->blocked_ticks[reason]);
    }
    CHECK(slept <= bqlrec_get(row->hold_total));
    CHECK(bqlrec_get(row->blocked_count[BQLREC_BLOCKED_GIL]) == 2);
    CHECK(bqlrec_get(row->blocked_count[BQLREC_BLOCKED_DRAIN]) == 1);
    bqlrec_close(rec, true);
    printf("ok what a hold slept is never more than the hold\n");
}

int main(void)
{
    make_work();
    test_a_hold_does_not_begin_before_the_last_one_ended();
    test_a_clock_that_jumps_back_makes_no_wait_or_hold_longer();
    test_a_jump_during_a_wait_and_a_hold_is_counted_as_no_time();
    test_the_calibration_never_runs_backwards();
    test_what_a_hold_slept_is_never_more_than_the_hold();
    CHECK(rmdir(work) == 0);
    return 0;
}
