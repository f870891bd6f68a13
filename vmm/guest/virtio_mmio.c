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
    REG_QUEUE_NOTIFY = 0x50,
    REG_INTERRUPT_STATUS = 0x60,
    REG_INTERRUPT_ACK = 0x64,
    REG_STATUS = 0x70,
    REG_QUEUE_DESC = 0x80,
    REG_QUEUE_DRIVER = 0x90,
    REG_QUEUE_DEVICE = 0xa0,
    REG_CONFIG_GENERATION = 0xfc,
    REG_CONFIG = 0x100,

    REGISTERS_SIZE = 0x200,
    MAGIC_VIRT = 0x74726976,
};

static uint32_t reg_read(const struct guest_virtio *dev, unsigned reg)
{
    return (uint32_t)platform_mmio_read(dev->platform, dev->mmio + reg, 4);
}

static void reg_write(const struct guest_virtio *dev, unsigned reg, uint32_t value)
{
    platform_mmio_write(dev->platform, dev->mmio + reg, value, 4);
}

static void reg_write_pair(const struct guest_virtio *dev, unsigned reg, uint64_t value)
{
    reg_write(dev, reg, (uint32_t)value);
    reg_write(dev, reg + 4, (uint32_t)(value >> 32));
}

static uint32_t mmio_read_status(const struct guest_virtio *dev)
{
    return reg_read(dev, REG_STATUS);
}

static void mmio_write_status(const struct guest_virtio *dev, uint32_t status)
{
    reg_write(dev, REG_STATUS, status);
}

static uint32_t mmio_offered_features(const struct guest_virtio *dev, unsigned word)
{
    reg_write(dev, REG_DEVICE_FEATURES_SEL, word);
    return reg_read(dev, REG_DEVICE_FEATURES);
}

static void mmio_accept_features(const struct guest_virtio *dev, unsigned word, uint32_t bits)
{
    reg_write(dev, REG_DRIVER_FEATURES_SEL, word);
    reg_write(dev, REG_DRIVER_FEATURES, bits);
}

/* There is no switch: the rings say it (guest_queue_init). */
static const char *mmio_set_interrupts(struct guest_virtio *dev, bool irq)
{
    return 0;
}

static uint32_t mmio_select_queue(const struct guest_virtio *dev, uint16_t index)
{
    reg_write(dev, REG_QUEUE_SEL, index);
    return reg_read(dev, REG_QUEUE_NUM_MAX);
}

static const char *mmio_enable_queue(const struct guest_virtio *dev, struct guest_queue *q)
{
    q->notify_gpa = dev->mmio + REG_QUEUE_NOTIFY;
    reg_write(dev, REG_QUEUE_NUM, q->size);
    reg_write_pair(dev, REG_QUEUE_DESC, q->desc_gpa);
    reg_write_pair(dev, REG_QUEUE_DRIVER, q->avail_gpa);
    reg_write_pair(dev, REG_QUEUE_DEVICE, q->used_gpa);
    reg_write(dev, REG_QUEUE_READY, 1);
    return 0;
}

static uint32_t mmio_config_generation(const struct guest_virtio *dev)
{
    return reg_read(dev, REG_CONFIG_GENERATION);
}

static void mmio_ack_interrupt(const struct guest_virtio *dev)
{
    uint32_t status = reg_read(dev, REG_INTERRUPT_STATUS);

    if (status)
        reg_write(dev, REG_INTERRUPT_ACK, status);
}

static const struct guest_virtio_ops mmio_ops = {
    .name = "mmio",
    .read_status = mmio_read_status,
    .write_status = mmio_write_status,
    .offered_features = mmio_offered_features,
    .accept_features = mmio_accept_features,
    .set_interrupts = mmio_set_interrupts,
    .select_queue = mmio_select_queue,
    .enable_queue = mmio_enable_queue,
    .config_generation = mmio_config_generation,
    .ack_interrupt = mmio_ack_interrupt,
};

bool guest_virtio_mmio_probe(struct guest_virtio *dev, const struct platform *platform,
                             uint64_t base, uint32_t device_id)
{
    const struct guest_virtio candidate = {
        .platform = platform,
        .ops = &mmio_ops,
        .config = base + REG_CONFIG,
        .config_size = REGISTERS_SIZE - REG_CONFIG,
        .notify_width = 4,
        .mmio = base,
    };

    *dev = candidate;
    return reg_read(dev, REG_MAGIC) == MAGIC_VIRT && reg_read(dev, REG_VERSION) == 2 &&
           reg_read(dev, REG_DEVICE_ID) == device_id;
}
