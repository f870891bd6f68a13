/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every virtio device shares: queues, status, the ways to tell the driver of trouble. */
#include "virtio_device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>

int virtio_device_init(VirtioDevice *dev, const VirtioDeviceOps *ops,
                       const VirtioDeviceConfig *config)
{
    dev->ops = ops;
    dev->config = *config;
    dev->queues = calloc(config->num_queues, sizeof(*dev->queues));
    if (!dev->queues) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < config->num_queues; i++) {
        virtqueue_init(&dev->queues[i], config->mem);
    }
    return 0;
}

void virtio_device_destroy(VirtioDevice *dev)
{
    free(dev->queues);
    dev->queues = NULL;
}

bool virtio_device_has_feature(const VirtioDevice *dev, unsigned bit)
{
    return dev->driver_features >> bit & 1;
}

bool virtio_device_is_broken(const VirtioDevice *dev)
{
    return atomic_load_explicit(&dev->status, memory_order_relaxed) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

void virtio_device_needs_reset(VirtioDevice *dev, const AioContext *ctx, const char *why)
{
    char message[160];
    uint32_t old =
        atomic_fetch_or_explicit(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET, memory_order_relaxed);

    if (old & VIRTIO_CONFIG_S_NEEDS_RESET) {
        return;
    }
    if (dev->config.log) {
        snprintf(message, sizeof(message), "virtio device %u: %s; it needs a reset",
                 dev->ops->device_id, why);
        dev->config.log(dev->config.log_opaque, message);
    }
    /* 2.1.2: the interrupt only once the driver is up. */
    if (old & VIRTIO_CONFIG_S_DRIVER_OK) {
        virtio_device_config_changed(dev, ctx);
    }
}

void virtio_device_config_changed(VirtioDevice *dev, const AioContext *ctx)
{
    atomic_fetch_add_explicit(&dev->generation, 1, memory_order_relaxed);
    virtio_irq_signal(dev->config.irq, ctx, VIRTIO_IRQ_CONFIG);
}
