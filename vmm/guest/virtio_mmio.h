/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Driver side of the virtio-mmio transport, version 2 (virtio 1.2, section 4.2). Functions that
 * can fail return NULL or a static one-line message.
 */
#ifndef GUEST_VIRTIO_MMIO_H
#define GUEST_VIRTIO_MMIO_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct guest_virtio {
    const struct platform *platform;
    uint64_t base;     /* gpa of the registers */
    uint64_t features; /* accepted by both sides */
};

/* Is there a version 2 device of this type at base? Reads only. */
bool guest_virtio_probe(struct guest_virtio *dev, const struct platform *platform, uint64_t base,
                        uint32_t device_id);
/* Reset, then accept what is offered of `wanted`; VERSION_1 is required. */
const char *guest_virtio_negotiate(struct guest_virtio *dev, uint64_t wanted);
/* Set queue `index` up, as large as the device allows but with room for at least `entries`. */
const char *guest_virtio_add_queue(struct guest_virtio *dev, struct guest_queue *q,
                                   struct guest_dma *dma, uint16_t index, uint64_t entries,
                                   bool irq);
/* Tell the device that the driver is ready. */
void guest_virtio_start(struct guest_virtio *dev);
/* Device configuration field of 1, 2, 4 or 8 bytes, read consistently. */
uint64_t guest_virtio_config(const struct guest_virtio *dev, unsigned offset, unsigned size);
/* What an interrupt handler does: read InterruptStatus and acknowledge it. */
void guest_virtio_ack_interrupt(const struct guest_virtio *dev);
/* Stop the device: it forgets the queues, memory may be reused. */
void guest_virtio_reset(const struct guest_virtio *dev);

static inline void guest_virtio_kick(const struct guest_virtio *dev, const struct guest_queue *q)
{
    platform_mmio_write(dev->platform, dev->base + 0x50, q->index, 4); /* QueueNotify */
}

#endif
