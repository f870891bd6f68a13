/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device side of a split virtqueue.
 *
 * Guest memory is hostile and changes under our feet. So: every field is read exactly once into a
 * local; every index is checked against its table and every address goes through
 * guest_memory_ptr(); every walk is bounded by the queue size. The first violation sets
 * vq->broken, a static string for people, and the queue stays silent until it is reset: never an
 * assertion, never a partial element.
 *
 * Suppression: the consumer switches notification off, pops until empty, switches it on and
 * checks virtqueue_has_work() again. pop() itself does not move avail_event; doing that would
 * need a full barrier per element to be sound.
 *
 * Rejected: a shadow copy of avail.idx. It saves one shared cache line per element, but the
 * line also holds the entry that is read next, and a stale shadow would delay the detection of an
 * index that jumps.
 */
#include "virtqueue.h"

#include <errno.h>

#include "splitq.h"

/* next is 16 bits wide and a descriptor's own index must fit below 2^15 (2.7.5). */
#define INDIRECT_MAX 32768u
#define CHAIN_MAX_BYTES (UINT64_C(1) << 32) /* 2.7.5 */

static int broken(VirtQueue *vq, const char *why)
{
    vq->broken = why;
    return -EPROTO;
}

void virtqueue_init(VirtQueue *vq, const GuestMemory *mem)
{
    *vq = (VirtQueue){.mem = mem};
}

void virtqueue_reset(VirtQueue *vq)
{
    virtqueue_init(vq, vq->mem);
}

static int start_error(VirtQueue *vq, const char *why)
{
    vq->broken = why;
    vq->ready = false;
    return -EINVAL;
}

int virtqueue_start(VirtQueue *vq)
{
    if (vq->size == 0 || vq->size > VIRTQUEUE_MAX_SIZE || (vq->size & (vq->size - 1)) != 0) {
        return start_error(vq, "queue size is not a power of two within the limit");
    }
    if (vq->desc_gpa % 16 || vq->avail_gpa % 2 || vq->used_gpa % 4) {
        return start_error(vq, "ring address is not aligned");
    }
    vq->desc = guest_memory_ptr(vq->mem, vq->desc_gpa, splitq_desc_bytes(vq->size));
    vq->avail = guest_memory_ptr(vq->mem, vq->avail_gpa, splitq_avail_bytes(vq->size));
    vq->used = guest_memory_ptr(vq->mem, vq->used_gpa, splitq_used_bytes(vq->size));
    if (!vq->desc || !vq->avail || !vq->used) {
        return start_error(vq, "ring is not in guest RAM");
    }
    vq->broken = NULL;
    vq->last_avail = vq->used_idx = vq->signalled_used = vq->inuse = 0;
    vq->signalled_used_valid = false;
    vq->ready = true;
    virtqueue_set_notification(vq, true);
    return 0;
}

static bool usable(const VirtQueue *vq)
{
    return vq->ready && !vq->broken && vq->avail;
}

bool virtqueue_has_work(const VirtQueue *vq)
{
    return usable(vq) && splitq_acquire_idx(vq->avail) != vq->last_avail;
}

/* Where the walk of one chain stands. */
typedef struct ChainWalk {
    const uint8_t *table; /* the ring's descriptor table or an indirect one */
    unsigned entries;     /* of table */
    unsigned seen;        /* buffers taken so far, in both tables */
    bool in_indirect;
} ChainWalk;

static int enter_indirect(VirtQueue *vq, ChainWalk *walk, const SplitqDesc *desc)
{
    if (!vq->indirect) {
        return broken(vq, "indirect descriptor without the feature");
    }
    if (walk->in_indirect) {
        return broken(vq, "nested indirect descriptor");
    }
    if (desc->flags & SPLITQ_NEXT) {
        return broken(vq, "indirect descriptor with a next one");
    }
    if (desc->len == 0 || desc->len % sizeof(SplitqDesc) ||
        desc->len / sizeof(SplitqDesc) > INDIRECT_MAX) {
        return broken(vq, "indirect table has an invalid length");
    }
    walk->table = guest_memory_ptr(vq->mem, desc->addr, desc->len);
    if (!walk->table) {
        return broken(vq, "indirect table is not in guest RAM");
    }
    walk->entries = desc->len / sizeof(SplitqDesc);
    walk->in_indirect = true;
    return 0;
}

static int take_buffer(VirtQueue *vq, VirtQueueElement *elem, const SplitqDesc *desc,
                       unsigned max_iov)
{
    unsigned taken = (unsigned)elem->out_num + elem->in_num;
    bool in = desc->flags & SPLITQ_WRITE;

    if (desc->len == 0) {
        return broken(vq, "zero-sized buffer");
    }
    if (!in && elem->in_num) {
        return broken(vq, "device-readable buffer after a device-writable one");
    }
    if (elem->out_bytes + elem->in_bytes + desc->len > CHAIN_MAX_BYTES) {
        return broken(vq, "chain describes more than 2^32 bytes");
    }
    if (taken >= max_iov) {
        return broken(vq, "chain has more buffers than the device takes");
    }
    void *host = guest_memory_ptr(vq->mem, desc->addr, desc->len);
    if (!host) {
        return broken(vq, "buffer is not in guest RAM");
    }
    elem->iov[taken] = (struct iovec){.iov_base = host, .iov_len = desc->len};
    if (in) {
        elem->in_num++;
        elem->in_bytes += desc->len;
    } else {
        elem->out_num++;
        elem->out_bytes += desc->len;
    }
    return 0;
}

static int walk_chain(VirtQueue *vq, VirtQueueElement *elem, unsigned max_iov)
{
    ChainWalk walk = {.table = vq->desc, .entries = vq->size};
    unsigned index = elem->head;

    for (;;) {
        if (index >= walk.entries) {
            return broken(vq, "descriptor index beyond its table");
        }
        SplitqDesc desc = splitq_read_desc(walk.table + index * sizeof(SplitqDesc));
        int ret;

        if (desc.flags & SPLITQ_INDIRECT) {
            ret = enter_indirect(vq, &walk, &desc);
            if (ret < 0) {
                return ret;
            }
            index = 0;
            continue;
        }
        /* 2.7.5: no chain is longer than the queue; this also ends every loop. */
        if (walk.seen == vq->size) {
            return broken(vq, "chain longer than the queue");
        }
        walk.seen++;
        ret = take_buffer(vq, elem, &desc, max_iov);
        if (ret < 0) {
            return ret;
        }
        if (!(desc.flags & SPLITQ_NEXT)) {
            return 1;
        }
        index = desc.next;
    }
}

int virtqueue_pop(VirtQueue *vq, VirtQueueElement *elem, struct iovec *iov, unsigned max_iov)
{
    if (vq->broken) {
        return -EPROTO;
    }
    if (!usable(vq)) {
        return 0;
    }
    uint16_t waiting = (uint16_t)(splitq_acquire_idx(vq->avail) - vq->last_avail);
    if (waiting == 0) {
        return 0;
    }
    if (waiting > vq->size) {
        return broken(vq, "available index moved by more than the queue size");
    }
    if (vq->inuse >= vq->size) {
        return broken(vq, "more chains in flight than the queue holds");
    }
    uint16_t head = splitq_load(splitq_avail_entry(vq->avail, vq->last_avail & (vq->size - 1u)));
    *elem = (VirtQueueElement){.head = head, .iov = iov};
    int ret = walk_chain(vq, elem, max_iov);
    if (ret == 1) {
        vq->last_avail++;
        vq->inuse++;
    }
    return ret;
}

void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, uint32_t written)
{
    if (vq->inuse > 0) {
        vq->inuse--;
    }
    if (!usable(vq)) {
        return;
    }
    SplitqUsedElem entry = {.id = htole32(elem->head), .len = htole32(written)};
    *splitq_used_entry(vq->used, vq->used_idx & (vq->size - 1u)) = entry;
    vq->used_idx++;
    splitq_publish_idx(vq->used, vq->used_idx);
    /* Once the index has gone all the way round, its distance from the last notified one means
     * nothing any more: the next virtqueue_should_notify() must say yes. */
    if (vq->used_idx == vq->signalled_used) {
        vq->signalled_used_valid = false;
    }
}

bool virtqueue_should_notify(VirtQueue *vq)
{
    if (!usable(vq)) {
        return false;
    }
    /* used.idx is written, used_event or flags are read: partner is the driver's fence between
     * writing used_event (or flags) and looking at used.idx again. */
    splitq_event_fence();
    if (!vq->event_idx) {
        return !(splitq_load(&((SplitqHead *)vq->avail)->flags) & SPLITQ_AVAIL_NO_INTERRUPT);
    }
    uint16_t old_idx = vq->signalled_used;
    bool valid = vq->signalled_used_valid;
    vq->signalled_used = vq->used_idx;
    vq->signalled_used_valid = true;
    return !valid || splitq_need_event(splitq_load(splitq_used_event(vq->avail, vq->size)),
                                       vq->used_idx, old_idx);
}

void virtqueue_set_notification(VirtQueue *vq, bool on)
{
    if (!usable(vq)) {
        return;
    }
    vq->notification = on;
    if (!vq->event_idx) {
        splitq_store(&((SplitqHead *)vq->used)->flags, on ? 0 : SPLITQ_USED_NO_NOTIFY);
    } else if (on) {
        /* Off needs no store: an event index that lies behind is not passed again until the
         * ring has gone round, and then a kick too many does no harm. */
        splitq_store(splitq_avail_event(vq->used, vq->size), vq->last_avail);
    }
    if (on) {
        /* The wish is written, avail.idx is read next (by virtqueue_has_work()): partner is the
         * driver's fence between publishing avail.idx and reading the wish. */
        splitq_event_fence();
    }
}
