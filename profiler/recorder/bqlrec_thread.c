/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread table: blocks, their life, and rows. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bqlrec_private.h"

static BqlRecThread *block(const BqlRec *rec, unsigned index)
{
    return (BqlRecThread *)(rec->threads + (size_t)index * BQLREC_THREAD_STRIDE);
}

/* With their spill, so that no sample is without a place. */
static bool reserve_rows(BqlRec *rec, unsigned first, unsigned count)
{
    return bqlrec_file_reserve(rec, BQLREC_ROWS_OFFSET + first * sizeof(BqlRecRow),
                               count * sizeof(BqlRecRow)) &&
           bqlrec_file_reserve(rec, BQLREC_SPILL_OFFSET + first * sizeof(BqlRecSpill),
                               count * sizeof(BqlRecSpill));
}

/* A row that nobody else knows yet becomes (thread, site)'s. */
static void publish_row(BqlRec *rec, unsigned row, unsigned thread, uint32_t site)
{
    BqlRecRow *at = &rec->rows[row];

    bqlrec_set(at->thread, thread);
    bqlrec_set(at->site, site);
    /* Release: partner is a reader's acquire load of in_use before it reads the key. */
    atomic_store_explicit(&at->in_use, 1, memory_order_release);
    bqlrec_set(block(rec, thread)->row_of_site[site], (uint16_t)(row + 1));
}

static BqlRecSelf *new_self(BqlRec *rec, unsigned index)
{
    size_t at = BQLREC_THREADS_OFFSET + (size_t)index * BQLREC_THREAD_STRIDE;
    BqlRecSelf *self = calloc(1, sizeof(*self));

    if (self == NULL) {
        return NULL;
    }
    self->parts = calloc(BQLREC_BLAMES, sizeof(*self->parts));
    self->blame_index = calloc(BQLREC_BLAME_INDEX, sizeof(*self->blame_index));
    if (self->parts == NULL || self->blame_index == NULL ||
        !bqlrec_file_reserve(rec, at, BQLREC_EVENTS_OFFSET) || !reserve_rows(rec, index, 1)) {
        free(self->parts);
        free(self->blame_index);
        free(self);
        return NULL;
    }
    self->thread = block(rec, index);
    self->blames = (BqlRecBlame *)((uint8_t *)self->thread + BQLREC_BLAME_OFFSET);
    if (bqlrec_file_reserve(rec, at + BQLREC_EVENTS_OFFSET, BQLREC_EVENTS * sizeof(BqlRecEvent))) {
        self->events = (BqlRecEvent *)((uint8_t *)self->thread + BQLREC_EVENTS_OFFSET);
    }
    self->who_base = BQLREC_WHO(index, 0);
    return self;
}

/* A fresh slot, else a dead one of the same role, whose totals then run on. */
static BqlRecSelf *allocate_locked(BqlRec *rec, uint32_t role)
{
    uint32_t used = bqlrec_get(rec->header->threads_used);

    if (used < BQLREC_THREADS) {
        BqlRecSelf *self = new_self(rec, used);
        if (self != NULL) {
            rec->shared->selves[used] = self;
            publish_row(rec, used, used, 0);
            atomic_store_explicit(&rec->header->threads_used, used + 1, memory_order_release);
            return self;
        }
    }
    for (uint32_t i = 0; i < used; i++) {
        BqlRecThread *thread = block(rec, i);
        if (bqlrec_get(thread->state) == BQLREC_THREAD_DEAD && bqlrec_get(thread->role) == role) {
            return rec->shared->selves[i];
        }
    }
    return NULL;
}

/* A thread without a block: it takes part in the lock's steps and is counted as lost. */
static BqlRecSelf *new_lost_locked(BqlRec *rec)
{
    BqlRecSelf *self = calloc(1, sizeof(*self));

    atomic_fetch_add_explicit(&rec->header->threads_lost, 1, memory_order_relaxed);
    if (self != NULL) {
        self->who_base = BQLREC_WHO(BQLREC_NO_THREAD, 0);
        self->row_site = UINT32_MAX; /* every look-up takes the slow path and finds none */
        self->next_lost = rec->shared->lost;
        rec->shared->lost = self;
    }
    return self;
}

static void free_lost_locked(BqlRec *rec, BqlRecSelf *self)
{
    for (BqlRecSelf **at = &rec->shared->lost; *at != NULL; at = &(*at)->next_lost) {
        if (*at == self) {
            *at = self->next_lost;
            free(self);
            return;
        }
    }
}

/* Under the thread's sequence counter: a reader never sees half a name. */
static void describe(BqlRecThread *thread, uint32_t role, const char *name)
{
    uint32_t seq = bqlrec_get(thread->seq);
    char bytes[16] = "";
    uint64_t words[2];

    if (name != NULL) {
        strncpy(bytes, name, sizeof(bytes) - 1);
    } else {
        prctl(PR_GET_NAME, bytes, 0, 0, 0);
    }
    memcpy(words, bytes, sizeof(words));
    bqlrec_set(thread->seq, seq + 1);
    bqlrec_fence_release();
    bqlrec_set(thread->role, role);
    bqlrec_set(thread->tid, (uint32_t)syscall(SYS_gettid));
    bqlrec_set(thread->name[0], words[0]);
    bqlrec_set(thread->name[1], words[1]);
    atomic_store_explicit(&thread->seq, seq + 2, memory_order_release);
}

static void begin_life_locked(BqlRec *rec, BqlRecSelf *self, uint32_t role, const char *name)
{
    BqlRecThread *thread = self->thread;

    describe(thread, role, name);
    if (bqlrec_get(thread->incarnations) == 0) {
        bqlrec_set(thread->first_seen, bqlrec_ticks(rec));
    }
    bqlrec_add(thread->incarnations, 1);
    self->row = &rec->rows[BQLREC_WHO_THREAD(self->who_base)];
    self->row_site = 0;
    self->blocked_depth = 0;
    self->marked = false;
    /* Release: partner is a reader's acquire load of state before it reads the rest. */
    atomic_store_explicit(&thread->state, BQLREC_THREAD_LIVE, memory_order_release);
}

static void retire_locked(BqlRec *rec, BqlRecSelf *self)
{
    if (self->thread == NULL) {
        free_lost_locked(rec, self);
    } else if (bqlrec_get(self->thread->state) == BQLREC_THREAD_LIVE) {
        bqlrec_set(self->thread->last_exit, bqlrec_ticks(rec));
        atomic_store_explicit(&self->thread->state, BQLREC_THREAD_DEAD, memory_order_release);
    }
}

void bqlrec_thread_retire(BqlRec *rec, BqlRecSelf *self)
{
    if (rec->shared->forked) {
        return;
    }
    pthread_mutex_lock(&rec->shared->mutex);
    retire_locked(rec, self);
    pthread_mutex_unlock(&rec->shared->mutex);
}

void bqlrec_thread_retire_all(BqlRec *rec)
{
    pthread_mutex_lock(&rec->shared->mutex);
    for (unsigned i = 0; i < BQLREC_THREADS; i++) {
        if (rec->shared->selves[i] != NULL) {
            retire_locked(rec, rec->shared->selves[i]);
        }
    }
    pthread_mutex_unlock(&rec->shared->mutex);
}

static BqlRecSelf *enter(BqlRec *rec, uint32_t role, const char *name)
{
    BqlRecSelf *self;

    pthread_mutex_lock(&rec->shared->mutex);
    self = allocate_locked(rec, role);
    if (self != NULL) {
        begin_life_locked(rec, self, role, name);
    } else {
        self = new_lost_locked(rec);
    }
    if (self != NULL && !bqlrec_registry_link(rec, self)) {
        retire_locked(rec, self);
        self = NULL;
    }
    pthread_mutex_unlock(&rec->shared->mutex);
    return self;
}

int bqlrec_thread_enter(BqlRec *rec, int role, const char *name)
{
    BqlRecSelf *self;

    if (rec->shared->forked) {
        return -1;
    }
    role = role >= 0 && role < BQLREC_ROLES ? role : BQLREC_ROLE_OTHER;
    self = bqlrec_registry_find(rec);
    if (self == NULL) {
        self = enter(rec, (uint32_t)role, name);
    } else if (self->thread != NULL) {
        describe(self->thread, (uint32_t)role, name);
    }
    return self != NULL && self->thread != NULL ? (int)BQLREC_WHO_THREAD(self->who_base) : -1;
}

void bqlrec_thread_exit(BqlRec *rec)
{
    BqlRecSelf *self = bqlrec_registry_find(rec);

    if (self != NULL) {
        bqlrec_registry_unlink(rec);
        bqlrec_thread_retire(rec, self);
    }
}

BqlRecSelf *bqlrec_self_slow(BqlRec *rec)
{
    BqlRecSelf *self = bqlrec_registry_find(rec);

    return self != NULL ? self : enter(rec, BQLREC_ROLE_OTHER, NULL);
}

/* Rows get their pages in chunks; the first BQLREC_THREADS come with their thread. */
static unsigned allocate_row_locked(BqlRec *rec)
{
    uint32_t row = bqlrec_get(rec->header->rows_used);
    bool *has_chunk = &rec->shared->has_row_chunk[row / BQLREC_ROW_CHUNK];

    if (row >= BQLREC_ROWS) {
        return 0;
    }
    if (!*has_chunk) {
        if (!reserve_rows(rec, row - row % BQLREC_ROW_CHUNK, BQLREC_ROW_CHUNK)) {
            return 0;
        }
        *has_chunk = true;
    }
    atomic_store_explicit(&rec->header->rows_used, row + 1, memory_order_release);
    return row;
}

/* The thread's row of a site that is not the last one used. NULL: the thread has no block. */
BqlRecRow *bqlrec_row_slow(BqlRec *rec, BqlRecSelf *self, uint32_t site)
{
    unsigned index = BQLREC_WHO_THREAD(self->who_base);
    unsigned row;

    if (self->thread == NULL) {
        return NULL;
    }
    row = bqlrec_get(self->thread->row_of_site[site]);
    if (row == 0) {
        pthread_mutex_lock(&rec->shared->mutex);
        row = allocate_row_locked(rec);
        if (row != 0) {
            publish_row(rec, row, index, site);
        } else {
            /* Counted in the thread's row of site 0 from now on. */
            row = index;
            bqlrec_set(self->thread->row_of_site[site], (uint16_t)(row + 1));
            atomic_fetch_add_explicit(&rec->header->rows_lost, 1, memory_order_relaxed);
        }
        pthread_mutex_unlock(&rec->shared->mutex);
        row++;
    }
    self->row_site = site;
    self->row = &rec->rows[row - 1];
    return self->row;
}

void bqlrec_spill(BqlRec *rec, BqlRecRow *row, enum BqlRecHist hist, unsigned bucket, uint64_t n)
{
    BqlRecSpill *spill = &rec->spill[row - rec->rows];

    bqlrec_add(row->spills, 1);
    bqlrec_add(spill->count[hist][bucket], n);
}
