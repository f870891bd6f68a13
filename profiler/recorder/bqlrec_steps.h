/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The steps around a lock operation. Inline, because a recorded lock and unlock may cost little
 * more than the two timestamps they take. The caller owns the lock and calls, in this order:
 *
 *   if (bqlrec_recording(rec)) {
 *       BqlRecSelf *self = bqlrec_self(rec);
 *       if (TRYLOCK(lock)) {
 *           bqlrec_acquired(rec, self, site, kind);
 *       } else {                        // a trylock that fails ends with bqlrec_trylock_failed()
 *           bqlrec_wait_begin(rec, self);
 *           LOCK(lock);
 *           bqlrec_wait_end(rec, self, site, kind);
 *       }
 *   } else {
 *       LOCK(lock);
 *   }
 *   ... the hold: bqlrec_blocked_begin/end(), bqlrec_gil_waited() ...
 *   BqlRecSelf *self = bqlrec_release_prepare(rec);
 *   UNLOCK(lock);
 *   bqlrec_release_finish(rec, self);
 *
 * A condition wait is a release followed by an acquisition of kind BQLREC_KIND_COND.
 *
 * Exactness. A waiter must find, in the hand-over ring, every hold that overlaps its wait
 * [request, acquired]. The waiter publishes itself (waiters + 1) and only then takes the request
 * time; a holder takes the release time and only then looks at waiters. So a holder that does not
 * see the waiter was released before the request, on clocks that agree between processors. Both
 * "only then" must hold for the time stamp instruction too, which no memory barrier orders:
 * the waiter pays for an lfence, the holder makes the address of its load depend on the time
 * stamp, which costs nothing when nobody waits. The acquisition's time stamp may be taken early by
 * an out-of-order processor; it is clamped to the previous release, which is read under the lock.
 * A release that lies further ahead than processors disagree is from before the clock jumped back
 * (suspended host, migrated machine): it is no bound, or every wait would seem to last until the
 * clock has caught up. The wait and the hold during the jump count as no time.
 *
 * All statistics are written after the unlock by their only writer, so they need no locked
 * instruction: relaxed stores inside a sequence counter section.
 *
 * Rejected: a queue of waiters inside the recorder (it would have to replace the lock), sampling
 * the holder at the request only (blames the first of several holders for all), time stamps on
 * both sides of an uncontended lock (the wait is 0 by definition and half the cost).
 */
#ifndef PROFILER_RECORDER_BQLREC_STEPS_H
#define PROFILER_RECORDER_BQLREC_STEPS_H

#include <time.h>

#include "bqlrec.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* What one thread knows about one recorder; private to the thread while it is registered. */
typedef struct BqlRecSelf {
    /* The current or last hold. */
    uint64_t acquired;
    uint64_t released;
    uint64_t request;      /* of a contended acquisition */
    uint64_t handover_end; /* head of the hand-over ring at the acquisition */
    uint32_t first_who;    /* holder at the request */
    uint32_t epoch;        /* BqlRec.epoch at the request, or a value it never has again */
    uint32_t site;
    uint16_t kind;
    bool contended;
    bool marked; /* blocked or gil ticks to account for */

    /* Where to write. */
    uint32_t who_base; /* BQLREC_WHO(thread, 0) */
    uint32_t row_site; /* site of row; UINT32_MAX: no row looked up yet */
    BqlRecRow *row;
    BqlRecThread *thread; /* NULL: no block, count as lost */
    BqlRecEvent *events;  /* NULL: no space for a ring */
    BqlRecBlame *blames;

    /* Held while blocked. */
    uint32_t blocked_depth;
    uint32_t blocked_reason;
    uint64_t blocked_since;
    uint64_t blocked_ticks[BQLREC_BLOCKED_REASONS];
    uint64_t blocked_count[BQLREC_BLOCKED_REASONS];

    /* Per blame slot: the wait it was last used in and its part of it; one count per wait. */
    uint64_t wait_number;
    struct BqlRecPart {
        uint64_t wait;
        uint64_t ticks;
    } *parts;
    uint16_t *blame_index; /* hash table of blame slots + 1, 0 = free; BQLREC_BLAME_INDEX places */
    struct BqlRecSelf *next_lost; /* list of threads without a block */
} BqlRecSelf;

#define BQLREC_BLAME_INDEX (2u * BQLREC_BLAMES) /* twice: there is always a free place */

typedef struct BqlRecSites BqlRecSites;

struct BqlRec {
    /* Fixed after bqlrec_open(). */
    uint32_t serial; /* never used twice in a process: tells a cached pointer is stale */
    bool tsc;
    BqlRecHeader *header;
    BqlRecLive *live;
    BqlRecHandover *handovers;
    BqlRecRow *rows;
    BqlRecSpill *spill;
    uint8_t *threads;
    BqlRecSite *site_table;
    BqlRecSites *sites;
    struct BqlRecShared *shared; /* cold state, bqlrec_private.h */
    _Atomic uint32_t epoch;      /* odd while recording is being switched, then + 1 */

    /* Protected by the recorded lock. */
    _Alignas(64) BqlRecSelf *holder; /* NULL: free, or this hold is not recorded */
};

/* The calling thread's last used recorder. Stale when the serials differ. */
typedef struct BqlRecTls {
    uint32_t serial;
    BqlRecSelf *self;
} BqlRecTls;
extern _Thread_local BqlRecTls bqlrec_tls __attribute__((tls_model("initial-exec")));

/* Slow halves, bqlrec_thread.c and bqlrec_wait.c. */
BqlRecSelf *bqlrec_self_slow(BqlRec *rec);
BqlRecRow *bqlrec_row_slow(BqlRec *rec, BqlRecSelf *self, uint32_t site);
void bqlrec_release_slow(BqlRec *rec, BqlRecSelf *self);
void bqlrec_account_marks(BqlRecSelf *self, BqlRecRow *row, uint64_t hold);
void bqlrec_account_wait(BqlRec *rec, BqlRecSelf *self, BqlRecRow *row);
/* Samples that the near counts do not hold. */
void bqlrec_spill(BqlRec *rec, BqlRecRow *row, enum BqlRecHist hist, unsigned bucket, uint64_t n);
void bqlrec_lost(BqlRec *rec, BqlRecSelf *self);

void bqlrec_wait_begin(BqlRec *rec, BqlRecSelf *self);
void bqlrec_wait_end(BqlRec *rec, BqlRecSelf *self, uint32_t site, unsigned kind);
void bqlrec_trylock_failed(BqlRec *rec, BqlRecSelf *self, uint32_t site);
void bqlrec_blocked_begin(BqlRec *rec, int reason);
void bqlrec_blocked_end(BqlRec *rec);
void bqlrec_gil_waited(BqlRec *rec, uint64_t ticks);
/* Before the unlock of a hold that began unrecorded: waiters learn that they cannot know. */
void bqlrec_release_unrecorded(BqlRec *rec);

#define bqlrec_get(field) atomic_load_explicit(&(field), memory_order_relaxed)
#define bqlrec_set(field, value) atomic_store_explicit(&(field), (value), memory_order_relaxed)
/* Only the owner writes the field: no read-modify-write instruction. */
#define bqlrec_add(field, value) bqlrec_set(field, bqlrec_get(field) + (value))

/*
 * Orders the odd store of a sequence counter before the section's stores; partner: the acquire
 * fence between a reader's copy and its second look at the counter. ThreadSanitizer has no fences
 * and needs none here: every access in a section is atomic.
 */
static inline void bqlrec_fence_release(void)
{
#ifndef __SANITIZE_THREAD__
    atomic_thread_fence(memory_order_release);
#endif
}

static inline uint64_t bqlrec_now(const BqlRec *rec)
{
#if defined(__x86_64__)
    if (__builtin_expect(rec->tsc, true)) {
        return __rdtsc();
    }
#endif
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline unsigned bqlrec_bucket(uint64_t value)
{
    unsigned shift = 60u - (unsigned)__builtin_clzll(value | 8);
    uint64_t bucket = shift * 8u + (value >> shift);

    return bucket < BQLREC_BUCKETS ? (unsigned)bucket : BQLREC_BUCKETS - 1;
}

/* One more sample in a histogram. A process that is killed before the spill of a count that has
 * wrapped leaves that histogram 2^16 short, in a row whose counter is odd. */
static inline void bqlrec_count(BqlRec *rec, BqlRecRow *row, enum BqlRecHist hist, uint64_t value)
{
    unsigned bucket = bqlrec_bucket(value);

    if (__builtin_expect(bucket >= BQLREC_NEAR_BUCKETS, false)) {
        bqlrec_spill(rec, row, hist, bucket, 1);
        return;
    }
    uint16_t n = (uint16_t)(bqlrec_get(row->near[hist][bucket]) + 1);

    bqlrec_set(row->near[hist][bucket], n);
    if (__builtin_expect(n == 0, false)) {
        bqlrec_spill(rec, row, hist, bucket, UINT16_MAX + 1);
    }
}

static inline bool bqlrec_recording(const BqlRec *rec)
{
    /* Acquire: who goes unrecorded has seen the epoch change; partner: bqlrec_set_enabled(). */
    return atomic_load_explicit(&rec->header->enabled, memory_order_acquire) != 0;
}

static inline BqlRecSelf *bqlrec_self(BqlRec *rec)
{
    if (__builtin_expect(bqlrec_tls.serial == rec->serial, true)) {
        return bqlrec_tls.self;
    }
    return bqlrec_self_slow(rec);
}

/* Ticks, below a millisecond: two processors' clocks differ by less, a clock jumps by more. */
#define BQLREC_MAX_SKEW (UINT64_C(1) << 20)

/* With the lock just taken: begin a hold at `now`. */
static inline void bqlrec_begin_hold(BqlRec *rec, BqlRecSelf *self, uint64_t now, uint32_t site,
                                     unsigned kind)
{
    uint64_t free_since = bqlrec_get(rec->live->since);

    /* A difference below zero wraps to more than any skew. */
    self->acquired = free_since - now < BQLREC_MAX_SKEW ? free_since : now;
    self->site = site;
    self->kind = (uint16_t)kind;
    rec->holder = self;
    bqlrec_set(rec->live->since, self->acquired);
    /* Release: partner is a reader's acquire load of holder before it reads since. */
    atomic_store_explicit(&rec->live->holder, self->who_base | site, memory_order_release);
}

/* After a successful TRYLOCK. */
static inline void bqlrec_acquired(BqlRec *rec, BqlRecSelf *self, uint32_t site, unsigned kind)
{
    self->contended = false;
    bqlrec_begin_hold(rec, self, bqlrec_now(rec), site, kind);
}

/* Threads waiting, loaded after the time stamp `now` was taken: see Exactness above. */
static inline uint32_t bqlrec_waiters_after(BqlRec *rec, uint64_t now)
{
#if defined(__x86_64__)
    /* Not XOR: the processor knows that idiom and drops the dependency. */
    __asm__ volatile("andq $0, %0" : "+r"(now) : : "cc");
    return bqlrec_get(*(_Atomic uint32_t *)((uint8_t *)&rec->live->waiters + now));
#else
    return atomic_load_explicit(&rec->live->waiters, memory_order_seq_cst);
#endif
}

/* Last step before the unlock. NULL: nothing is recorded of this hold. */
static inline BqlRecSelf *bqlrec_release_prepare(BqlRec *rec)
{
    BqlRecSelf *self = rec->holder;

    if (__builtin_expect(self == NULL, false)) {
        if (bqlrec_recording(rec)) {
            bqlrec_release_unrecorded(rec);
        }
        return NULL;
    }
    uint64_t now = bqlrec_now(rec);
    self->released = now < self->acquired ? self->acquired : now;
    if (__builtin_expect(bqlrec_waiters_after(rec, now) != 0 || self->marked, false)) {
        bqlrec_release_slow(rec, self);
    }
    rec->holder = NULL;
    bqlrec_set(rec->live->holder, 0);
    /* Release: a reader that sees this time must not see the old holder before it. */
    atomic_store_explicit(&rec->live->since, self->released, memory_order_release);
    return self;
}

static inline void bqlrec_write_event(BqlRecSelf *self, uint64_t hold)
{
    BqlRecThread *thread = self->thread;

    if (__builtin_expect(self->events == NULL, false)) {
        bqlrec_add(thread->events_lost, 1);
        return;
    }
    uint64_t head = bqlrec_get(thread->events_head);
    BqlRecEvent *event = &self->events[head & (BQLREC_EVENTS - 1)];
    uint64_t detail = self->site | (uint64_t)self->kind << 16;
    uint64_t wait = 0;

    if (__builtin_expect(self->contended, false)) {
        detail |= BQLREC_EVENT_CONTENDED | (uint64_t)self->first_who << 32;
        wait = self->acquired - self->request;
    }
    bqlrec_set(event->acquired, self->acquired);
    bqlrec_set(event->wait, wait);
    bqlrec_set(event->hold, hold);
    bqlrec_set(event->detail, detail);
    /* Release: partner is the reader's acquire load of the head before it copies slots. */
    atomic_store_explicit(&thread->events_head, head + 1, memory_order_release);
}

/* First step after the unlock; self is what bqlrec_release_prepare() returned. */
static inline void bqlrec_release_finish(BqlRec *rec, BqlRecSelf *self)
{
    if (self == NULL) {
        return;
    }
    BqlRecRow *row = self->row;
    uint64_t hold = self->released - self->acquired;

    if (__builtin_expect(self->row_site != self->site, false)) {
        row = bqlrec_row_slow(rec, self, self->site);
        if (row == NULL) {
            bqlrec_lost(rec, self);
            return;
        }
    }
    uint32_t thread_seq = bqlrec_get(self->thread->seq);
    uint32_t row_seq = bqlrec_get(row->seq);

    bqlrec_set(self->thread->seq, thread_seq + 1);
    bqlrec_set(row->seq, row_seq + 1);
    bqlrec_fence_release();
    bqlrec_add(row->acquisitions[self->kind], 1);
    bqlrec_add(row->hold_total, hold);
    bqlrec_count(rec, row, BQLREC_HIST_HOLD, hold);
    if (__builtin_expect(hold > bqlrec_get(row->max_hold), false)) {
        bqlrec_set(row->max_hold, hold);
        bqlrec_set(row->max_hold_at, self->acquired);
    }
    bqlrec_write_event(self, hold);
    if (__builtin_expect(self->marked, false)) {
        bqlrec_account_marks(self, row, hold);
    }
    if (__builtin_expect(self->contended, false)) {
        bqlrec_account_wait(rec, self, row);
    }
    /* Release: partners are a reader's acquire loads of these counters. */
    atomic_store_explicit(&row->seq, row_seq + 2, memory_order_release);
    atomic_store_explicit(&self->thread->seq, thread_seq + 2, memory_order_release);
}

#endif
