/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A recording as the tests see it, read through the offsets in its header like any other reader's,
 * and an oracle: blame recomputed from the event rings of all threads, which hold every hold.
 */
#ifndef TESTS_NATIVE_RECORDING_H
#define TESTS_NATIVE_RECORDING_H

#include <sched.h>
#include <string.h>

#include "bqlrec_steps.h"
#include "check.h"

static inline uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint8_t *rec_at(const BqlRecHeader *h, uint64_t offset)
{
    return (uint8_t *)(uintptr_t)h + offset;
}

static inline BqlRecLive *rec_live(const BqlRecHeader *h)
{
    return (BqlRecLive *)rec_at(h, h->live_offset);
}

static inline BqlRecThread *rec_thread(const BqlRecHeader *h, unsigned i)
{
    return (BqlRecThread *)rec_at(h, h->threads_offset + (uint64_t)i * h->threads_stride);
}

static inline BqlRecBlame *rec_blame(const BqlRecHeader *h, unsigned thread, unsigned i)
{
    return (BqlRecBlame *)((uint8_t *)rec_thread(h, thread) + h->blame_offset +
                           (uint64_t)i * h->blame_stride);
}

static inline BqlRecEvent *rec_event(const BqlRecHeader *h, unsigned thread, uint64_t n)
{
    return (BqlRecEvent *)((uint8_t *)rec_thread(h, thread) + h->events_offset +
                           (n % h->events_capacity) * h->events_stride);
}

static inline BqlRecRow *rec_row_at(const BqlRecHeader *h, unsigned i)
{
    return (BqlRecRow *)rec_at(h, h->rows_offset + (uint64_t)i * h->rows_stride);
}

/* Bucket b of a histogram of row i, near and spilled. */
static inline uint64_t rec_count(const BqlRecHeader *h, unsigned i, enum BqlRecHist hist,
                                 unsigned b)
{
    BqlRecRow *row = rec_row_at(h, i);
    BqlRecSpill *spill = (BqlRecSpill *)rec_at(h, h->spill_offset + (uint64_t)i * h->spill_stride);
    uint64_t spilled = bqlrec_get(spill->count[hist][b]);

    CHECK(spilled == 0 || bqlrec_get(row->spills) != 0);
    return (b < h->near_buckets ? bqlrec_get(row->near[hist][b]) : 0) + spilled;
}

/* NULL if the thread has no row of its own for the site. */
static inline BqlRecRow *rec_row(const BqlRecHeader *h, unsigned thread, uint32_t site)
{
    unsigned row = bqlrec_get(rec_thread(h, thread)->row_of_site[site]);

    return row == 0 ? NULL : rec_row_at(h, row - 1);
}

/* Row i exists: the first BQLREC_THREADS come with their thread. The others are holes in the file,
 * and looking at a hole through a mapping takes a page that a full file system does not have. */
static inline bool rec_row_exists(const BqlRecHeader *h, unsigned i)
{
    return i < bqlrec_get(h->threads_used) ||
           (i >= h->threads_capacity && i < bqlrec_get(h->rows_used));
}

static inline uint64_t row_acquisitions(const BqlRecRow *row)
{
    uint64_t sum = 0;

    for (unsigned kind = 0; kind < BQLREC_KINDS; kind++) {
        sum += bqlrec_get(row->acquisitions[kind]);
    }
    return sum;
}

static inline uint64_t blame_on(const BqlRecHeader *h, unsigned thread, uint32_t site, uint32_t who)
{
    for (unsigned i = 0; i < h->blame_capacity; i++) {
        BqlRecBlame *blame = rec_blame(h, thread, i);
        if (bqlrec_get(blame->used) && bqlrec_get(blame->waiter_site) == site &&
            bqlrec_get(blame->holder) == who) {
            return bqlrec_get(blame->ticks);
        }
    }
    return 0;
}

static inline uint64_t blame_sum(const BqlRecHeader *h, unsigned thread, uint32_t site)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < h->blame_capacity; i++) {
        BqlRecBlame *blame = rec_blame(h, thread, i);
        if (bqlrec_get(blame->used) && bqlrec_get(blame->waiter_site) == site) {
            sum += bqlrec_get(blame->ticks);
        }
    }
    return sum;
}

static inline void check_row_laws(const BqlRecHeader *h, unsigned i)
{
    const BqlRecRow *row = rec_row_at(h, i);
    uint64_t holds = 0, waits = 0;

    for (unsigned b = 0; b < h->buckets; b++) {
        holds += rec_count(h, i, BQLREC_HIST_HOLD, b);
        waits += rec_count(h, i, BQLREC_HIST_WAIT, b);
    }
    CHECK(holds == row_acquisitions(row));
    CHECK(waits == bqlrec_get(row->contended));
    CHECK(waits <= holds);
    CHECK(bqlrec_get(row->max_hold) <= bqlrec_get(row->hold_total));
    CHECK(bqlrec_get(row->max_wait) <= bqlrec_get(row->wait_total));
    CHECK(blame_sum(h, bqlrec_get(row->thread), bqlrec_get(row->site)) + bqlrec_get(row->handoff) +
              bqlrec_get(row->unknown) ==
          bqlrec_get(row->wait_total));
}

/* Every conservation law of a recording in which nothing moves. Returns all acquisitions. */
static inline uint64_t check_laws(const BqlRecHeader *h)
{
    static uint64_t per_thread[BQLREC_THREADS];
    uint64_t total = 0;

    memset(per_thread, 0, sizeof(per_thread));
    for (unsigned i = 0; i < bqlrec_get(h->rows_used); i++) {
        BqlRecRow *row = rec_row_at(h, i);
        if (rec_row_exists(h, i) && bqlrec_get(row->in_use)) {
            CHECK(bqlrec_get(row->seq) % 2 == 0);
            check_row_laws(h, i);
            per_thread[bqlrec_get(row->thread)] += row_acquisitions(row);
        }
    }
    for (unsigned i = 0; i < bqlrec_get(h->threads_used); i++) {
        BqlRecThread *thread = rec_thread(h, i);
        CHECK(bqlrec_get(thread->seq) % 2 == 0);
        CHECK(per_thread[i] == bqlrec_get(thread->events_head) + bqlrec_get(thread->events_lost));
        total += per_thread[i];
    }
    return total;
}

/* Ticks that holds of (holder, site) overlap the waits of (waiter, site). */
static inline uint64_t overlap(const BqlRecHeader *h, unsigned waiter, uint32_t waiter_site,
                               unsigned holder, uint32_t holder_site)
{
    uint64_t sum = 0;

    for (uint64_t w = 0; w < bqlrec_get(rec_thread(h, waiter)->events_head); w++) {
        BqlRecEvent *wait = rec_event(h, waiter, w);
        uint64_t to = bqlrec_get(wait->acquired), from = to - bqlrec_get(wait->wait);

        if ((bqlrec_get(wait->detail) & 0xffff) != waiter_site || from == to) {
            continue;
        }
        for (uint64_t n = 0; n < bqlrec_get(rec_thread(h, holder)->events_head); n++) {
            BqlRecEvent *hold = rec_event(h, holder, n);
            uint64_t begin = bqlrec_get(hold->acquired), end = begin + bqlrec_get(hold->hold);
            uint64_t low = max64(from, begin), high = min64(to, end);

            if ((bqlrec_get(hold->detail) & 0xffff) == holder_site && low < high) {
                sum += high - low;
            }
        }
    }
    return sum;
}

/* No ring may have wrapped, and every site has a row: then blame is exactly the overlap. */
static inline void check_blame_against_events(const BqlRecHeader *h)
{
    unsigned threads = bqlrec_get(h->threads_used), sites = bqlrec_get(h->sites_used);

    for (unsigned waiter = 0; waiter < threads; waiter++) {
        CHECK(bqlrec_get(rec_thread(h, waiter)->events_head) <= h->events_capacity);
        for (uint32_t site = 0; site < sites; site++) {
            BqlRecRow *row = rec_row(h, waiter, site);
            if (row == NULL || bqlrec_get(row->contended) == 0) {
                continue;
            }
            CHECK(bqlrec_get(row->unknown) == 0);
            for (unsigned holder = 0; holder < threads; holder++) {
                for (uint32_t at = 0; at < sites; at++) {
                    CHECK(blame_on(h, waiter, site, BQLREC_WHO(holder, at)) ==
                          overlap(h, waiter, site, holder, at));
                }
            }
        }
    }
}

/* Yield until n threads wait for the recorded lock. */
static inline void await_waiters(const BqlRecHeader *h, uint32_t n)
{
    while (bqlrec_get(rec_live(h)->waiters) != n) {
        sched_yield();
    }
}

/* A thread that has announced its wait joins the queue some instructions later: when it sleeps,
 * it is in it. */
static inline void await_asleep(int tid)
{
    char path[64], state = 'R';

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    while (state != 'S') {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL && fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
        fclose(file);
    }
}

#endif
