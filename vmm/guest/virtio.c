/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio.h"

enum {
    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,

    RESET_TRIES = 1000,
    CONFIG_TRIES = 16,
};

void guest_virtio_reset(const struct guest_virtio *dev)
{
    dev->ops->write_status(dev, 0);
    for (unsigned i = 0; i < RESET_TRIES && dev->ops->read_status(dev); i++)
        platform_relax(dev->platform);
}

const char *guest_virtio_negotiate(struct guest_virtio *dev, uint64_t wanted)
{
    const struct guest_virtio_ops *ops = dev->ops;
    uint64_t offered;

    guest_virtio_reset(dev);
    if (ops->read_status(dev))
        return "the device does not complete its reset";
    ops->write_status(dev, STATUS_ACKNOWLEDGE);
    ops->write_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    offered = ops->offered_features(dev, 0);
    offered |= (uint64_t)ops->offered_features(dev, 1) << 32;
    if (!(offered & VIRTIO_F_VERSION_1))
        return "the device does not offer VERSION_1";
    dev->features = offered & (wanted | VIRTIO_F_VERSION_1);
    ops->accept_features(dev, 0, (uint32_t)dev->features);
    ops->accept_features(dev, 1, (uint32_t)(dev->features >> 32));
    ops->write_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if (!(ops->read_status(dev) & STATUS_FEATURES_OK))
        return "the device refuses the accepted features";
    return 0;
}

const char *guest_virtio_add_queue(struct guest_virtio *dev, struct guest_queue *q,
                                   struct guest_dma *dma, uint16_t index, uint64_t entries,
                                   bool irq)
{
    uint32_t max = dev->ops->select_queue(dev, index), size = 1; /* size: a power of two */

    /* The largest ring the device allows, as Linux takes it. */
    while (size * 2 <= max && size * 2 <= GUEST_QUEUE_MAX)
        size *= 2;
    if (!max || size < entries)
        return "the virtqueue is too small for this iodepth";
    if (!guest_queue_init(q, dma, index, (uint16_t)size, dev->features & VIRTIO_F_EVENT_IDX, irq))
        return "not enough guest memory for the virtqueues";
    return dev->ops->enable_queue(dev, q);
}

void guest_virtio_start(struct guest_virtio *dev)
{
    dev->ops->write_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK |
                                    STATUS_DRIVER_OK);
}

uint64_t guest_virtio_config(const struct guest_virtio *dev, unsigned offset, unsigned size)
{
    uint64_t address = dev->config + offset, value = 0;

    if (offset + size > dev->config_size)
        return 0;
    /* A field wider than 4 bytes takes two accesses; the generation tells whether it changed in
     * between. A device that changes it forever gets the last value read. */
    for (unsigned i = 0; i < CONFIG_TRIES; i++) {
        uint32_t generation = dev->ops->config_generation(dev);

        value = platform_mmio_read(dev->platform, address, size < 8 ? size : 4);
        if (size == 8)
            value |= platform_mmio_read(dev->platform, address + 4, 4) << 32;
        if (dev->ops->config_generation(dev) == generation)
            break;
    }
    return value;
}
