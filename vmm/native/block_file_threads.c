/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file backend's blocking engine: whole requests, in worker threads. */
#include "block_file.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "block_iov.h"

enum { RETRIES_AGAIN = 16, WINDOW = 64 };

ssize_t block_file_rw(BlockFile *file, bool write, const struct iovec *iov, int niov,
                      uint64_t offset, int rw_flags)
{
    int again = 0;

    for (;;) {
        ssize_t n = write ? pwritev2(file->fd, iov, niov, (off_t)offset, rw_flags)
                          : preadv2(file->fd, iov, niov, (off_t)offset, rw_flags);

        if (n >= 0)
            return n;
        if (errno == EAGAIN && again++ < RETRIES_AGAIN)
            sched_yield();
        else if (errno != EINTR)
            return -errno;
    }
}

bool block_file_aligned(const BlockFile *file, uint64_t offset, const struct iovec *iov, int niov)
{
    if (!file->direct)
        return true;
    return !(offset & (file->block - 1)) &&
           block_iov_aligned(iov, niov, file->mem_align, file->block);
}

int block_file_transfer(BlockFile *file, BlockTransfer *t)
{
    struct iovec window[WINDOW];

    if (!block_file_aligned(file, t->offset, t->iov, t->niov))
        return block_file_bounce(file, t);
    while (t->progress < t->bytes) {
        const struct iovec *iov = t->iov;
        int niov = t->niov;
        ssize_t n;

        if (t->progress) {
            niov = block_iov_window(window, WINDOW, t->iov, t->niov, t->progress);
            iov = window;
        }
        n = block_file_rw(file, t->write, iov, niov, t->offset + t->progress, t->rw_flags);
        if (n == -EINVAL && file->direct)
            return block_file_bounce(file, t); /* stricter than it said */
        if (n < 0)
            return (int)n;
        if (n == 0 && t->write)
            return -ENOSPC;
        t->progress += (uint64_t)n;
        if (n == 0 || (!t->write && file->direct && t->progress & (file->block - 1))) {
            /* The end of a file that is shorter than the disk: see BlockLimits.size. */
            block_iov_zero_from(t->iov, t->niov, t->progress);
            return 0;
        }
        if (file->direct && t->progress & (file->block - 1))
            return block_file_bounce(file, t);
    }
    return 0;
}

/*
 * After a failed fdatasync() the kernel may have marked the lost pages clean, and the next one
 * would succeed. A guest that retries must not be told that its data is safe, so the error stays.
 * With O_DIRECT no data is in the page cache to be lost.
 */
int block_file_flushed(BlockFile *file, int ret)
{
    int none = 0;
    int kept;

    if (ret < 0 && !file->direct)
        atomic_compare_exchange_strong_explicit(&file->flush_error, &none, ret,
                                                memory_order_relaxed, memory_order_relaxed);
    kept = atomic_load_explicit(&file->flush_error, memory_order_relaxed);
    return kept ? kept : ret;
}

static int flush(BlockFile *file)
{
    int ret;

    do {
        ret = fdatasync(file->fd);
    } while (ret < 0 && errno == EINTR);
    return block_file_flushed(file, ret < 0 ? -errno : 0);
}

static int run(WorkerJob *job)
{
    BlockRequest *req = block_container_of(job, BlockRequest, u.job);
    BlockFile *file = (BlockFile *)req->leaf;
    bool durable = req->flags & BLOCK_FUA && !file->no_flush;
    int ret;

    switch (req->op) {
    case BLOCK_READ:
    case BLOCK_WRITE: {
        BlockTransfer t = {
            .write = req->op == BLOCK_WRITE,
            .rw_flags = req->op == BLOCK_WRITE && durable ? RWF_DSYNC : 0,
            .iov = req->iov,
            .niov = req->niov,
            .offset = req->offset,
            .bytes = req->bytes,
        };
        return block_file_transfer(file, &t);
    }
    case BLOCK_FLUSH:
        return flush(file);
    case BLOCK_DISCARD:
        return block_file_discard(file, req->offset, req->bytes);
    case BLOCK_WRITE_ZEROES:
        ret = block_file_write_zeroes(file, req->offset, req->bytes, req->flags & BLOCK_UNMAP);
        return ret == 0 && durable ? flush(file) : ret;
    }
    return -EINVAL;
}

static void finished(WorkerJob *job, int result)
{
    BlockRequest *req = block_container_of(job, BlockRequest, u.job);

    block_complete(req->leaf, req, result);
}

void block_file_submit_pool(BlockFile *file, BlockRequest *req)
{
    req->u.job = (WorkerJob){.run = run, .done = finished};
    worker_pool_submit(file->pool, req->ctx, &req->u.job);
}
