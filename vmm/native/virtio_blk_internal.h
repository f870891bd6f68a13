/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of virtio-blk share: the device, its queues, their requests. */
#ifndef VMM_NATIVE_VIRTIO_BLK_INTERNAL_H
#define VMM_NATIVE_VIRTIO_BLK_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "bqlrec_queue.h"
#include "virtio_blk.h"

#define SECTOR_BYTES 512u
#define MAX_RANGE_SECTORS (INT32_MAX / SECTOR_BYTES) /* of one discard or write-zeroes segment */

typedef struct VirtioBlkQueue VirtioBlkQueue;

/* One request, preallocated; the buffers that trimming leaves are a part of elem.iov. */
typedef struct VirtioBlkRequest {
    BlockRequest block; /* first: its done() casts back */
    VirtQueueElement elem;
    VirtioBlkQueue *queue;
    struct VirtioBlkRequest *next; /* in the free or the pending list */
    struct iovec *iov;             /* queue_size entries */
    uint8_t *status_byte;          /* in guest memory */
    uint32_t in_written;           /* bytes in front of the status byte if it succeeds */
    uint64_t taken;                /* recorder's ticks at the batch it was popped in */
    bool immediate;                /* answered with `status`, without the backend */
    bool invalid;                  /* a read, write, ... (block.op) that makes no sense */
    uint8_t status;
} VirtioBlkRequest;

/* Single writer at a time (the queue's context, or whoever holds the BQL): load + store. */
typedef struct QueueCounters {
    _Atomic uint64_t requests, errors, read_bytes, written_bytes, kicks, irqs;
} QueueCounters;

/* Same writer. The boundaries are the BQL's and change only while the queue is quiet. */
typedef struct QueueAcct {
    _Atomic uint64_t operations, failed, invalid, bytes, ticks, highest_offset;
    unsigned boundaries;
    uint64_t boundary[VIRTIO_BLK_ACCT_BOUNDARIES]; /* ticks, ascending */
    _Atomic uint64_t bins[VIRTIO_BLK_ACCT_BOUNDARIES + 1];
} QueueAcct;

/*
 * Owned by ctx's thread while active; without ioeventfd and in the main loop that is the BQL.
 * `started` and the set-up belong to the BQL and change only while the queue is quiet.
 */
struct VirtioBlkQueue {
    VirtioBlk *blk;
    VirtQueue *vq;
    AioContext *ctx;
    unsigned index;
    int host_notifier;
    bool started;           /* the driver has set it up and DRIVER_OK */
    bool active;            /* takes requests */
    bool polling;           /* ctx polls it: notifications stay off */
    bool unsignalled;       /* completions since the last interrupt decision */
    unsigned inflight;      /* popped, not completed */
    unsigned drain_waiters; /* in virtio_blk_queue_wait(), to be told when inflight is 0 */
    VirtioBlkRequest *requests, *free;
    struct iovec *iov;
    VirtioBlkRequest *pending, **pending_tail; /* parsed by a vCPU, to be submitted by submit_bh */
    AioBh *submit_bh;                          /* NULL with ioeventfd */
    sem_t drained_sem;                         /* iothread to waiter */
    BqlCond *drained_cond;                     /* main loop to a waiting vCPU */
    QueueCounters counters;
    QueueAcct acct[VIRTIO_BLK_ACCT_TYPES];
    BqlRecQueue *recorded; /* NULL: not recorded */
    uint64_t batch_ticks;  /* when the latest batch of pops or completions began */
};

struct VirtioBlk {
    VirtioDevice dev; /* first */
    VirtioBlkConfig config;
    pthread_t main_thread; /* owns main_ctx */
    VirtioBlkQueue *queues;
    unsigned drains;
    _Atomic bool writeback;
    uint64_t capacity; /* sectors */
};

static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline bool virtio_blk_queue_in_main_loop(const VirtioBlkQueue *queue)
{
    return queue->ctx == queue->blk->config.device.main_ctx;
}

/* virtio_blk_config.c */
#define VIRTIO_BLK_CONFIG_BYTES 60u /* up to write_zeroes_may_unmap; zoned is not offered */
uint64_t virtio_blk_features(VirtioDevice *dev);
uint32_t virtio_blk_get_config(VirtioDevice *dev, uint32_t offset, unsigned size);
void virtio_blk_set_config(VirtioDevice *dev, uint32_t offset, uint32_t value, unsigned size);

/* virtio_blk_acct.c: account a completed request; `ticks` since it was popped. */
void virtio_blk_acct_done(VirtioBlkQueue *queue, const VirtioBlkRequest *req, uint8_t status,
                          uint64_t ticks);

/* virtio_blk_request.c: fill req from req->elem. NULL, or why the chain is malformed. */
const char *virtio_blk_request_parse(VirtioBlkRequest *req);
void virtio_blk_request_execute(VirtioBlkRequest *req);

/* virtio_blk_queue.c */
int virtio_blk_queue_init(VirtioBlkQueue *queue, VirtioBlk *blk, unsigned index);
void virtio_blk_queue_destroy(VirtioBlkQueue *queue);
/* From now on count in the recording under the queue's present placement; no request in flight. */
void virtio_blk_queue_record(VirtioBlkQueue *queue);
/* Take everything out of the ring. In ctx's thread; under the BQL without ioeventfd. */
void virtio_blk_queue_run(VirtioBlkQueue *queue);
void virtio_blk_queue_kick(VirtioBlkQueue *queue); /* [any thread with the BQL] run it soon */
void virtio_blk_queue_complete(VirtioBlkRequest *req, uint8_t status);
void virtio_blk_queue_batch_completed(void *opaque); /* deferred call; opaque: the queue */

/* virtio_blk_context.c */
void virtio_blk_queue_resume(VirtioBlkQueue *queue); /* under the BQL */
/* Under the BQL: take no more requests; then wait until none is in flight. */
void virtio_blk_queue_quiesce(VirtioBlkQueue *queue);
void virtio_blk_queue_wait(VirtioBlkQueue *queue);
/* In the context's thread, after each batch: is a waiter to be told? */
void virtio_blk_queue_wake_drain(VirtioBlkQueue *queue);
/* Handler of the host notifier in the queue's context. 0 or -errno. */
int virtio_blk_queue_attach(VirtioBlkQueue *queue);
void virtio_blk_queue_detach(VirtioBlkQueue *queue);

#endif
