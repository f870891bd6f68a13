/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: from a popped chain to a block request (virtio 1.2, 5.2.6).
 *
 * The driver may cut header, data and status into buffers as it likes (2.7.4): the header is the
 * first 16 readable bytes, the status the last writable byte, whatever buffers they are in. Only a
 * chain without room for both is malformed; everything else the driver gets wrong is an answer
 * (IOERR, UNSUPP) and never touches the backend.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "virtio_blk_internal.h"

typedef struct RequestHeader {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
} RequestHeader;

/* A run of iovecs inside an element. */
typedef struct IovSpan {
    struct iovec *iov;
    int count;
    uint64_t bytes;
} IovSpan;

/* Move n bytes (no more than there are) from the span's front to buf. */
static void span_take_front(IovSpan *span, void *buf, size_t n)
{
    uint8_t *to = buf;

    span->bytes -= n;
    while (n > 0) {
        struct iovec *iov = span->iov;
        size_t part = iov->iov_len < n ? iov->iov_len : n;

        memcpy(to, iov->iov_base, part);
        to += part;
        n -= part;
        iov->iov_base = (uint8_t *)iov->iov_base + part;
        iov->iov_len -= part;
        if (iov->iov_len == 0) {
            span->iov++;
            span->count--;
        }
    }
}

/* Cut the last byte off and say where it is. */
static uint8_t *span_take_last_byte(IovSpan *span)
{
    struct iovec *last = &span->iov[span->count - 1];

    span->bytes--;
    last->iov_len--;
    if (last->iov_len == 0) {
        span->count--;
    }
    return (uint8_t *)last->iov_base + last->iov_len;
}

static void span_fill(const IovSpan *span, const void *buf, size_t n)
{
    const uint8_t *from = buf;

    for (int i = 0; i < span->count && n > 0; i++) {
        size_t part = span->iov[i].iov_len < n ? span->iov[i].iov_len : n;

        memcpy(span->iov[i].iov_base, from, part);
        from += part;
        n -= part;
    }
}

static void answer(VirtioBlkRequest *req, uint8_t status)
{
    req->immediate = true;
    req->status = status;
}

/* The driver asked for something that cannot be: accounted as invalid, not as failed. */
static void refuse(VirtioBlkRequest *req, enum BlockOp op)
{
    req->block.op = op;
    req->invalid = true;
    answer(req, VIRTIO_BLK_S_IOERR);
}

static bool range_ok(const VirtioBlk *blk, uint64_t sector, uint64_t sectors)
{
    return sector <= blk->capacity && sectors <= blk->capacity - sector;
}

static bool read_only(const VirtioBlk *blk)
{
    return block_limits(blk->config.backend)->read_only;
}

/* Without a volatile write cache a write is stable before it completes (5.2.6.2). */
static unsigned write_flags(const VirtioBlk *blk)
{
    return atomic_load_explicit(&blk->writeback, memory_order_relaxed) ? 0 : BLOCK_FUA;
}

static void set_block(VirtioBlkRequest *req, enum BlockOp op, uint64_t sector, uint64_t bytes)
{
    req->block.op = op;
    req->block.offset = sector * SECTOR_BYTES;
    req->block.bytes = bytes;
}

static void parse_transfer(VirtioBlkRequest *req, enum BlockOp op, uint64_t sector,
                           const IovSpan *data)
{
    const VirtioBlk *blk = req->queue->blk;

    if (data->bytes % SECTOR_BYTES || !range_ok(blk, sector, data->bytes / SECTOR_BYTES) ||
        (op == BLOCK_WRITE && read_only(blk))) {
        refuse(req, op);
        return;
    }
    if (data->bytes == 0) {
        answer(req, VIRTIO_BLK_S_OK);
        return;
    }
    set_block(req, op, sector, data->bytes);
    req->block.iov = data->iov;
    req->block.niov = data->count;
    if (op == BLOCK_READ) {
        req->in_written = (uint32_t)data->bytes;
    } else {
        req->block.flags = write_flags(blk);
    }
}

/* Discard and write zeroes: exactly one segment, as max_*_seg in the config space says. */
static void parse_range(VirtioBlkRequest *req, enum BlockOp op, IovSpan *data)
{
    VirtioBlk *blk = req->queue->blk;
    unsigned feature = op == BLOCK_DISCARD ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
    struct virtio_blk_discard_write_zeroes segment;

    if (!virtio_device_has_feature(&blk->dev, feature) || data->bytes != sizeof(segment)) {
        answer(req, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    span_take_front(data, &segment, sizeof(segment));
    uint64_t sector = le64toh(segment.sector);
    uint32_t sectors = le32toh(segment.num_sectors);
    uint32_t flags = le32toh(segment.flags);
    uint32_t allowed = op == BLOCK_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

    if (flags & ~allowed) {
        answer(req, VIRTIO_BLK_S_UNSUPP);
    } else if (read_only(blk) || sectors > MAX_RANGE_SECTORS || !range_ok(blk, sector, sectors)) {
        refuse(req, op);
    } else if (sectors == 0) {
        answer(req, VIRTIO_BLK_S_OK);
    } else {
        set_block(req, op, sector, (uint64_t)sectors * SECTOR_BYTES);
        if (op == BLOCK_WRITE_ZEROES) {
            req->block.flags = write_flags(blk) | (flags ? BLOCK_UNMAP : 0);
        }
    }
}

static void parse_get_id(VirtioBlkRequest *req, const IovSpan *data)
{
    uint64_t n = data->bytes < VIRTIO_BLK_ID_BYTES ? data->bytes : VIRTIO_BLK_ID_BYTES;

    span_fill(data, req->queue->blk->config.serial, n);
    req->in_written = (uint32_t)n;
    answer(req, VIRTIO_BLK_S_OK);
}

static void block_done(BlockRequest *block, int ret)
{
    VirtioBlkRequest *req = (VirtioBlkRequest *)block;

    virtio_blk_queue_complete(req, ret == 0          ? VIRTIO_BLK_S_OK
                                   : ret == -ENOTSUP ? VIRTIO_BLK_S_UNSUPP
                                                     : VIRTIO_BLK_S_IOERR);
}

const char *virtio_blk_request_parse(VirtioBlkRequest *req)
{
    const VirtQueueElement *elem = &req->elem;
    IovSpan out = {.iov = elem->iov, .count = elem->out_num, .bytes = elem->out_bytes};
    IovSpan in = {.iov = elem->iov + elem->out_num, .count = elem->in_num, .bytes = elem->in_bytes};
    RequestHeader header;

    if (out.bytes < sizeof(header)) {
        return "request without room for the header";
    }
    if (in.bytes < 1) {
        return "request without room for the status";
    }
    span_take_front(&out, &header, sizeof(header));
    req->status_byte = span_take_last_byte(&in);
    req->immediate = req->invalid = false;
    req->in_written = 0;
    req->block = (BlockRequest){.done = block_done};
    uint64_t sector = le64toh(header.sector);

    switch (le32toh(header.type)) {
    case VIRTIO_BLK_T_IN:
        parse_transfer(req, BLOCK_READ, sector, &in);
        break;
    case VIRTIO_BLK_T_OUT:
        parse_transfer(req, BLOCK_WRITE, sector, &out);
        break;
    case VIRTIO_BLK_T_FLUSH:
        set_block(req, BLOCK_FLUSH, 0, 0);
        break;
    case VIRTIO_BLK_T_GET_ID:
        parse_get_id(req, &in);
        break;
    case VIRTIO_BLK_T_DISCARD:
        parse_range(req, BLOCK_DISCARD, &out);
        break;
    case VIRTIO_BLK_T_WRITE_ZEROES:
        parse_range(req, BLOCK_WRITE_ZEROES, &out);
        break;
    default:
        answer(req, VIRTIO_BLK_S_UNSUPP);
        break;
    }
    return NULL;
}

void virtio_blk_request_execute(VirtioBlkRequest *req)
{
    if (req->immediate) {
        virtio_blk_queue_complete(req, req->status);
    } else {
        block_submit(req->queue->blk->config.backend, req->queue->ctx, &req->block);
    }
}
