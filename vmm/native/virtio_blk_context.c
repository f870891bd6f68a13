/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: a queue and the context that owns it: attaching, stopping, waiting, resuming.
 *
 * Draining waits in one of three ways:
 *   - a queue of an iothread: the iothread detaches the handler and posts a semaphore when its
 *     last request is done. It never needs the BQL, so the caller may hold it (and says so).
 *   - a queue of the main loop, drained in the main loop's thread: nested aio_poll(), the BQL held,
 *     as QEMU's AIO_WAIT_WHILE.
 *   - the same from a vCPU: only the main loop can complete the requests and needs the BQL to,
 *     so the vCPU waits on a condition, which releases it.
 */
#include <sys/eventfd.h>

#include "virtio_blk_internal.h"

void virtio_blk_queue_wake_drain(VirtioBlkQueue *queue)
{
    unsigned waiters = queue->drain_waiters;

    if (waiters == 0 || queue->inflight > 0) {
        return;
    }
    if (virtio_blk_queue_in_main_loop(queue)) {
        bql_cond_broadcast(queue->drained_cond);
        return;
    }
    queue->drain_waiters = 0;
    /* The waiters own the queue from the first post on. */
    while (waiters-- > 0) {
        sem_post(&queue->drained_sem);
    }
}

static void host_notifier_read(void *opaque)
{
    VirtioBlkQueue *queue = opaque;
    eventfd_t value;

    if (eventfd_read(queue->host_notifier, &value) == 0) {
        virtio_blk_queue_run(queue);
    }
}

static bool poll_has_work(void *opaque)
{
    const VirtioBlkQueue *queue = opaque;

    /* A dead device takes nothing until its reset: work would be found for ever. */
    return queue->active && !virtio_device_is_broken(&queue->blk->dev) &&
           virtqueue_has_work(queue->vq);
}

static void poll_ready(void *opaque)
{
    virtio_blk_queue_run(opaque);
}

static void poll_begin(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    queue->polling = true;
    virtqueue_set_notification(queue->vq, false);
}

static bool poll_end(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    queue->polling = false;
    virtqueue_set_notification(queue->vq, true);
    return poll_has_work(queue);
}

int virtio_blk_queue_attach(VirtioBlkQueue *queue)
{
    static const AioHandlerOps ops = {
        .io_read = host_notifier_read,
        .io_poll = poll_has_work,
        .io_poll_ready = poll_ready,
        .poll_begin = poll_begin,
        .poll_end = poll_end,
    };

    return aio_set_fd_handler(queue->ctx, queue->host_notifier, &ops, queue);
}

void virtio_blk_queue_detach(VirtioBlkQueue *queue)
{
    static const AioHandlerOps none = {0};

    (void)aio_set_fd_handler(queue->ctx, queue->host_notifier, &none, NULL);
    queue->polling = false;
}

static void resume_in_iothread(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    queue->active = true;
    int ret = virtio_blk_queue_attach(queue);
    if (ret < 0) {
        queue->active = false;
        virtio_device_needs_reset(&queue->blk->dev, queue->ctx,
                                  "the queue's event descriptor cannot be watched");
    }
}

static void quiesce_in_iothread(void *opaque)
{
    VirtioBlkQueue *queue = opaque;

    virtio_blk_queue_detach(queue);
    queue->active = false;
    queue->drain_waiters++;
    /* Deferred, so that an interrupt decision of the current batch does not run after the waiter
     * took the queue over. */
    aio_defer_call(queue->ctx, virtio_blk_queue_batch_completed, queue);
}

static void run_in_iothread(VirtioBlkQueue *queue, AioFn *fn)
{
    Bql *bql = queue->blk->dev.config.bql;

    bql_blocked_begin(bql, BQLREC_BLOCKED_DRAIN);
    aio_run_in_context(queue->ctx, fn, queue);
    bql_blocked_end(bql);
}

void virtio_blk_queue_resume(VirtioBlkQueue *queue)
{
    if (virtio_blk_queue_in_main_loop(queue)) {
        queue->active = true;
    } else {
        run_in_iothread(queue, resume_in_iothread);
    }
    /* What the driver made available meanwhile was kicked in vain. */
    virtio_blk_queue_kick(queue);
}

void virtio_blk_queue_quiesce(VirtioBlkQueue *queue)
{
    if (virtio_blk_queue_in_main_loop(queue)) {
        queue->active = false;
    } else {
        run_in_iothread(queue, quiesce_in_iothread);
    }
}

void virtio_blk_queue_wait(VirtioBlkQueue *queue)
{
    VirtioBlk *blk = queue->blk;
    Bql *bql = blk->dev.config.bql;

    if (!virtio_blk_queue_in_main_loop(queue)) {
        bql_blocked_begin(bql, BQLREC_BLOCKED_DRAIN);
        while (sem_wait(&queue->drained_sem) < 0) {
            /* interrupted by a signal */
        }
        bql_blocked_end(bql);
        return;
    }
    bool main_thread = pthread_equal(pthread_self(), blk->main_thread);
    while (queue->inflight > 0) {
        if (main_thread) {
            bql_blocked_begin(bql, BQLREC_BLOCKED_DRAIN);
            aio_poll(queue->ctx, true);
            bql_blocked_end(bql);
        } else {
            queue->drain_waiters = 1; /* or more: all are told */
            bql_cond_wait(bql, queue->drained_cond);
        }
    }
    queue->drain_waiters = 0;
    queue->unsignalled = false; /* a batch that encloses us may still be open */
}
