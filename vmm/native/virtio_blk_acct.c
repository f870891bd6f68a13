/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: what query-blockstats tells, by type of request. As QEMU's block/accounting.c with
 * account-failed and account-invalid on: failed requests have a duration, invalid ones have none.
 */
#include <errno.h>

#include "virtio_blk_internal.h"

static const unsigned types[] = {
    [BLOCK_READ] = VIRTIO_BLK_ACCT_READ,          [BLOCK_WRITE] = VIRTIO_BLK_ACCT_WRITE,
    [BLOCK_FLUSH] = VIRTIO_BLK_ACCT_FLUSH,        [BLOCK_DISCARD] = VIRTIO_BLK_ACCT_UNMAP,
    [BLOCK_WRITE_ZEROES] = VIRTIO_BLK_ACCT_WRITE,
};

static void count_latency(QueueAcct *acct, uint64_t ticks)
{
    unsigned bin = 0;

    while (bin < acct->boundaries && ticks >= acct->boundary[bin]) {
        bin++;
    }
    counter_add(&acct->bins[bin], 1);
}

void virtio_blk_acct_done(VirtioBlkQueue *queue, const VirtioBlkRequest *req, uint8_t status,
                          uint64_t ticks)
{
    QueueAcct *acct = &queue->acct[types[req->block.op]];

    if (req->invalid) {
        counter_add(&acct->invalid, 1);
        return;
    }
    if (req->immediate) {
        return; /* GET_ID, empty transfers, what we do not know: nothing of the disk */
    }
    if (status != 0) {
        counter_add(&acct->failed, 1);
    } else {
        uint64_t end = req->block.offset + req->block.bytes;

        counter_add(&acct->operations, 1);
        counter_add(&acct->bytes, req->block.bytes);
        if (end > atomic_load_explicit(&acct->highest_offset, memory_order_relaxed)) {
            atomic_store_explicit(&acct->highest_offset, end, memory_order_relaxed);
        }
    }
    counter_add(&acct->ticks, ticks);
    if (acct->boundaries > 0) {
        count_latency(acct, ticks);
    }
}

void virtio_blk_acct(const VirtioBlk *blk, unsigned queue, unsigned type, VirtioBlkAcct *out)
{
    *out = (VirtioBlkAcct){0};
    if (queue >= blk->dev.config.num_queues || type >= VIRTIO_BLK_ACCT_TYPES) {
        return;
    }
    const QueueAcct *acct = &blk->queues[queue].acct[type];
    out->operations = atomic_load_explicit(&acct->operations, memory_order_relaxed);
    out->failed = atomic_load_explicit(&acct->failed, memory_order_relaxed);
    out->invalid = atomic_load_explicit(&acct->invalid, memory_order_relaxed);
    out->bytes = atomic_load_explicit(&acct->bytes, memory_order_relaxed);
    out->ticks = atomic_load_explicit(&acct->ticks, memory_order_relaxed);
    out->highest_offset = atomic_load_explicit(&acct->highest_offset, memory_order_relaxed);
    for (unsigned i = 0; i <= VIRTIO_BLK_ACCT_BOUNDARIES; i++) {
        out->bins[i] = atomic_load_explicit(&acct->bins[i], memory_order_relaxed);
    }
}

static void set_boundaries(QueueAcct *acct, const uint64_t *ticks, unsigned count)
{
    acct->boundaries = count;
    for (unsigned i = 0; i < count; i++) {
        acct->boundary[i] = ticks[i];
    }
    for (unsigned i = 0; i <= VIRTIO_BLK_ACCT_BOUNDARIES; i++) {
        atomic_store_explicit(&acct->bins[i], 0, memory_order_relaxed);
    }
}

int virtio_blk_set_boundaries(VirtioBlk *blk, unsigned type, const uint64_t *ticks, unsigned count)
{
    bql_assert_held(blk->dev.config.bql);
    if (type >= VIRTIO_BLK_ACCT_TYPES || count > VIRTIO_BLK_ACCT_BOUNDARIES || blk->drains == 0) {
        return -EINVAL;
    }
    for (unsigned i = 1; i < count; i++) {
        if (ticks[i] < ticks[i - 1]) {
            return -EINVAL;
        }
    }
    for (unsigned i = 0; i < blk->dev.config.num_queues; i++) {
        set_boundaries(&blk->queues[i].acct[type], ticks, count);
    }
    return 0;
}
