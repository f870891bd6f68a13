/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "virtio_mmio.h"

enum {
    REG_MAGIC = 0x00,
    REG_VERSION = 0x04,
    REG_DEVICE_ID = 0x08,
    REG_DEVICE_FEATURES = 0x10,
    REG_DEVICE_FEATURES_SEL = 0x14,
    REG_DRIVER_FEATURES = 0x20,
    REG_DRIVER_FEATURES_SEL = 0x24,
    REG_QUEUE_SEL = 0x30,
    REG_QUEUE_NUM_MAX = 0x34,
    REG_QUEUE_NUM = 0x38,
    REG_QUEUE_READY = 0x44,
    REG_INTERRUPT_STATUS = 0x60,
    REG_INTERRUPT_ACK = 0x64,
    REG_STATUS = 0x70,
    REG_QUEUE_DESC = 0x80,
    REG_QUEUE_DRIVER = 0x90,
    REG_QUEUE_DEVICE = 0xa0,
    REG_CONFIG_GENERATION = 0xfc,
    REG_CONFIG = 0x100,

    MAGIC_VIRT = 0x74726976,

    STATUS_ACKNOWLEDGE = 1,
    STATUS_DRIVER = 2,
    STATUS_DRIVER_OK = 4,
    STATUS_FEATURES_OK = 8,

    RESET_TRIES = 1000,
    CONFIG_TRIES = 16,
};

static uint32_t reg_read(const struct guest_virtio *dev, unsigned reg)
{
    return (uint32_t)platform_mmio_read(dev->platform, dev->base + reg, 4);
}

static void reg_write(const struct guest_virtio *dev, unsigned reg, uint32_t value)
{
    platform_mmio_write(dev->platform, dev->base + reg, value, 4);
}

static void reg_write_pair(const struct guest_virtio *dev, unsigned reg, uint64_t value)
{
    reg_write(dev, reg, (uint32_t)value);
    reg_write(dev, reg + 4, (uint32_t)(value >> 32));
}

bool guest_virtio_probe(struct guest_virtio *dev, const struct platform *platform, uint64_t base,
                        uint32_t device_id)
{
    const struct guest_virtio candidate = {.platform = platform, .base = base};

    *dev = candidate;
    return reg_read(dev, REG_MAGIC) == MAGIC_VIRT && reg_read(dev, REG_VERSION) == 2 &&
           reg_read(dev, REG_DEVICE_ID) == device_id;
}

void guest_virtio_reset(const struct guest_virtio *dev)
{
    reg_write(dev, REG_STATUS, 0);
    for (unsigned i = 0; i < RESET_TRIES && reg_read(dev, REG_STATUS); i++)
        platform_relax(dev->platform);
}

const char *guest_virtio_negotiate(struct guest_virtio *dev, uint64_t wanted)
{
    uint64_t offered;

    guest_virtio_reset(dev);
    if (reg_read(dev, REG_STATUS))
        return "the device does not complete its reset";
    reg_write(dev, REG_STATUS, STATUS_ACKNOWLEDGE);
    reg_write(dev, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    reg_write(dev, REG_DEVICE_FEATURES_SEL, 0);
    offered = reg_read(dev, REG_DEVICE_FEATURES);
    reg_write(dev, REG_DEVICE_FEATURES_SEL, 1);
    offered |= (uint64_t)reg_read(dev, REG_DEVICE_FEATURES) << 32;
    if (!(offered & VIRTIO_F_VERSION_1))
        return "the device does not offer VERSION_1";
    dev->features = offered & (wanted | VIRTIO_F_VERSION_1);
    reg_write(dev, REG_DRIVER_FEATURES_SEL, 0);
    reg_write(dev, REG_DRIVER_FEATURES, (uint32_t)dev->features);
    reg_write(dev, REG_DRIVER_FEATURES_SEL, 1);
    reg_write(dev, REG_DRIVER_FEATURES, (uint32_t)(dev->features >> 32));
    reg_write(dev, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if (!(reg_read(dev, REG_STATUS) & STATUS_FEATURES_OK))
        return "the device refuses the accepted features";
    return 0;
}

const char *guest_virtio_add_queue(struct guest_virtio *dev, struct guest_queue *q,
                                   struct guest_dma *dma, uint16_t index, uint64_t entries,
                                   bool irq)
{
    uint32_t max, size = 1; /* size: a power of two */

    reg_write(dev, REG_QUEUE_SEL, index);
    max = reg_read(dev, REG_QUEUE_NUM_MAX);
    /* The largest ring the device allows, as Linux takes it. */
    while (size * 2 <= max && size * 2 <= GUEST_QUEUE_MAX)
        size *= 2;
    if (!max || size < entries)
        return "the virtqueue is too small for this iodepth";
    if (!guest_queue_init(q, dma, index, (uint16_t)size, dev->features & VIRTIO_F_EVENT_IDX, irq))
        return "not enough guest memory for the virtqueues";
    reg_write(dev, REG_QUEUE_NUM, size);
    reg_write_pair(dev, REG_QUEUE_DESC, q->desc_gpa);
    reg_write_pair(dev, REG_QUEUE_DRIVER, q->avail_gpa);
    reg_write_pair(dev, REG_QUEUE_DEVICE, q->used_gpa);
    reg_write(dev, REG_QUEUE_READY, 1);
    return 0;
}

void guest_virtio_start(struct guest_virtio *dev)
{
    reg_write(dev, REG_STATUS,
              STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
}

uint64_t guest_virtio_config(const struct guest_virtio *dev, unsigned offset, unsigned size)
{
    uint64_t address = dev->base + REG_CONFIG + offset, value = 0;

    /* A field wider than 4 bytes takes two accesses; the generation tells whether it changed in
     * between. A device that changes it forever gets the last value read. */
    for (unsigned i = 0; i < CONFIG_TRIES; i++) {
        uint32_t generation = reg_read(dev, REG_CONFIG_GENERATION);

        value = platform_mmio_read(dev->platform, address, size < 8 ? size : 4);
        if (size == 8)
            value |= platform_mmio_read(dev->platform, address + 4, 4) << 32;
        if (reg_read(dev, REG_CONFIG_GENERATION) == generation)
            break;
    }
    return value;
}

void guest_virtio_ack_interrupt(const struct guest_virtio *dev)
{
    uint32_t status = reg_read(dev, REG_INTERRUPT_STATUS);

    if (status)
        reg_write(dev, REG_INTERRUPT_ACK, status);
}
