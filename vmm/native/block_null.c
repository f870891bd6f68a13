/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The null backend: no storage, so that an experiment measures everything but storage. */
#include "block_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct BlockNull {
    BlockBackend base;
    uint64_t latency_ns;
} BlockNull;

static void null_finish(BlockBackend *backend, BlockRequest *req)
{
    if (req->op == BLOCK_READ) {
        for (int i = 0; i < req->niov; i++)
            memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
    }
    block_complete(backend, req, 0);
}

static void null_submit(BlockBackend *backend, BlockRequest *req)
{
    BlockNull *null = (BlockNull *)backend;

    if (null->latency_ns)
        block_delay(backend, req, null->latency_ns, null_finish);
    else
        null_finish(backend, req);
}

static void null_close(BlockBackend *backend)
{
    free(backend);
}

static const BlockOps null_ops = {
    .name = "null",
    .submit = null_submit,
    .close = null_close,
};

BlockBackend *block_open_null(uint64_t size, uint64_t latency_ns)
{
    BlockNull *null = calloc(1, sizeof(*null));

    if (!null)
        return NULL;
    null->base.ops = &null_ops;
    null->base.limits = (BlockLimits){
        .size = size,
        .logical_block = 512,
        .max_iov = IOV_MAX,
        .can_discard = true,
        .can_write_zeroes = true,
    };
    null->latency_ns = latency_ns;
    return &null->base;
}
