/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block backends. A backend is a const ops table plus its state; filters hold another backend.
 * Requests are asynchronous: submit() never blocks on I/O, done() runs in the thread of the
 * AioContext the request was submitted in, possibly before submit() returns (null backend).
 * One backend may be used from several contexts at once (one per virtqueue).
 */
#ifndef VMM_NATIVE_BLOCK_H
#define VMM_NATIVE_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "aio.h"
#include "worker_pool.h"

enum BlockOp { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };
#define BLOCK_OPS 5
enum BlockFlags { BLOCK_UNMAP = 1 /* write zeroes may deallocate */, BLOCK_FUA = 2 };

typedef struct BlockRequest BlockRequest;
struct BlockRequest {
    enum BlockOp op;
    unsigned flags;  /* enum BlockFlags */
    uint64_t offset; /* bytes */
    uint64_t bytes;  /* length; sum of iov for reads and writes */
    struct iovec *iov;
    int niov;
    void (*done)(BlockRequest *req, int ret); /* 0 or -errno; short transfers are resolved */
    AioContext *ctx;                          /* set by block_submit() */
    /* Private to the leaf backend: a request is in one engine at a time, so both share the space
     * and no engine allocates. */
    union {
        AioCqe cqe;
        WorkerJob job;
    } u;
    struct BlockBackend *leaf;
};

typedef struct BlockLimits {
    uint64_t size;          /* bytes; a regular file's is rounded up to 512, as QEMU's */
    uint32_t logical_block; /* bytes: 512..4096; request alignment under O_DIRECT */
    uint32_t max_iov;
    bool read_only, can_discard, can_write_zeroes;
    bool unlocked; /* locking was asked for, but the file system has no OFD locks */
} BlockLimits;

typedef struct BlockBackend BlockBackend;
/* Out-parameter err: a one-line message for people, BLOCK_ERR_SIZE bytes. NULL on failure, with
 * errno set (EAGAIN: the image is locked by another process). */
#define BLOCK_ERR_SIZE 256
typedef struct BlockOpenOptions {
    const char *filename;
    bool read_only;
    bool direct;     /* O_DIRECT */
    bool locking;    /* refuse a second writer, with QEMU's image-locking byte ranges */
    int aio;         /* enum BlockAio */
    bool no_flush;   /* cache=unsafe: flush completes at once */
    bool no_discard; /* do not offer discard */
} BlockOpenOptions;
enum BlockAio { BLOCK_AIO_IO_URING, BLOCK_AIO_THREADS };
BlockBackend *block_open_file(const BlockOpenOptions *opts, WorkerPool *pool, char *err);
/* Reads give zeroes, writes vanish; size in bytes. */
BlockBackend *block_open_null(uint64_t size, uint64_t latency_ns);
/* Filter: delays every request by delay_ns; every error_every-th request (0: none) fails with
 * error_errno (positive) without reaching the child. Owns child. */
BlockBackend *block_open_filter(BlockBackend *child, uint64_t delay_ns, uint64_t error_every,
                                int error_errno);
/* Owner: no request in flight. NULL is ignored. */
void block_close(BlockBackend *backend);

/* A filter's child belongs to the caller again; the filter is good for block_close() only. */
void block_release_child(BlockBackend *backend);
/* Flush, and wait for it in a nested event loop (bdrv_flush). The thread that owns ctx, outside its
 * handlers. 0 or -errno. */
int block_flush_wait(BlockBackend *backend, AioContext *ctx);

const BlockLimits *block_limits(const BlockBackend *backend);
const char *block_driver_name(const BlockBackend *backend); /* "file", "null", "filter" */
/* ctx's thread. A request outside the limits completes at once: -EIO out of range, -EPERM change
 * of a read-only backend, -EINVAL unknown operation or more than max_iov buffers. */
void block_submit(BlockBackend *backend, AioContext *ctx, BlockRequest *req);

/* ops and bytes count submissions, failed counts completions with an error (a filter's include
 * its child's). */
typedef struct BlockStats {
    uint64_t ops[BLOCK_OPS], bytes[BLOCK_OPS], failed[BLOCK_OPS]; /* by enum BlockOp */
} BlockStats;
void block_stats(const BlockBackend *backend, BlockStats *out); /* [any thread] */

#endif
