/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file backend's fast path: one SQE a request, whatever is odd goes to the pool. */
#include "block_file.h"

#include <errno.h>
#include <liburing.h>

/* The kernel cuts longer transfers (MAX_RW_COUNT), and an SQE's length has 32 bits. */
#define LONGEST 0x7ffff000u

/* A result that says "not like this" rather than "the disk failed". */
static bool worth_a_second_try(int res)
{
    return res == -EAGAIN || res == -EINTR || res == -EINVAL || res == -EOPNOTSUPP;
}

static void ring_complete(AioCqe *cqe, int res)
{
    BlockRequest *req = block_container_of(cqe, BlockRequest, u.cqe);
    BlockFile *file = (BlockFile *)req->leaf;
    bool transfer = req->op == BLOCK_READ || req->op == BLOCK_WRITE;

    if (worth_a_second_try(res) || (transfer && res >= 0 && (uint64_t)res != req->bytes)) {
        block_file_submit_pool(file, req);
        return;
    }
    if (req->op == BLOCK_FLUSH)
        res = block_file_flushed(file, res);
    block_complete(&file->base, req, res < 0 ? res : 0);
}

static bool suitable(const BlockFile *file, const BlockRequest *req)
{
    if (req->bytes > LONGEST && req->op != BLOCK_FLUSH)
        return false;
    switch (req->op) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        return block_file_aligned(file, req->offset, req->iov, req->niov);
    case BLOCK_FLUSH:
        return true;
    case BLOCK_DISCARD:
        return !file->device && !atomic_load_explicit(&file->no_punch, memory_order_relaxed);
    case BLOCK_WRITE_ZEROES:
        return !file->device && !(req->flags & BLOCK_FUA) &&
               !atomic_load_explicit(req->flags & BLOCK_UNMAP ? &file->no_punch
                                                              : &file->no_zero_range,
                                     memory_order_relaxed);
    }
    return false;
}

static void prepare(const BlockFile *file, const BlockRequest *req, struct io_uring_sqe *sqe)
{
    int fd = file->fd;
    const struct iovec *iov = req->iov;

    switch (req->op) {
    case BLOCK_READ:
        if (req->niov == 1)
            io_uring_prep_read(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, req->offset);
        else
            io_uring_prep_readv(sqe, fd, iov, (unsigned)req->niov, req->offset);
        break;
    case BLOCK_WRITE:
        if (req->niov == 1)
            io_uring_prep_write(sqe, fd, iov->iov_base, (unsigned)iov->iov_len, req->offset);
        else
            io_uring_prep_writev(sqe, fd, iov, (unsigned)req->niov, req->offset);
        if (req->flags & BLOCK_FUA && !file->no_flush)
            sqe->rw_flags = RWF_DSYNC;
        break;
    case BLOCK_FLUSH:
        io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
        break;
    case BLOCK_DISCARD:
        io_uring_prep_fallocate(sqe, fd, block_file_discard_mode(), (off_t)req->offset,
                                (off_t)req->bytes);
        break;
    case BLOCK_WRITE_ZEROES:
        io_uring_prep_fallocate(sqe, fd, block_file_zero_mode(req->flags & BLOCK_UNMAP),
                                (off_t)req->offset, (off_t)req->bytes);
        break;
    }
}

bool block_file_submit_ring(BlockFile *file, BlockRequest *req)
{
    struct io_uring_sqe *sqe;

    if (!suitable(file, req))
        return false;
    req->u.cqe.complete = ring_complete;
    sqe = aio_get_sqe(req->ctx, &req->u.cqe);
    if (!sqe)
        return false; /* queue full: the pool takes it, so it is neither dropped nor spun for */
    prepare(file, req, sqe);
    aio_submit(req->ctx);
    return true;
}
