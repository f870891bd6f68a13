/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The delaying and failing filter: puts a slow or a faulty disk under a guest. It delays before
 * it forwards, and the child then completes straight to the submitter, so that no request passes
 * through the filter twice.
 */
#include "block_internal.h"

#include <stdlib.h>

typedef struct BlockFilter {
    BlockBackend base;
    uint64_t delay_ns;
    uint64_t error_every; /* 0: never */
    int error_errno;
    _Atomic uint64_t seen; /* relaxed: only the count matters */
} BlockFilter;

static void filter_forward(BlockBackend *backend, BlockRequest *req)
{
    block_submit(backend->child, req->ctx, req);
}

static void filter_fail(BlockBackend *backend, BlockRequest *req)
{
    block_complete(backend, req, -((BlockFilter *)backend)->error_errno);
}

static void filter_submit(BlockBackend *backend, BlockRequest *req)
{
    BlockFilter *filter = (BlockFilter *)backend;
    uint64_t nth = atomic_fetch_add_explicit(&filter->seen, 1, memory_order_relaxed) + 1;
    bool fail = filter->error_every && nth % filter->error_every == 0;
    BlockDelayedFn *next = fail ? filter_fail : filter_forward;

    if (filter->delay_ns)
        block_delay(backend, req, filter->delay_ns, next);
    else
        next(backend, req);
}

static void filter_close(BlockBackend *backend)
{
    free(backend);
}

static const BlockOps filter_ops = {
    .name = "filter",
    .submit = filter_submit,
    .close = filter_close,
};

BlockBackend *block_open_filter(BlockBackend *child, uint64_t delay_ns, uint64_t error_every,
                                int error_errno)
{
    BlockFilter *filter = calloc(1, sizeof(*filter));

    if (!filter)
        return NULL;
    filter->base.ops = &filter_ops;
    filter->base.limits = *block_limits(child);
    filter->base.child = child;
    filter->delay_ns = delay_ns;
    filter->error_every = error_every;
    filter->error_errno = error_errno;
    return &filter->base;
}
