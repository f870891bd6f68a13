/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file backend: a raw image in a regular file or on a block device.
 *
 * Two engines. The ring engine (block_file_uring.c) is the fast path and knows only requests
 * that succeed whole at the first try. Everything else is one job for the worker pool
 * (block_file_threads.c), which starts the request again from its beginning and may block: short
 * transfers, unaligned memory or offsets under O_DIRECT (block_file_bounce.c), operations the
 * file system lacks (block_file_zero.c), a full submission queue, contexts without a ring.
 * Reads and writes can be repeated, so starting again is correct; it keeps the fast path
 * without state of its own. Resuming in the ring was rejected: a state machine for a case that
 * a healthy disk never shows.
 *
 *   file_submit -> ring engine --complete--> done
 *        |            | refused, short, odd
 *        +------------+--> worker: read/write loop, bounce, zeroes --done--> done
 */
#ifndef VMM_NATIVE_BLOCK_FILE_H
#define VMM_NATIVE_BLOCK_FILE_H

#include "block_internal.h"
#include "lockrank.h"

typedef struct BlockFile {
    BlockBackend base;
    int fd;
    bool ring; /* use the context's io_uring where there is one */
    bool direct, no_flush, device;
    uint32_t block;     /* O_DIRECT: offsets and lengths are multiples of this, else 1 */
    uint32_t mem_align; /* O_DIRECT: and addresses of this, else 1 */
    WorkerPool *pool;
    /* Read-modify-write cycles of partial blocks exclude each other. Workers only. */
    RankedMutex rmw_lock;
    /* Learned at run time; relaxed: at worst an operation is refused by the kernel once more. */
    _Atomic bool no_punch, no_zero_range;
    /* Set once by the first failed flush: see block_file_flushed(). Relaxed: one word. */
    _Atomic int flush_error;
} BlockFile;

/* block_file_uring.c. False: not taken, and nothing has happened to req. */
bool block_file_submit_ring(BlockFile *file, BlockRequest *req);
/* block_file_threads.c */
void block_file_submit_pool(BlockFile *file, BlockRequest *req);
/* The result to report for a flush that the kernel answered with ret. */
int block_file_flushed(BlockFile *file, int ret);
/* May req go to the kernel as it is? */
bool block_file_aligned(const BlockFile *file, uint64_t offset, const struct iovec *iov, int niov);

/* A blocking transfer, in a worker. progress bytes of it are done. */
typedef struct BlockTransfer {
    bool write;
    int rw_flags; /* RWF_* */
    const struct iovec *iov;
    int niov;
    uint64_t offset, bytes, progress;
} BlockTransfer;
int block_file_transfer(BlockFile *file, BlockTransfer *transfer);
/* The rest of a transfer through an aligned buffer. */
int block_file_bounce(BlockFile *file, BlockTransfer *transfer);
/* pread/pwrite that survive signals. Bytes or -errno. */
ssize_t block_file_rw(BlockFile *file, bool write, const struct iovec *iov, int niov,
                      uint64_t offset, int rw_flags);
/* block_file_zero.c, in a worker. 0 or -errno. */
int block_file_discard(BlockFile *file, uint64_t offset, uint64_t bytes);
int block_file_write_zeroes(BlockFile *file, uint64_t offset, uint64_t bytes, bool unmap);

/* fallocate() modes, shared by both engines. */
int block_file_discard_mode(void);
int block_file_zero_mode(bool unmap);

#endif
