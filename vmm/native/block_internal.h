/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the block backends share with block.c and with nobody else. */
#ifndef VMM_NATIVE_BLOCK_INTERNAL_H
#define VMM_NATIVE_BLOCK_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>

#include "block.h"

#define block_container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* All members are mandatory. */
typedef struct BlockOps {
    const char *name;
    /* req is within the limits and req->ctx is set. Ends in exactly one block_complete(). */
    void (*submit)(BlockBackend *backend, BlockRequest *req);
    /* Frees the backend, but not its child. */
    void (*close)(BlockBackend *backend);
} BlockOps;

/* Relaxed throughout: counters order nothing, and a reader that sees one early loses nothing. */
typedef struct BlockCounters {
    _Atomic uint64_t ops[BLOCK_OPS], bytes[BLOCK_OPS], failed[BLOCK_OPS];
} BlockCounters;

/* First member of every backend's own structure. */
struct BlockBackend {
    const BlockOps *ops;
    BlockLimits limits;
    BlockBackend *child; /* NULL in a leaf */
    BlockCounters counters;
};

/* Count and call done(); req belongs to its owner again, so it must not be touched afterwards. */
void block_complete(BlockBackend *backend, BlockRequest *req, int ret);

/* Call fn(backend, req) in req->ctx after delay_ns, or complete with -ENOMEM. */
typedef void BlockDelayedFn(BlockBackend *backend, BlockRequest *req);
void block_delay(BlockBackend *backend, BlockRequest *req, uint64_t delay_ns, BlockDelayedFn *fn);

#endif
