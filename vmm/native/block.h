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
enum BlockFlags { BLOCK_UNMAP = 1 /* write zeroes may deallocate */, BLOCK_FUA = 2 };

typedef struct BlockRequest BlockRequest;
struct BlockRequest {
    enum BlockOp op;
    unsigned flags;  /* enum BlockFlags */
    uint64_t offset; /* bytes */
    uint64_t bytes;  /* length; sum of iov for reads and writes */
    struct iovec *iov;
    int niov;
    void (*done)(BlockRequest *req, int ret); /* ret 0 or -errno; short transfers are resolved */
    AioContext *ctx;                          /* set by block_submit() */
    /* Private to the backends: one slot per layer would be an allocation per request, so the
     * two shapes that exist share it. */
    union {
        struct {
            AioCqe cqe;
            uint64_t progress;
        } uring;
        WorkerJob job;
    } u;
    struct iovec saved_iov; /* the iovec a short transfer is resuming in, restored before done() */
    void *backend;  /* leaf backend */
    void *filter;   /* private to a filter: its per-request state */
};

typedef struct BlockLimits {
    uint64_t size;          /* bytes */
    uint32_t logical_block; /* bytes: 512..4096; request alignment under O_DIRECT */
    uint32_t max_iov;
    bool read_only, can_discard, can_write_zeroes;
} BlockLimits;

typedef struct BlockBackend BlockBackend;
/* Out-parameter err: a one-line message for people, at least 256 bytes. NULL on failure. */
typedef struct BlockOpenOptions {
    const char *filename;
    bool read_only;
    bool direct;      /* O_DIRECT */
    bool locking;     /* refuse a second writer, with QEMU's image-locking byte ranges */
    int aio;          /* enum BlockAio */
    bool no_flush;    /* cache=unsafe: flush completes at once */
} BlockOpenOptions;
enum BlockAio { BLOCK_AIO_IO_URING, BLOCK_AIO_THREADS };
BlockBackend *block_open_file(const BlockOpenOptions *opts, WorkerPool *pool, char *err);
/* Reads give zeroes, writes vanish; size in bytes. */
BlockBackend *block_open_null(uint64_t size, uint64_t latency_ns);
/* Filter: delays every request by delay_ns; every error_every-th request (0: none) fails with
 * error_errno (positive) without reaching the child. Owns child. */
BlockBackend *block_open_filter(BlockBackend *child, uint64_t delay_ns, uint64_t error_every,
                                int error_errno);
/* Owner: no request in flight. */
void block_close(BlockBackend *backend);

const BlockLimits *block_limits(const BlockBackend *backend);
const char *block_driver_name(const BlockBackend *backend); /* "file", "null", "filter" */
void block_submit(BlockBackend *backend, AioContext *ctx, BlockRequest *req);

typedef struct BlockStats {
    uint64_t ops[5], bytes[5], failed[5]; /* by enum BlockOp */
} BlockStats;
void block_stats(const BlockBackend *backend, BlockStats *out); /* [any thread] */

#endif
