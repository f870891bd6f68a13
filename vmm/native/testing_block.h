/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Test support: run batches of block requests to completion in the calling thread. */
#ifndef VMM_NATIVE_TESTING_BLOCK_H
#define VMM_NATIVE_TESTING_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"

typedef struct BlockTestOp {
    int op;         /* enum BlockOp */
    unsigned flags; /* enum BlockFlags */
    uint64_t offset, bytes;
    char *data;        /* bytes long: source of a write, target of a read */
    uint32_t misalign; /* memory offset of the request's buffer from a page boundary */
    uint32_t cut;      /* length of its iovecs; 0: one iovec */
    int ret;           /* out: as given to done() */
    int completions;   /* out: calls of done() */
} BlockTestOp;

/* An AioContext and a worker pool for one thread. ring: with io_uring, if the kernel has it. */
typedef struct BlockTestRig BlockTestRig;
BlockTestRig *block_test_rig_new(bool ring);
void block_test_rig_free(BlockTestRig *rig);
bool block_test_rig_has_ring(const BlockTestRig *rig);
WorkerPool *block_test_rig_pool(BlockTestRig *rig);
/* Submit all ops in one batch and wait for all of them. */
void block_test_run(BlockTestRig *rig, BlockBackend *backend, BlockTestOp *ops, int count);

#endif
