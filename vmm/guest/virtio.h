/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Driver side of a virtio 1.x device (virtio 1.2, chapters 2 and 3), whatever carries its
 * registers. What all transports have in common is here: the order of the initialisation, the
 * choice of ring sizes, consistent reads of the configuration. A transport (virtio_mmio.h,
 * virtio_pci.h) finds a device, fills struct guest_virtio in, and says through its table how to
 * reach the registers.
 *
 * Functions that can fail return NULL or a static one-line message.
 */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"
#include "queue.h"

#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

struct guest_virtio;

/* All members mandatory. */
struct guest_virtio_ops {
    const char *name; /* in the result line */
    uint32_t (*read_status)(const struct guest_virtio *dev);
    void (*write_status)(const struct guest_virtio *dev, uint32_t status);
    /* 32 feature bits; word 0 or 1 */
    uint32_t (*offered_features)(const struct guest_virtio *dev, unsigned word);
    void (*accept_features)(const struct guest_virtio *dev, unsigned word, uint32_t bits);
    /* Between negotiation and queues: whether interrupts are wanted. */
    const char *(*set_interrupts)(struct guest_virtio *dev, bool irq);
    /* Largest size of the queue; 0: there is none. Selects the queue for enable_queue(). */
    uint32_t (*select_queue)(const struct guest_virtio *dev, uint16_t index);
    /* Hand the rings over, set q->notify_gpa. */
    const char *(*enable_queue)(const struct guest_virtio *dev, struct guest_queue *q);
    uint32_t (*config_generation)(const struct guest_virtio *dev);
    /* After a batch, if interrupts are wanted: what a handler does to the device. */
    void (*ack_interrupt)(const struct guest_virtio *dev);
};

/* Where virtio_pci.c found the structures; all gpa. */
struct guest_virtio_pci {
    struct guest_pci function;
    uint64_t common, notify;
    uint32_t notify_size, notify_multiplier;
    struct guest_pci_msix msix;
};

struct guest_virtio {
    const struct platform *platform;
    const struct guest_virtio_ops *ops;
    uint64_t features;     /* accepted by both sides */
    uint64_t config;       /* gpa of the device's configuration */
    uint32_t config_size;  /* bytes */
    unsigned notify_width; /* bytes of a notification */
    bool msix;             /* interrupts are wanted and are MSI-X */
    uint64_t mmio;         /* virtio-mmio: gpa of the registers */
    struct guest_virtio_pci pci;
};

/* Reset, then accept what is offered of `wanted`; VERSION_1 is required. */
const char *guest_virtio_negotiate(struct guest_virtio *dev, uint64_t wanted);
/* Set queue `index` up, as large as the device allows but with room for at least `entries`. */
const char *guest_virtio_add_queue(struct guest_virtio *dev, struct guest_queue *q,
                                   struct guest_dma *dma, uint16_t index, uint64_t entries,
                                   bool irq);
/* Tell the device that the driver is ready. */
void guest_virtio_start(struct guest_virtio *dev);
/* Device configuration field of 1, 2, 4 or 8 bytes, read consistently; 0 if there is none. */
uint64_t guest_virtio_config(const struct guest_virtio *dev, unsigned offset, unsigned size);
/* Stop the device: it forgets the queues, memory may be reused. */
void guest_virtio_reset(const struct guest_virtio *dev);

static inline void guest_virtio_kick(const struct guest_virtio *dev, const struct guest_queue *q)
{
    platform_mmio_write(dev->platform, q->notify_gpa, q->index, dev->notify_width);
}

#endif
