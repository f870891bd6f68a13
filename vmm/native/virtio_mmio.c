/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-mmio registers.
 *
 * Status may only gain bits until it is reset by writing 0. FEATURES_OK sticks only if the driver
 * took VERSION_1 and nothing that was not offered; DRIVER_OK only after FEATURES_OK. Features and
 * queue set-up are frozen once they are in use: later writes are ignored, so an iothread never sees
 * a queue change under it.
 *
 * A reset (or stopping a queue) may release the BQL while requests in flight finish in the main
 * loop (see virtio_blk_context.c). Until it is over the device is busy and answers other vCPUs as
 * if it were absent: reads give 0, writes vanish; Status keeps its value so that they see it is not
 * over.
 */
#include "virtio_mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR 0x4c51424bu /* "KBQL" */
#define SHM_NONE 0xffffffffu

struct VirtioMmio {
    VirtioDevice *dev;
    uint32_t device_features_sel, driver_features_sel, queue_sel;
    bool busy;
};

VirtioMmio *virtio_mmio_new(VirtioDevice *dev)
{
    VirtioMmio *mmio = calloc(1, sizeof(*mmio));

    if (mmio) {
        mmio->dev = dev;
    }
    return mmio;
}

void virtio_mmio_free(VirtioMmio *mmio)
{
    free(mmio);
}

const IoRegionOps *virtio_mmio_ops(void)
{
    static const IoRegionOps ops = {.read = virtio_mmio_read, .write = virtio_mmio_write};

    return &ops;
}

static uint64_t placeholder_read(void *opaque, uint64_t offset, unsigned size)
{
    if (size != 4)
        return 0;
    return offset == VIRTIO_MMIO_MAGIC_VALUE ? MAGIC
           : offset == VIRTIO_MMIO_VERSION   ? VERSION
           : offset == VIRTIO_MMIO_VENDOR_ID ? VENDOR
                                             : 0;
}

static void placeholder_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

const IoRegionOps *virtio_mmio_placeholder_ops(void)
{
    static const IoRegionOps ops = {.read = placeholder_read, .write = placeholder_write};

    return &ops;
}

static uint32_t get_status(const VirtioMmio *mmio)
{
    return atomic_load_explicit(&mmio->dev->status, memory_order_relaxed);
}

/* The selected queue, or NULL: reads then give 0 (QueueNumMax 0 = no such queue). */
static VirtQueue *selected_queue(VirtioMmio *mmio)
{
    VirtioDevice *dev = mmio->dev;

    return mmio->queue_sel < dev->config.num_queues ? &dev->queues[mmio->queue_sel] : NULL;
}

static uint32_t read_queue_register(VirtioMmio *mmio, uint64_t offset)
{
    const VirtQueue *vq = selected_queue(mmio);

    if (!vq) {
        return 0;
    }
    return offset == VIRTIO_MMIO_QUEUE_NUM_MAX ? mmio->dev->config.queue_size : vq->ready;
}

static uint32_t read_register(VirtioMmio *mmio, uint64_t offset)
{
    VirtioDevice *dev = mmio->dev;

    switch (offset) {
    case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
    case VIRTIO_MMIO_VERSION:
        return VERSION;
    case VIRTIO_MMIO_DEVICE_ID:
        return dev->ops->device_id;
    case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR;
    case VIRTIO_MMIO_DEVICE_FEATURES:
        return mmio->device_features_sel > 1
                   ? 0
                   : (uint32_t)(dev->ops->features(dev) >> (32 * mmio->device_features_sel));
    case VIRTIO_MMIO_QUEUE_NUM_MAX:
    case VIRTIO_MMIO_QUEUE_READY:
        return read_queue_register(mmio, offset);
    case VIRTIO_MMIO_INTERRUPT_STATUS:
        return virtio_irq_status(dev->config.irq);
    case VIRTIO_MMIO_STATUS:
        return get_status(mmio);
    case VIRTIO_MMIO_SHM_LEN_LOW:
    case VIRTIO_MMIO_SHM_LEN_HIGH:
    case VIRTIO_MMIO_SHM_BASE_LOW:
    case VIRTIO_MMIO_SHM_BASE_HIGH:
        return SHM_NONE; /* 4.2.2: length -1 = no such region */
    case VIRTIO_MMIO_CONFIG_GENERATION:
        return atomic_load_explicit(&dev->generation, memory_order_relaxed);
    default:
        return 0;
    }
}

static bool config_access_ok(const VirtioDevice *dev, uint64_t offset, unsigned size)
{
    return (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
           offset + size <= dev->ops->config_size;
}

uint64_t virtio_mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioMmio *mmio = opaque;
    VirtioDevice *dev = mmio->dev;

    if (offset >= VIRTIO_MMIO_CONFIG) {
        uint64_t config_offset = offset - VIRTIO_MMIO_CONFIG;

        if (mmio->busy || !config_access_ok(dev, config_offset, size)) {
            return 0;
        }
        return dev->ops->get_config(dev, (uint32_t)config_offset, size);
    }
    if (size != 4 || offset % 4 || (mmio->busy && offset != VIRTIO_MMIO_STATUS)) {
        return 0;
    }
    return read_register(mmio, offset);
}

void virtio_mmio_reset(VirtioMmio *mmio)
{
    VirtioDevice *dev = mmio->dev;

    if (mmio->busy) {
        return;
    }
    mmio->busy = true;
    dev->ops->reset(dev);
    for (unsigned i = 0; i < dev->config.num_queues; i++) {
        virtqueue_reset(&dev->queues[i]);
    }
    dev->driver_features = 0;
    mmio->device_features_sel = mmio->driver_features_sel = mmio->queue_sel = 0;
    virtio_irq_ack(dev->config.irq, UINT32_MAX);
    atomic_store_explicit(&dev->status, 0, memory_order_relaxed);
    mmio->busy = false;
}

static bool features_acceptable(VirtioDevice *dev)
{
    return (dev->driver_features & ~dev->ops->features(dev)) == 0 &&
           virtio_device_has_feature(dev, VIRTIO_F_VERSION_1);
}

static void start(VirtioDevice *dev)
{
    for (unsigned i = 0; i < dev->config.num_queues; i++) {
        dev->queues[i].event_idx = virtio_device_has_feature(dev, VIRTIO_RING_F_EVENT_IDX);
        dev->queues[i].indirect = virtio_device_has_feature(dev, VIRTIO_RING_F_INDIRECT_DESC);
    }
    dev->ops->start(dev);
}

static void write_status(VirtioMmio *mmio, uint32_t value)
{
    VirtioDevice *dev = mmio->dev;
    uint32_t old = get_status(mmio);
    uint32_t gained = value & ~old & (0xffu & ~(uint32_t)VIRTIO_CONFIG_S_NEEDS_RESET);

    if (value == 0) {
        virtio_mmio_reset(mmio);
        return;
    }
    if ((gained & VIRTIO_CONFIG_S_FEATURES_OK) && !features_acceptable(dev)) {
        gained &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
    }
    if (!((old | gained) & VIRTIO_CONFIG_S_FEATURES_OK)) {
        gained &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
    }
    /* Read-modify-write, since an iothread may add NEEDS_RESET at the same time. */
    atomic_fetch_or_explicit(&dev->status, gained, memory_order_relaxed);
    if (gained & VIRTIO_CONFIG_S_DRIVER_OK) {
        start(dev);
    }
}

static void write_driver_features(VirtioMmio *mmio, uint32_t value)
{
    VirtioDevice *dev = mmio->dev;
    unsigned shift = 32 * mmio->driver_features_sel;

    if (mmio->driver_features_sel > 1 || (get_status(mmio) & VIRTIO_CONFIG_S_FEATURES_OK)) {
        return;
    }
    dev->driver_features &= ~((uint64_t)UINT32_MAX << shift);
    dev->driver_features |= (uint64_t)value << shift;
}

static void write_queue_ready(VirtioMmio *mmio, VirtQueue *vq, uint32_t value)
{
    VirtioDevice *dev = mmio->dev;

    if (value == 1 && !(get_status(mmio) & VIRTIO_CONFIG_S_DRIVER_OK)) {
        vq->ready = true;
    } else if (value == 0 && vq->ready) {
        if (get_status(mmio) & VIRTIO_CONFIG_S_DRIVER_OK) {
            mmio->busy = true;
            dev->ops->queue_stop(dev, mmio->queue_sel);
            mmio->busy = false;
        }
        vq->ready = false;
    }
}

static void set_half(uint64_t *address, uint32_t value, bool high)
{
    *address = high ? (*address & UINT32_MAX) | (uint64_t)value << 32
                    : (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void write_queue_register(VirtioMmio *mmio, uint64_t offset, uint32_t value)
{
    VirtQueue *vq = selected_queue(mmio);

    if (!vq) {
        return;
    }
    if (offset == VIRTIO_MMIO_QUEUE_READY) {
        write_queue_ready(mmio, vq, value);
        return;
    }
    if (vq->ready) {
        return; /* 4.2.2.2: set up before QueueReady */
    }
    switch (offset) {
    case VIRTIO_MMIO_QUEUE_NUM:
        /* 0 is no legal size: what cannot be stored fails in virtqueue_start(). */
        vq->size = value <= mmio->dev->config.queue_size ? (uint16_t)value : 0;
        break;
    case VIRTIO_MMIO_QUEUE_DESC_LOW:
    case VIRTIO_MMIO_QUEUE_DESC_HIGH:
        set_half(&vq->desc_gpa, value, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH);
        break;
    case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
    case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
        set_half(&vq->avail_gpa, value, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH);
        break;
    case VIRTIO_MMIO_QUEUE_USED_LOW:
    case VIRTIO_MMIO_QUEUE_USED_HIGH:
        set_half(&vq->used_gpa, value, offset == VIRTIO_MMIO_QUEUE_USED_HIGH);
        break;
    default:
        break;
    }
}

static void write_register(VirtioMmio *mmio, uint64_t offset, uint32_t value)
{
    VirtioDevice *dev = mmio->dev;

    switch (offset) {
    case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        mmio->device_features_sel = value;
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES:
        write_driver_features(mmio, value);
        break;
    case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        mmio->driver_features_sel = value;
        break;
    case VIRTIO_MMIO_QUEUE_SEL:
        mmio->queue_sel = value;
        break;
    case VIRTIO_MMIO_QUEUE_NOTIFY:
        if (value < dev->config.num_queues && (get_status(mmio) & VIRTIO_CONFIG_S_DRIVER_OK)) {
            dev->ops->queue_notify(dev, value);
        }
        break;
    case VIRTIO_MMIO_INTERRUPT_ACK:
        virtio_irq_ack(dev->config.irq, value);
        break;
    case VIRTIO_MMIO_STATUS:
        write_status(mmio, value);
        break;
    default:
        write_queue_register(mmio, offset, value);
        break;
    }
}

void virtio_mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    VirtioMmio *mmio = opaque;
    VirtioDevice *dev = mmio->dev;

    if (mmio->busy) {
        return;
    }
    if (offset >= VIRTIO_MMIO_CONFIG) {
        uint64_t config_offset = offset - VIRTIO_MMIO_CONFIG;

        if (config_access_ok(dev, config_offset, size)) {
            dev->ops->set_config(dev, (uint32_t)config_offset, (uint32_t)value, size);
        }
    } else if (size == 4 && offset % 4 == 0) {
        write_register(mmio, offset, (uint32_t)value);
    }
}
