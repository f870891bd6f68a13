/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: one queue at work.
 *
 *   kick (eventfd, poll, or a vCPU's QueueNotify)
 *     -> run: notification off, pop + parse + submit until empty, notification on, look again
 *     -> backend, submitted as one batch at the end of run
 *     -> complete: status byte, used ring; one interrupt decision at the end of the batch
 *
 * Without ioeventfd the vCPU that kicked pops and parses under the BQL, and a bottom half submits
 * in the main loop: the main context's ring and timers have one owner thread, which may be
 * asleep in its wait without the BQL. Submitting from the vCPU would need a lock around the
 * ring, in the kernel's view a second submitter (no SINGLE_ISSUER, no DEFER_TASKRUN), and a wake-up
 * of the main loop anyway to reap. Answers that need no backend take the same way, so the used
 * ring is written by one thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "virtio_blk_internal.h"

/* Chains one run takes at most, in ring sizes: a guest that refills as fast as the backend
 * completes must not keep the context from its other work. */
#define RUN_RINGS 4u

static void release_request(VirtioBlkQueue *queue, VirtioBlkRequest *req)
{
    req->next = queue->free;
    queue->free = req;
}

/* End of a batch of completions: at most one interrupt for all of them. */
void virtio_blk_queue_batch_completed(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    if (queue->unsignalled) {
        queue->unsignalled = false;
        if (virtqueue_should_notify(queue->vq)) {
            counter_add(&queue->counters.irqs, 1);
            virtio_irq_signal(queue->blk->dev.config.irq, queue->ctx, VIRTIO_IRQ_QUEUE);
        }
    }
    virtio_blk_queue_wake_drain(queue);
}

/*
 * One time stamp for each batch, not for each request: at a million requests a second two of them
 * would cost 2 %. So a duration is exact to the length of the two batches it lies between.
 */
static void begin_batch(VirtioBlkQueue *queue)
{
    const BqlRec *rec = bql_recorder(queue->blk->dev.config.bql);

    if (rec) {
        queue->batch_ticks = bqlrec_now(rec);
    } else {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        queue->batch_ticks = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    }
}

static void record_completion(VirtioBlkQueue *queue, const VirtioBlkRequest *req, uint8_t status,
                              uint64_t duration)
{
    static const uint32_t requests[] = {
        [BLOCK_READ] = BQLREC_REQUEST_READ,          [BLOCK_WRITE] = BQLREC_REQUEST_WRITE,
        [BLOCK_FLUSH] = BQLREC_REQUEST_FLUSH,        [BLOCK_DISCARD] = BQLREC_REQUEST_OTHER,
        [BLOCK_WRITE_ZEROES] = BQLREC_REQUEST_OTHER,
    };
    const BqlRecDone done = {
        .duration = duration,
        .request = req->immediate ? BQLREC_REQUEST_OTHER : requests[req->block.op],
        .bytes = req->immediate ? 0 : (uint32_t)req->block.bytes,
        .failed = status != 0,
    };

    bqlrec_queue_done(queue->recorded, &done);
}

static void count_completion(VirtioBlkQueue *queue, const VirtioBlkRequest *req, uint8_t status)
{
    QueueCounters *counters = &queue->counters;

    counter_add(&counters->requests, 1);
    if (status != 0) {
        counter_add(&counters->errors, 1);
    } else if (!req->immediate && req->block.op == BLOCK_READ) {
        counter_add(&counters->read_bytes, req->block.bytes);
    } else if (!req->immediate && req->block.op == BLOCK_WRITE) {
        counter_add(&counters->written_bytes, req->block.bytes);
    }
}

void virtio_blk_queue_complete(VirtioBlkRequest *req, uint8_t status)
{
    VirtioBlkQueue *queue = req->queue;
    AioContext *ctx = queue->ctx;
    uint32_t written = 0;

    /* 2.7.8.2: all bytes up to the reported length are written. The status comes last, so a
     * failed read, whose data is undefined, may only report nothing. */
    if (req->in_written + UINT64_C(1) == req->elem.in_bytes) {
        written = (uint32_t)req->elem.in_bytes;
        if (status != 0 && req->in_written > 0) {
            written = 0;
        }
    } else if (status == 0) {
        written = req->in_written;
    }
    *req->status_byte = status;
    virtqueue_push(queue->vq, &req->elem, written);
    if (!queue->unsignalled) {
        begin_batch(queue);
    }
    count_completion(queue, req, status);
    /* The clock may jump back. */
    uint64_t duration = queue->batch_ticks > req->taken ? queue->batch_ticks - req->taken : 0;
    record_completion(queue, req, status, duration);
    virtio_blk_acct_done(queue, req, status, duration);
    release_request(queue, req);
    queue->inflight--;
    queue->unsignalled = true;
    aio_defer_call(ctx, virtio_blk_queue_batch_completed, queue);
}

/* The next parsed request, or NULL: ring empty or malformed. */
static VirtioBlkRequest *pop_request(VirtioBlkQueue *queue)
{
    VirtioBlk *blk = queue->blk;
    VirtQueue *vq = queue->vq;
    VirtioBlkRequest *req = queue->free; /* one more than the ring can hold: never NULL */
    int ret = virtqueue_pop(vq, &req->elem, req->iov, blk->dev.config.queue_size);

    if (ret == 1) {
        const char *malformed = virtio_blk_request_parse(req);

        if (!malformed) {
            queue->free = req->next;
            req->next = NULL;
            req->taken = queue->batch_ticks;
            queue->inflight++;
            bqlrec_queue_taken(queue->recorded);
            return req;
        }
        vq->broken = malformed;
        vq->inuse--;
    }
    if (vq->broken) {
        virtio_device_needs_reset(&blk->dev, queue->ctx, vq->broken);
    }
    return NULL;
}

static void enqueue_pending(VirtioBlkQueue *queue, VirtioBlkRequest *req)
{
    *queue->pending_tail = req;
    queue->pending_tail = &req->next;
}

static void submit_pending(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    aio_batch_begin(queue->ctx);
    while (queue->pending) {
        VirtioBlkRequest *req = queue->pending;

        queue->pending = req->next;
        if (!queue->pending) {
            queue->pending_tail = &queue->pending;
        }
        virtio_blk_request_execute(req);
    }
    aio_batch_end(queue->ctx);
}

/* True if the ring was left with work in it. */
static bool take_all(VirtioBlkQueue *queue)
{
    unsigned budget = RUN_RINGS * queue->blk->dev.config.queue_size;
    VirtioBlkRequest *req;

    do {
        if (!queue->polling) {
            virtqueue_set_notification(queue->vq, false);
        }
        begin_batch(queue);
        while (budget > 0 && (req = pop_request(queue))) {
            budget--;
            if (queue->submit_bh) {
                enqueue_pending(queue, req);
            } else {
                virtio_blk_request_execute(req);
            }
        }
        if (!queue->polling) {
            virtqueue_set_notification(queue->vq, true);
        }
        if (!virtqueue_has_work(queue->vq)) {
            return false;
        }
    } while (budget > 0);
    return true;
}

void virtio_blk_queue_run(VirtioBlkQueue *queue)
{
    if (!queue->active || virtio_device_is_broken(&queue->blk->dev)) {
        return;
    }
    counter_add(&queue->counters.kicks, 1);
    if (queue->submit_bh) {
        /* Bounded by the ring: nothing completes while we hold the BQL. */
        (void)take_all(queue);
        if (queue->pending) {
            aio_bh_schedule(queue->submit_bh);
        }
        return;
    }
    aio_batch_begin(queue->ctx);
    bool more = take_all(queue);
    aio_batch_end(queue->ctx);
    if (more) {
        virtio_blk_queue_kick(queue);
    }
}

void virtio_blk_queue_kick(VirtioBlkQueue *queue)
{
    if (queue->host_notifier >= 0) {
        /* Fails only when the counter is full: a kick is pending then. */
        (void)eventfd_write(queue->host_notifier, 1);
    } else {
        virtio_blk_queue_run(queue);
    }
}

static int alloc_requests(VirtioBlkQueue *queue, unsigned size)
{
    unsigned count = size + 1; /* so that the list is not empty with the whole ring in flight */

    queue->requests = calloc(count, sizeof(*queue->requests));
    queue->iov = calloc((size_t)count * size, sizeof(*queue->iov));
    if (!queue->requests || !queue->iov) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < count; i++) {
        queue->requests[i].queue = queue;
        queue->requests[i].iov = &queue->iov[(size_t)i * size];
        release_request(queue, &queue->requests[i]);
    }
    return 0;
}

void virtio_blk_queue_record(VirtioBlkQueue *queue)
{
    const VirtioBlkConfig *config = &queue->blk->config;
    const char *placement = !config->ioeventfd                     ? "vcpu"
                            : virtio_blk_queue_in_main_loop(queue) ? "mainloop"
                                                                   : "iothread";

    if (config->name) {
        queue->recorded =
            bqlrec_queue(bql_recorder(config->device.bql), config->name, queue->index, placement);
    }
}

int virtio_blk_queue_init(VirtioBlkQueue *queue, VirtioBlk *blk, unsigned index)
{
    queue->blk = blk;
    queue->index = index;
    queue->vq = &blk->dev.queues[index];
    queue->ctx = blk->config.ctx[index];
    queue->host_notifier = -1;
    queue->pending_tail = &queue->pending;
    sem_init(&queue->drained_sem, 0, 0);
    virtio_blk_queue_record(queue);
    int ret = alloc_requests(queue, blk->dev.config.queue_size);
    if (ret < 0) {
        return ret;
    }
    queue->drained_cond = bql_cond_new(blk->dev.config.bql);
    if (!queue->drained_cond) {
        return -ENOMEM;
    }
    if (!blk->config.ioeventfd) {
        queue->submit_bh = aio_bh_new(queue->ctx, submit_pending, queue);
        return queue->submit_bh ? 0 : -ENOMEM;
    }
    queue->host_notifier = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->host_notifier < 0) {
        return -errno;
    }
    /* The main loop's handlers can only be changed in its thread, and start() comes in a vCPU:
     * so this one is permanent and `active` is its switch. */
    return virtio_blk_queue_in_main_loop(queue) ? virtio_blk_queue_attach(queue) : 0;
}

void virtio_blk_queue_destroy(VirtioBlkQueue *queue)
{
    if (!queue->blk) {
        return;
    }
    if (queue->host_notifier >= 0) {
        if (virtio_blk_queue_in_main_loop(queue)) {
            virtio_blk_queue_detach(queue);
        }
        close(queue->host_notifier);
    }
    if (queue->submit_bh) {
        aio_bh_delete(queue->submit_bh);
    }
    if (queue->drained_cond) {
        bql_cond_free(queue->drained_cond);
    }
    sem_destroy(&queue->drained_sem);
    free(queue->requests);
    free(queue->iov);
}
