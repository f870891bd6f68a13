/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk driver (virtio 1.2, section 5.2) with a fixed set of slots, one per request that can
 * be in flight. A slot owns its buffer, its header and its descriptors for life and belongs to
 * one queue, so issuing a request changes a few words and allocates nothing.
 */
#ifndef GUEST_BLK_H
#define GUEST_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "params.h"
#include "virtio.h"

enum guest_blk_op { GUEST_BLK_READ = 0, GUEST_BLK_WRITE = 1, GUEST_BLK_FLUSH = 4 };

/* The device's view of a slot: two cache lines. */
struct guest_blk_wire {
    struct virtq_desc table[3]; /* indirect table: header, data, status */
    uint32_t type, reserved;    /* struct virtio_blk_req */
    uint64_t sector;
    uint8_t status;
    uint8_t pad[63];
};

struct guest_blk_slot {
    struct guest_blk_wire *wire;
    struct virtq_desc *chain; /* the three descriptors: in the table or in the ring */
    void *buffer;
    uint16_t first; /* index of chain[0] where the device counts: 0 in a table */
    uint16_t head;  /* descriptor index the ring names */
    uint16_t queue;
    bool in_flight;
    enum guest_blk_op op;
    uint64_t block;  /* in units of bs */
    uint64_t issued; /* ticks */
};

struct guest_blk {
    struct guest_virtio virtio;
    uint64_t sectors; /* capacity in 512-byte units */
    unsigned bs, slot_count, queue_count;
    bool indirect, event_idx, irq, can_flush, read_only;
    unsigned msix_pending; /* after closing: queues whose MSI-X has reached CPU 0's local APIC */
    struct guest_queue queues[GUEST_MAX_QUEUES];
    struct guest_blk_slot slots[GUEST_MAX_IODEPTH];
    /* Slot number + 1 by head; 0: the head was never used. */
    uint16_t slot_of_head[GUEST_MAX_QUEUES][GUEST_QUEUE_MAX];
};

/* Find block device number params->disk and make it ready. NULL or a static one-line message. */
const char *guest_blk_open(struct guest_blk *blk, struct guest_dma *dma,
                           const struct guest_params *params);
/* Is the disk that guest_blk_open() would take there, and not marked? Forgets an open one. */
bool guest_blk_is_new(struct guest_blk *blk, const struct platform *platform,
                      const struct guest_params *params);
/* After guest_blk_close(): Status ACKNOWLEDGE, until somebody resets the device. */
void guest_blk_mark_used(struct guest_blk *blk);
void guest_blk_close(struct guest_blk *blk);
/* Give the slot its request; the caller then adds slot->head to the slot's queue. */
void guest_blk_set_op(struct guest_blk_slot *slot, enum guest_blk_op op);

static inline void guest_blk_prepare(const struct guest_blk *blk, struct guest_blk_slot *slot,
                                     enum guest_blk_op op, uint64_t block)
{
    if (slot->op != op)
        guest_blk_set_op(slot, op);
    slot->block = block;
    slot->wire->sector = op == GUEST_BLK_FLUSH ? 0 : block * (blk->bs / 512);
    slot->wire->status = 0xff;
}

#endif
