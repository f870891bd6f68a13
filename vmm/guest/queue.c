/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "queue.h"

bool guest_queue_init(struct guest_queue *q, struct guest_dma *dma, uint16_t index, uint16_t size,
                      bool event_idx, bool irq)
{
    const struct guest_queue empty = {.index = index, .size = size, .event_idx = event_idx};
    struct guest_dma_block desc, avail, used;

    /* A page each: the device's half of the queue shares no cache line with ours. */
    if (!guest_dma_alloc(dma, sizeof(struct virtq_desc) * size, 4096, &desc) ||
        !guest_dma_alloc(dma, 6 + 2u * size, 4096, &avail) ||
        !guest_dma_alloc(dma, 6 + sizeof(struct virtq_used_elem) * size, 4096, &used))
        return false;
    *q = empty;
    q->irq = irq;
    q->desc_gpa = desc.gpa;
    q->desc = desc.ptr;
    q->avail_gpa = avail.gpa;
    q->avail = avail.ptr;
    q->used_gpa = used.gpa;
    q->used = used.ptr;
    q->used_event = (_Atomic uint16_t *)&q->avail->ring[size];
    q->avail_event = (_Atomic uint16_t *)&q->used->ring[size];
    /* Relaxed: the device is not running yet. */
    if (!irq && event_idx)
        atomic_store_explicit(q->used_event, 0x8000, memory_order_relaxed);
    else if (!irq)
        atomic_store_explicit(&q->avail->flags, VIRTQ_AVAIL_NO_INTERRUPT, memory_order_relaxed);
    return true;
}
