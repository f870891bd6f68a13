/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transfers that O_DIRECT does not take as they are, through an aligned buffer.
 *
 * Unaligned memory costs a copy and nothing else. An offset or length inside a block turns a
 * write into read-modify-write; those cycles are serialised among each other. They are not
 * serialised with aligned writes: a guest that respects the logical block size it was told
 * never causes one.
 */
#include "block_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block_iov.h"

enum { CHUNK = 256 * 1024, BUFFER_ALIGN = 4096 };

/* Read the aligned range; what lies behind the end of the file is zero. */
static int read_blocks(BlockFile *file, char *buf, uint64_t start, size_t bytes)
{
    size_t done = 0;

    while (done < bytes) {
        struct iovec iov = {buf + done, bytes - done};
        ssize_t n = block_file_rw(file, false, &iov, 1, start + done, 0);

        if (n < 0)
            return (int)n;
        done += (size_t)n;
        if (n == 0 || done & (file->block - 1)) {
            memset(buf + done, 0, bytes - done);
            return 0;
        }
    }
    return 0;
}

static int write_blocks(BlockFile *file, char *buf, uint64_t start, size_t bytes, int rw_flags)
{
    size_t done = 0;

    while (done < bytes) {
        struct iovec iov = {buf + done, bytes - done};
        ssize_t n = block_file_rw(file, true, &iov, 1, start + done, rw_flags);

        if (n < 0)
            return (int)n;
        /* Resume at a block boundary: writing a part of a block again is harmless. */
        if ((size_t)n < bytes - done)
            n &= -(ssize_t)file->block;
        if (n == 0)
            return -ENOSPC;
        done += (size_t)n;
    }
    return 0;
}

/* One chunk: len bytes at the transfer's position, inside the aligned range [start, end). */
static int bounce_chunk(BlockFile *file, const BlockTransfer *t, char *buf, uint64_t start,
                        uint64_t end, size_t len)
{
    uint64_t pos = t->offset + t->progress;
    size_t bytes = end - start;
    bool partial = bytes != len;
    int ret;

    if (!t->write) {
        ret = read_blocks(file, buf, start, bytes);
        if (ret == 0)
            block_iov_from_buf(t->iov, t->niov, t->progress, buf + (pos - start), len);
        return ret;
    }
    if (partial)
        ranked_mutex_lock(&file->rmw_lock);
    ret = partial ? read_blocks(file, buf, start, bytes) : 0;
    if (ret == 0) {
        block_iov_to_buf(t->iov, t->niov, t->progress, buf + (pos - start), len);
        ret = write_blocks(file, buf, start, bytes, t->rw_flags);
    }
    if (partial)
        ranked_mutex_unlock(&file->rmw_lock);
    return ret;
}

int block_file_bounce(BlockFile *file, BlockTransfer *t)
{
    uint64_t mask = file->block - 1;
    uint64_t last = (t->offset + t->bytes + mask) & ~mask;
    uint64_t first = (t->offset + t->progress) & ~mask;
    void *buf;
    int ret = posix_memalign(&buf, BUFFER_ALIGN, last - first < CHUNK ? last - first : CHUNK);

    if (ret)
        return -ret;
    while (ret == 0 && t->progress < t->bytes) {
        uint64_t pos = t->offset + t->progress;
        uint64_t start = pos & ~mask;
        uint64_t end = last - start < CHUNK ? last : start + CHUNK;
        uint64_t stop = end < t->offset + t->bytes ? end : t->offset + t->bytes;

        ret = bounce_chunk(file, t, buf, start, end, stop - pos);
        t->progress += stop - pos;
    }
    free(buf);
    return ret;
}
