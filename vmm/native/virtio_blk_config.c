/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk: feature bits and the configuration space (virtio 1.2, 5.2.3 and 5.2.4). */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>

#include "virtio_blk_internal.h"

static uint64_t bit(unsigned n)
{
    return UINT64_C(1) << n;
}

uint64_t virtio_blk_features(VirtioDevice *dev)
{
    const VirtioBlk *blk = (VirtioBlk *)dev;
    const BlockLimits *limits = block_limits(blk->config.backend);
    uint64_t features = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_RING_F_EVENT_IDX) |
                        bit(VIRTIO_RING_F_INDIRECT_DESC) | bit(VIRTIO_BLK_F_SEG_MAX) |
                        bit(VIRTIO_BLK_F_BLK_SIZE) | bit(VIRTIO_BLK_F_FLUSH) |
                        bit(VIRTIO_BLK_F_CONFIG_WCE);

    if (dev->config.num_queues > 1) {
        features |= bit(VIRTIO_BLK_F_MQ);
    }
    if (limits->read_only) {
        return features | bit(VIRTIO_BLK_F_RO);
    }
    if (limits->can_discard && blk->config.discard) {
        features |= bit(VIRTIO_BLK_F_DISCARD);
    }
    if (limits->can_write_zeroes) {
        features |= bit(VIRTIO_BLK_F_WRITE_ZEROES);
    }
    return features;
}

/* Room for header and status in every chain, and never more than the backend takes at once. */
static uint32_t seg_max(const VirtioBlk *blk)
{
    uint32_t room = blk->dev.config.queue_size - 2u;
    uint32_t max_iov = block_limits(blk->config.backend)->max_iov;

    return max_iov && max_iov < room ? max_iov : room;
}

static uint32_t logical_block(const VirtioBlk *blk)
{
    return blk->config.logical_block ? blk->config.logical_block
                                     : block_limits(blk->config.backend)->logical_block;
}

static void fill_config(const VirtioBlk *blk, struct virtio_blk_config *out)
{
    *out = (struct virtio_blk_config){
        .capacity = htole64(blk->capacity),
        .seg_max = htole32(seg_max(blk)),
        .blk_size = htole32(logical_block(blk)),
        .wce = atomic_load_explicit(&blk->writeback, memory_order_relaxed),
        .num_queues = htole16((uint16_t)blk->dev.config.num_queues),
        .max_discard_sectors = htole32(MAX_RANGE_SECTORS),
        .max_discard_seg = htole32(1),
        .discard_sector_alignment = htole32(logical_block(blk) / SECTOR_BYTES),
        .max_write_zeroes_sectors = htole32(MAX_RANGE_SECTORS),
        .max_write_zeroes_seg = htole32(1),
        .write_zeroes_may_unmap = 1,
    };
}

uint32_t virtio_blk_get_config(VirtioDevice *dev, uint32_t offset, unsigned size)
{
    struct virtio_blk_config config;
    uint32_t value = 0;

    fill_config((VirtioBlk *)dev, &config);
    memcpy(&value, (const uint8_t *)&config + offset, size);
    return le32toh(value);
}

void virtio_blk_set_config(VirtioDevice *dev, uint32_t offset, uint32_t value, unsigned size)
{
    VirtioBlk *blk = (VirtioBlk *)dev;

    /* The only writable field (5.2.5.2), and only if its feature was taken. */
    if (size == 1 && offset == offsetof(struct virtio_blk_config, wce) &&
        virtio_device_has_feature(dev, VIRTIO_BLK_F_CONFIG_WCE)) {
        atomic_store_explicit(&blk->writeback, (value & 1) != 0, memory_order_relaxed);
    }
}
