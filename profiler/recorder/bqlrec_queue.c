/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bqlrec_queue.h"

#include <string.h>

#include "bqlrec_private.h"

static BqlRecQueue *queue_at(BqlRec *rec, uint32_t row)
{
    return (BqlRecQueue *)((uint8_t *)rec->header + BQLREC_QUEUES_OFFSET) + row;
}

static bool is_row_of(const BqlRecQueue *queue, const char *device, uint32_t index,
                      const char *placement)
{
    return queue->index == index &&
           strncmp(queue->device, device, sizeof(queue->device) - 1) == 0 &&
           strncmp(queue->placement, placement, sizeof(queue->placement) - 1) == 0;
}

static BqlRecQueue *find_or_make_locked(BqlRec *rec, const char *device, uint32_t index,
                                        const char *placement)
{
    uint32_t used = bqlrec_get(rec->header->queues_used);
    BqlRecQueue *queue;

    for (uint32_t row = 0; row < used; row++) {
        if (is_row_of(queue_at(rec, row), device, index, placement)) {
            return queue_at(rec, row);
        }
    }
    if (used >= BQLREC_QUEUES ||
        !bqlrec_file_reserve(rec, BQLREC_QUEUES_OFFSET + used * sizeof(*queue), sizeof(*queue))) {
        atomic_fetch_add_explicit(&rec->header->queues_lost, 1, memory_order_relaxed);
        return NULL;
    }
    queue = queue_at(rec, used);
    strncpy(queue->device, device, sizeof(queue->device) - 1);
    strncpy(queue->placement, placement, sizeof(queue->placement) - 1);
    queue->index = index;
    /* Release: partner is a reader's acquire load of in_use before it reads the names. */
    atomic_store_explicit(&queue->in_use, 1, memory_order_release);
    atomic_store_explicit(&rec->header->queues_used, used + 1, memory_order_release);
    return queue;
}

BqlRecQueue *bqlrec_queue(BqlRec *rec, const char *device, uint32_t index, const char *placement)
{
    BqlRecQueue *queue;

    if (rec == NULL || rec->shared->forked) {
        return NULL;
    }
    pthread_mutex_lock(&rec->shared->mutex);
    queue = find_or_make_locked(rec, device, index, placement);
    pthread_mutex_unlock(&rec->shared->mutex);
    return queue;
}
