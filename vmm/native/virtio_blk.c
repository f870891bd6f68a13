/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk: the device, as the transport and the machine see it. */
#include "virtio_blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "virtio_blk_internal.h"

static void quiesce_all(VirtioBlk *blk)
{
    /* All stop taking requests before the first wait, so that they finish together. */
    for (unsigned i = 0; i < blk->dev.config.num_queues; i++) {
        if (blk->queues[i].started) {
            virtio_blk_queue_quiesce(&blk->queues[i]);
        }
    }
    for (unsigned i = 0; i < blk->dev.config.num_queues; i++) {
        if (blk->queues[i].started) {
            virtio_blk_queue_wait(&blk->queues[i]);
        }
    }
}

static void start_queue(VirtioBlk *blk, VirtioBlkQueue *queue)
{
    if (virtqueue_start(queue->vq) < 0) {
        virtio_device_needs_reset(&blk->dev, blk->config.device.main_ctx, queue->vq->broken);
        return;
    }
    queue->started = true;
    if (blk->drains == 0) {
        virtio_blk_queue_resume(queue);
    }
}

static void start(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;

    bql_assert_held(dev->config.bql);
    /* 5.2.5.2: a driver that can neither flush nor switch the cache gets write-through. */
    if (!virtio_device_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE)) {
        atomic_store_explicit(&blk->writeback, virtio_device_has_feature(dev, VIRTIO_BLK_F_FLUSH),
                              memory_order_relaxed);
    }
    for (unsigned i = 0; i < dev->config.num_queues; i++) {
        if (dev->queues[i].ready) {
            start_queue(blk, &blk->queues[i]);
        }
    }
}

void virtio_blk_drain_begin(VirtioBlk *blk)
{
    bql_assert_held(blk->dev.config.bql);
    blk->drains++;
    /* Also when nested: whoever was first may still be waiting, with the BQL released. */
    quiesce_all(blk);
}

void virtio_blk_drain_end(VirtioBlk *blk)
{
    bql_assert_held(blk->dev.config.bql);
    if (--blk->drains > 0) {
        return;
    }
    for (unsigned i = 0; i < blk->dev.config.num_queues; i++) {
        if (blk->queues[i].started) {
            virtio_blk_queue_resume(&blk->queues[i]);
        }
    }
}

static void reset(VirtioDevice *dev)
{
    VirtioBlk *blk = (VirtioBlk *)dev;

    virtio_blk_drain_begin(blk);
    for (unsigned i = 0; i < dev->config.num_queues; i++) {
        blk->queues[i].started = false;
    }
    virtio_blk_drain_end(blk);
    atomic_store_explicit(&blk->writeback, blk->config.write_cache, memory_order_relaxed);
}

static void queue_stop(VirtioDevice *dev, unsigned index)
{
    VirtioBlk *blk = (VirtioBlk *)dev;

    virtio_blk_drain_begin(blk);
    blk->queues[index].started = false;
    virtio_blk_drain_end(blk);
}

static void queue_notify(VirtioDevice *dev, unsigned index)
{
    virtio_blk_queue_kick(&((VirtioBlk *)dev)->queues[index]);
}

static const VirtioDeviceOps blk_ops = {
    .device_id = VIRTIO_ID_BLOCK,
    .config_size = VIRTIO_BLK_CONFIG_BYTES,
    .get_config = virtio_blk_get_config,
    .set_config = virtio_blk_set_config,
    .features = virtio_blk_features,
    .start = start,
    .reset = reset,
    .queue_stop = queue_stop,
    .queue_notify = queue_notify,
};

static bool config_ok(const VirtioBlkConfig *config)
{
    uint16_t size = config->device.queue_size;

    if (size < 4 || size > VIRTQUEUE_MAX_SIZE || (size & (size - 1)) != 0 ||
        config->device.num_queues == 0 || config->device.num_queues > UINT16_MAX) {
        return false;
    }
    for (unsigned i = 0; i < config->device.num_queues; i++) {
        if (!config->ioeventfd && config->ctx[i] != config->device.main_ctx) {
            return false;
        }
    }
    return true;
}

static void destroy(VirtioBlk *blk)
{
    for (unsigned i = 0; blk->queues && i < blk->config.device.num_queues; i++) {
        virtio_blk_queue_destroy(&blk->queues[i]);
    }
    free(blk->queues);
    virtio_device_destroy(&blk->dev);
    free((char *)blk->config.name);
    free(blk);
}

static int init(VirtioBlk *blk, const VirtioBlkConfig *config)
{
    blk->config = *config;
    blk->config.name = NULL;
    if (config->name) {
        blk->config.name = strdup(config->name);
        if (!blk->config.name) {
            return -ENOMEM;
        }
    }
    blk->main_thread = pthread_self();
    blk->capacity = block_limits(config->backend)->size / SECTOR_BYTES;
    atomic_init(&blk->writeback, config->write_cache);
    int ret = virtio_device_init(&blk->dev, &blk_ops, &config->device);
    if (ret < 0) {
        return ret;
    }
    blk->queues = calloc(config->device.num_queues, sizeof(*blk->queues));
    if (!blk->queues) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < config->device.num_queues && ret == 0; i++) {
        ret = virtio_blk_queue_init(&blk->queues[i], blk, i);
    }
    blk->config.ctx = NULL; /* the caller's array; each queue has its own now */
    return ret;
}

VirtioBlk *virtio_blk_new(const VirtioBlkConfig *config)
{
    if (!config_ok(config)) {
        errno = EINVAL;
        return NULL;
    }
    VirtioBlk *blk = calloc(1, sizeof(*blk));
    if (!blk) {
        return NULL;
    }
    int ret = init(blk, config);
    if (ret < 0) {
        destroy(blk);
        errno = -ret;
        return NULL;
    }
    return blk;
}

void virtio_blk_free(VirtioBlk *blk)
{
    if (!blk) {
        return;
    }
    reset(&blk->dev);
    destroy(blk);
}

VirtioDevice *virtio_blk_device(VirtioBlk *blk)
{
    return &blk->dev;
}

int virtio_blk_host_notifier(const VirtioBlk *blk, unsigned queue)
{
    return queue < blk->dev.config.num_queues ? blk->queues[queue].host_notifier : -1;
}

int virtio_blk_set_context(VirtioBlk *blk, unsigned index, AioContext *ctx)
{
    AioContext *main_ctx = blk->config.device.main_ctx;

    if (index >= blk->dev.config.num_queues || blk->drains == 0 || !blk->config.ioeventfd) {
        return -EINVAL;
    }
    /* A vCPU may be on its way out of a drain of its own, waiting as the old context demands. */
    if (blk->drains > 1) {
        return -EBUSY;
    }
    VirtioBlkQueue *queue = &blk->queues[index];
    AioContext *old = queue->ctx;
    if (ctx == old) {
        return 0;
    }
    if (old == main_ctx) {
        virtio_blk_queue_detach(queue);
    }
    queue->ctx = ctx;
    int ret = ctx == main_ctx ? virtio_blk_queue_attach(queue) : 0;
    if (ret < 0) {
        queue->ctx = old; /* an iothread: it attaches its handler when the drain ends */
        return ret;
    }
    virtio_blk_queue_record(queue);
    return 0;
}

void virtio_blk_stats(const VirtioBlk *blk, unsigned index, VirtioBlkStats *out)
{
    *out = (VirtioBlkStats){0};
    if (index >= blk->dev.config.num_queues) {
        return;
    }
    const QueueCounters *counters = &blk->queues[index].counters;
    out->requests = atomic_load_explicit(&counters->requests, memory_order_relaxed);
    out->errors = atomic_load_explicit(&counters->errors, memory_order_relaxed);
    out->read_bytes = atomic_load_explicit(&counters->read_bytes, memory_order_relaxed);
    out->written_bytes = atomic_load_explicit(&counters->written_bytes, memory_order_relaxed);
    out->kicks = atomic_load_explicit(&counters->kicks, memory_order_relaxed);
    out->irqs = atomic_load_explicit(&counters->irqs, memory_order_relaxed);
}
