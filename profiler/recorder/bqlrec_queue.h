/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a disk queue, and exits of a vCPU: what the lock's waits cost the guest, counted
 * beside them. The caller owns the queue and calls
 *
 *   queue = bqlrec_queue(rec, "disk0", 0, "iothread");   again when the placement changes
 *   bqlrec_queue_taken(queue);                           for each request taken from the ring
 *   bqlrec_queue_done(queue, &done);                     for each one completed
 *
 * from one thread at a time; queue may be NULL.
 */
#ifndef PROFILER_RECORDER_BQLREC_QUEUE_H
#define PROFILER_RECORDER_BQLREC_QUEUE_H

#include "bqlrec_steps.h"

/* The queue's row for a placement, made if it is new. NULL: no room, or rec is NULL. */
BqlRecQueue *bqlrec_queue(BqlRec *rec, const char *device, uint32_t index, const char *placement);

typedef struct BqlRecDone {
    uint64_t duration; /* ticks */
    uint32_t request;  /* enum BqlRecRequest */
    uint32_t bytes;    /* read or written; 0 if it failed */
    bool failed;
} BqlRecDone;

static inline void bqlrec_queue_taken(BqlRecQueue *queue)
{
    if (queue != NULL) {
        uint64_t inflight = bqlrec_get(queue->inflight) + 1;

        bqlrec_set(queue->inflight, inflight);
        if (__builtin_expect(inflight > bqlrec_get(queue->max_inflight), false)) {
            bqlrec_set(queue->max_inflight, inflight);
        }
    }
}

static inline void bqlrec_queue_done(BqlRecQueue *queue, const BqlRecDone *done)
{
    if (queue == NULL) {
        return;
    }
    uint32_t seq = bqlrec_get(queue->seq);

    bqlrec_set(queue->seq, seq + 1);
    bqlrec_fence_release();
    bqlrec_add(queue->requests[done->request], 1);
    bqlrec_add(queue->duration_total, done->duration);
    bqlrec_add(queue->duration_hist[bqlrec_bucket(done->duration)], 1);
    if (__builtin_expect(done->duration > bqlrec_get(queue->max_duration), false)) {
        bqlrec_set(queue->max_duration, done->duration);
    }
    if (__builtin_expect(done->failed, false)) {
        bqlrec_add(queue->errors, 1);
    } else if (done->request == BQLREC_REQUEST_READ) {
        bqlrec_add(queue->read_bytes, done->bytes);
    } else if (done->request == BQLREC_REQUEST_WRITE) {
        bqlrec_add(queue->written_bytes, done->bytes);
    }
    bqlrec_set(queue->inflight, bqlrec_get(queue->inflight) - 1);
    /* Release: partner is a reader's acquire load of the counter. */
    atomic_store_explicit(&queue->seq, seq + 2, memory_order_release);
}

/* In the vCPU's thread. */
static inline void bqlrec_count_exit(BqlRec *rec, unsigned exit)
{
    BqlRecSelf *self = bqlrec_self(rec);

    if (self != NULL && self->thread != NULL) {
        bqlrec_add(self->thread->exits[exit], 1);
    }
}

#endif
