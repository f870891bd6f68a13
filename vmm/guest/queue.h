/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Driver side of a split virtqueue (virtio 1.2, section 2.7), one CPU at a time.
 *
 * The index fields are shared with the device and therefore atomic. Who pairs with whom:
 *  - publish: our release of avail->idx makes descriptors and ring entries visible to the device,
 *    which acquires it;
 *  - collect: our acquire of used->idx pairs with the device's release after it wrote the used
 *    element and the data;
 *  - kick or not: we store avail->idx and then load avail_event (or used->flags); the device
 *    stores avail_event (flags) and then loads avail->idx. Both sides sequentially consistent, or
 *    both could miss the other and the queue would sleep for good. Sequentially consistent
 *    accesses instead of fences, because ThreadSanitizer does not understand fences;
 *  - interrupt or not: the same the other way round with used_event and used->idx.
 */
#ifndef GUEST_QUEUE_H
#define GUEST_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dma.h"

enum {
    GUEST_QUEUE_MAX = 1024,
    VIRTQ_DESC_NEXT = 1,
    VIRTQ_DESC_WRITE = 2,
    VIRTQ_DESC_INDIRECT = 4,
    VIRTQ_AVAIL_NO_INTERRUPT = 1,
    VIRTQ_USED_NO_NOTIFY = 1,
};

struct virtq_desc {
    uint64_t addr; /* gpa */
    uint32_t len;
    uint16_t flags, next;
};

struct virtq_used_elem {
    uint32_t id, len;
};

struct virtq_avail {
    _Atomic uint16_t flags, idx;
    uint16_t ring[]; /* size entries, then used_event */
};

struct virtq_used {
    _Atomic uint16_t flags, idx;
    struct virtq_used_elem ring[]; /* size entries, then avail_event */
};

struct guest_queue {
    uint16_t index, size; /* size: a power of two */
    bool event_idx;
    bool irq; /* interrupts are wanted, not suppressed */
    uint64_t desc_gpa, avail_gpa, used_gpa;
    uint64_t notify_gpa; /* where the transport takes kicks */
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    _Atomic uint16_t *used_event, *avail_event;

    uint16_t avail_next;      /* where the next chain goes */
    uint16_t avail_published; /* last value of avail->idx */
    uint16_t last_used;
    uint16_t suppressed_at; /* last_used when used_event was last pushed out of reach */
    uint64_t kicks;
};

/* Rings of `size` entries in fresh DMA memory, interrupts suppressed unless irq. False: no room. */
bool guest_queue_init(struct guest_queue *q, struct guest_dma *dma, uint16_t index, uint16_t size,
                      bool event_idx, bool irq);

/* The specification's vring_need_event(): did the index pass `event` between old and new? */
static inline bool guest_queue_passed(uint16_t event, uint16_t new_idx, uint16_t old_idx)
{
    return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old_idx);
}

/* Queue a chain; the device sees it at the next publish. */
static inline void guest_queue_add(struct guest_queue *q, uint16_t head)
{
    q->avail->ring[q->avail_next & (q->size - 1)] = head;
    q->avail_next++;
}

/* Show the device everything added. True if it wants to be kicked for it. */
static inline bool guest_queue_publish(struct guest_queue *q)
{
    uint16_t old_idx = q->avail_published, new_idx = q->avail_next;
    bool kick;

    if (old_idx == new_idx)
        return false;
    /* Release for the ring entries, and ordered before the load below: see the file comment. */
    atomic_store_explicit(&q->avail->idx, new_idx, memory_order_seq_cst);
    q->avail_published = new_idx;
    if (q->event_idx)
        kick = guest_queue_passed(atomic_load_explicit(q->avail_event, memory_order_seq_cst),
                                  new_idx, old_idx);
    else
        kick =
            !(atomic_load_explicit(&q->used->flags, memory_order_seq_cst) & VIRTQ_USED_NO_NOTIFY);
    q->kicks += kick;
    return kick;
}

/* The device's used index: entries before it may be read. */
static inline uint16_t guest_queue_used_idx(const struct guest_queue *q)
{
    /* Pairs with the device's release: elements and data are complete. */
    return atomic_load_explicit(&q->used->idx, memory_order_acquire);
}

/* Head of the next used chain; only while last_used differs from guest_queue_used_idx(). The
 * value comes from the device: the caller checks it. */
static inline uint32_t guest_queue_collect(struct guest_queue *q)
{
    return q->used->ring[q->last_used++ & (q->size - 1)].id;
}

/*
 * After collecting: say when to be interrupted next. With EVENT_IDX a polling driver keeps
 * used_event half the index space away, out of reach of any batch, and renews it now and then.
 */
static inline void guest_queue_rearm(struct guest_queue *q)
{
    if (!q->event_idx)
        return;
    if (q->irq) {
        /* Ordered before the next look at used->idx; pairs with the device's check after it
         * stored used->idx. */
        atomic_store_explicit(q->used_event, q->last_used, memory_order_seq_cst);
    } else if ((uint16_t)(q->last_used - q->suppressed_at) >= 0x2000) {
        q->suppressed_at = q->last_used;
        /* Relaxed: a stale value is a harmless interrupt. */
        atomic_store_explicit(q->used_event, (uint16_t)(q->last_used + 0x8000),
                              memory_order_relaxed);
    }
}

#endif
