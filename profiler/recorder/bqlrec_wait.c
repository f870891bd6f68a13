/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens only under contention: waits, the hand-over ring, and blame.
 *
 * A waiter's interval [request, acquired] is split among the holds that overlap it. Holds of one
 * lock do not overlap each other and the ring has them in order, so one walk back from the
 * acquisition covers the interval; the walk happens after the waiter's own release, so that
 * accounting never lengthens a hold. What the walk finds no entry for is `unknown` if entries
 * were overwritten or went unrecorded, else `handoff`: nobody held the lock.
 */
#include "bqlrec_private.h"

#define HANDOVER_MASK (BQLREC_HANDOVERS - 1)

typedef struct Handover {
    uint64_t acquired, released;
    uint32_t who;
} Handover;

void bqlrec_wait_begin(BqlRec *rec, BqlRecSelf *self)
{
    self->epoch = atomic_load_explicit(&rec->epoch, memory_order_acquire);
    if ((self->epoch & 1) != 0 || !bqlrec_recording(rec)) {
        self->epoch--; /* switched since the caller looked */
    }
    /* Who made the trylock fail. Looked at first: once waiters counts us, the holder may go. */
    self->first_who = atomic_load_explicit(&rec->live->holder, memory_order_acquire);
    /* Before the time stamp; partner: bqlrec_waiters_after(). bqlrec_ticks() has the lfence that
     * keeps the time stamp from being taken before the increment is visible. */
    atomic_fetch_add_explicit(&rec->live->waiters, 1, memory_order_seq_cst);
    self->request = bqlrec_ticks(rec);
}

void bqlrec_wait_end(BqlRec *rec, BqlRecSelf *self, uint32_t site, unsigned kind)
{
    uint64_t now = bqlrec_ticks(rec);

    atomic_fetch_sub_explicit(&rec->live->waiters, 1, memory_order_relaxed);
    self->contended = true;
    self->handover_end = bqlrec_get(rec->live->handover_head);
    bqlrec_begin_hold(rec, self, now < self->request ? self->request : now, site, kind);
}

void bqlrec_trylock_failed(BqlRec *rec, BqlRecSelf *self, uint32_t site)
{
    BqlRecRow *row = self->row_site == site ? self->row : bqlrec_row_slow(rec, self, site);

    if (row == NULL) {
        atomic_fetch_add_explicit(&rec->header->trylocks_failed_lost, 1, memory_order_relaxed);
        return;
    }
    bqlrec_add(row->trylock_failed, 1);
}

/* Called by the holder only, so the ring has one writer at a time, ordered by the lock itself. */
static void append(BqlRec *rec, uint64_t acquired, uint64_t released, uint32_t who)
{
    uint64_t head = bqlrec_get(rec->live->handover_head);
    BqlRecHandover *entry = &rec->handovers[head & HANDOVER_MASK];

    bqlrec_set(entry->seq, 2 * head + 1);
    bqlrec_fence_release();
    bqlrec_set(entry->acquired, acquired);
    bqlrec_set(entry->released, released);
    bqlrec_set(entry->who, who);
    /* Release: partner is the acquire load in take(). */
    atomic_store_explicit(&entry->seq, 2 * head + 2, memory_order_release);
    atomic_store_explicit(&rec->live->handover_head, head + 1, memory_order_release);
}

static void close_blocked(BqlRec *rec, BqlRecSelf *self, uint64_t now)
{
    uint64_t ticks = now > self->blocked_since ? now - self->blocked_since : 0;

    self->blocked_depth = 0;
    self->blocked_ticks[self->blocked_reason] += ticks;
    self->blocked_count[self->blocked_reason]++;
    bqlrec_set(rec->live->blocked, BQLREC_BLOCKED_NONE);
}

void bqlrec_release_slow(BqlRec *rec, BqlRecSelf *self)
{
    if (self->blocked_depth > 0) {
        close_blocked(rec, self, self->released);
    }
    if (bqlrec_get(rec->live->waiters) != 0) {
        append(rec, self->acquired, self->released, self->who_base | self->site);
    }
}

void bqlrec_release_unrecorded(BqlRec *rec)
{
    uint64_t now = bqlrec_ticks(rec);

    if (bqlrec_waiters_after(rec, now) != 0) {
        /* Since the last known release: the walk clamps it to the wait. */
        append(rec, bqlrec_get(rec->live->since), now, 0);
    }
    bqlrec_set(rec->live->since, now);
}

void bqlrec_blocked_begin(BqlRec *rec, int reason)
{
    BqlRecSelf *self = rec->holder;

    if (self == NULL || self->blocked_depth++ > 0) {
        return;
    }
    self->marked = true;
    self->blocked_reason = reason > 0 && reason < BQLREC_BLOCKED_REASONS
                               ? (uint32_t)reason
                               : (uint32_t)BQLREC_BLOCKED_OTHER;
    self->blocked_since = bqlrec_ticks(rec);
    bqlrec_set(rec->live->blocked_since, self->blocked_since);
    /* Release: partner is a reader's acquire load of blocked before it reads blocked_since. */
    atomic_store_explicit(&rec->live->blocked, self->blocked_reason, memory_order_release);
}

void bqlrec_blocked_end(BqlRec *rec)
{
    BqlRecSelf *self = rec->holder;

    if (self == NULL || self->blocked_depth == 0 || --self->blocked_depth > 0) {
        return;
    }
    close_blocked(rec, self, bqlrec_ticks(rec));
}

void bqlrec_gil_waited(BqlRec *rec, uint64_t ticks)
{
    BqlRecSelf *self = rec->holder;

    if (self == NULL || self->blocked_depth > 0) {
        return; /* inside a blocked section these ticks are already counted */
    }
    self->marked = true;
    self->blocked_ticks[BQLREC_BLOCKED_GIL] += ticks;
    self->blocked_count[BQLREC_BLOCKED_GIL]++;
}

/* Sleeps are parts of the hold, also where its two ends were clamped and theirs were not. */
void bqlrec_account_marks(BqlRecSelf *self, BqlRecRow *row, uint64_t hold)
{
    for (unsigned reason = 1; reason < BQLREC_BLOCKED_REASONS; reason++) {
        uint64_t ticks = self->blocked_ticks[reason];
        ticks = ticks < hold ? ticks : hold;
        hold -= ticks;
        bqlrec_add(row->blocked_ticks[reason], ticks);
        bqlrec_add(row->blocked_count[reason], self->blocked_count[reason]);
        self->blocked_ticks[reason] = 0;
        self->blocked_count[reason] = 0;
    }
    self->marked = false;
}

void bqlrec_lost(BqlRec *rec, BqlRecSelf *self)
{
    atomic_fetch_add_explicit(&rec->header->acquisitions_lost, 1, memory_order_relaxed);
    self->marked = false;
    for (unsigned reason = 1; reason < BQLREC_BLOCKED_REASONS; reason++) {
        self->blocked_ticks[reason] = 0;
        self->blocked_count[reason] = 0;
    }
}

/* A copy of entry n, or false if it was overwritten. */
static bool take(const BqlRec *rec, uint64_t n, Handover *out)
{
    BqlRecHandover *entry = &rec->handovers[n & HANDOVER_MASK];
    uint64_t seq = atomic_load_explicit(&entry->seq, memory_order_acquire);

    /* Acquire loads: none of them may move below the second look at seq; partner: append(). */
    out->acquired = atomic_load_explicit(&entry->acquired, memory_order_acquire);
    out->released = atomic_load_explicit(&entry->released, memory_order_acquire);
    out->who = atomic_load_explicit(&entry->who, memory_order_acquire);
    return seq == 2 * n + 2 && bqlrec_get(entry->seq) == seq;
}

/* The next slot becomes that of (site, who); NULL when the table is full. */
static BqlRecBlame *new_blame(BqlRecSelf *self, uint16_t *place, uint32_t site, uint32_t who)
{
    uint32_t used = bqlrec_get(self->thread->blames_used);
    BqlRecBlame *slot = &self->blames[used];

    if (used == BQLREC_BLAMES) {
        return NULL;
    }
    *place = (uint16_t)(used + 1);
    bqlrec_set(slot->waiter_site, site);
    bqlrec_set(slot->holder, who);
    /* Release: partner is a reader's acquire load of used before it reads the key. */
    atomic_store_explicit(&slot->used, 1, memory_order_release);
    bqlrec_set(self->thread->blames_used, used + 1);
    return slot;
}

/* The slot of (site, who), made if it is new; NULL when the table is full. Slots are used in order,
 * so that a reader copies no free ones; we find them by an index of our own. */
static BqlRecBlame *blame_slot(BqlRecSelf *self, uint32_t site, uint32_t who)
{
    uint32_t at = (who * 2654435761u) ^ (site * 2246822519u);

    for (at ^= at >> 16;; at++) {
        uint16_t *place = &self->blame_index[at % BQLREC_BLAME_INDEX];
        if (*place == 0) {
            return new_blame(self, place, site, who);
        }
        BqlRecBlame *slot = &self->blames[*place - 1];
        if (bqlrec_get(slot->waiter_site) == site && bqlrec_get(slot->holder) == who) {
            return slot;
        }
    }
}

/* Add a part of the current wait to a holder. Returns the holder's part of this wait so far, or
 * 0 if it could not be blamed. */
static uint64_t blame(BqlRecSelf *self, uint32_t site, uint32_t who, uint64_t ticks)
{
    BqlRecBlame *slot = blame_slot(self, site, who);
    struct BqlRecPart *part;

    if (slot == NULL) {
        bqlrec_add(self->thread->blame_lost, 1);
        return 0;
    }
    part = &self->parts[slot - self->blames];
    if (part->wait != self->wait_number) {
        part->wait = self->wait_number;
        part->ticks = 0;
        bqlrec_add(slot->count, 1);
    }
    part->ticks += ticks;
    bqlrec_add(slot->ticks, ticks);
    if (part->ticks > bqlrec_get(slot->max)) {
        bqlrec_set(slot->max, part->ticks);
    }
    return part->ticks;
}

typedef struct Split {
    uint64_t handoff, unknown;
    uint64_t largest;
    uint32_t largest_who;
} Split;

/* The part of a hold that lies in the wait not yet covered, [request, *end); moves *end. */
static void charge(BqlRecSelf *self, uint32_t site, const Handover *hold, uint64_t *end,
                   Split *split)
{
    uint64_t to = hold->released < *end ? hold->released : *end;
    uint64_t from = hold->acquired > self->request ? hold->acquired : self->request;
    uint64_t part;

    if (from > to) {
        from = to;
    }
    split->handoff += *end - to;
    *end = from;
    if (to == from) {
        return;
    }
    part = hold->who != 0 ? blame(self, site, hold->who, to - from) : 0;
    if (part == 0) {
        split->unknown += to - from;
    } else if (part > split->largest) {
        split->largest = part;
        split->largest_who = hold->who;
    }
}

/* Split the wait. Every step takes what it charges off `end`, so the parts sum up exactly. */
static Split split_wait(BqlRec *rec, BqlRecSelf *self, uint32_t site)
{
    Split split = {0, 0, 0, 0};
    uint64_t end = self->acquired;
    bool known = true;

    self->wait_number++;
    for (uint64_t n = self->handover_end; n > 0 && end > self->request; n--) {
        Handover hold;
        if (!take(rec, n - 1, &hold)) {
            known = false;
            break;
        }
        if (hold.released <= self->request) {
            break;
        }
        charge(self, site, &hold, &end, &split);
    }
    if (known) {
        split.handoff += end - self->request;
    } else {
        split.unknown += end - self->request;
    }
    /* Recording was switched meanwhile: a gap may have been an unrecorded hold. */
    if (atomic_load_explicit(&rec->epoch, memory_order_acquire) != self->epoch) {
        split.unknown += split.handoff;
        split.handoff = 0;
    }
    return split;
}

void bqlrec_account_wait(BqlRec *rec, BqlRecSelf *self, BqlRecRow *row)
{
    uint64_t wait = self->acquired - self->request;
    /* Blame goes where the row is: a site without a row of its own is counted as site 0. */
    Split split = split_wait(rec, self, bqlrec_get(row->site));

    bqlrec_add(row->contended, 1);
    bqlrec_add(row->wait_total, wait);
    bqlrec_add(row->handoff, split.handoff);
    bqlrec_add(row->unknown, split.unknown);
    bqlrec_count(rec, row, BQLREC_HIST_WAIT, wait);
    if (wait >= bqlrec_get(row->max_wait)) {
        bqlrec_set(row->max_wait, wait);
        bqlrec_set(row->max_wait_at, self->request);
        bqlrec_set(row->max_wait_who, split.largest_who);
    }
    bqlrec_clock_sync_if_due(rec, self->acquired);
}
