/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Dispatch to the backends, the checks common to all of them, and statistics. */
#include "block_internal.h"

#include <errno.h>
#include <string.h>

static int check_request(const BlockLimits *limits, const BlockRequest *req)
{
    if (req->op == BLOCK_FLUSH)
        return 0;
    if (req->bytes > limits->size || req->offset > limits->size - req->bytes)
        return -EIO;
    if (req->op == BLOCK_READ || req->op == BLOCK_WRITE) {
        if (req->niov < 0 || (unsigned)req->niov > limits->max_iov)
            return -EINVAL;
    }
    return req->op != BLOCK_READ && limits->read_only ? -EPERM : 0;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void block_submit(BlockBackend *backend, AioContext *ctx, BlockRequest *req)
{
    int ret;

    req->ctx = ctx;
    if ((unsigned)req->op >= BLOCK_OPS) {
        req->done(req, -EINVAL);
        return;
    }
    count(&backend->counters.ops[req->op], 1);
    if (req->op != BLOCK_FLUSH)
        count(&backend->counters.bytes[req->op], req->bytes);
    ret = check_request(&backend->limits, req);
    if (ret)
        block_complete(backend, req, ret);
    else
        backend->ops->submit(backend, req);
}

void block_complete(BlockBackend *backend, BlockRequest *req, int ret)
{
    if (ret < 0)
        count(&backend->counters.failed[req->op], 1);
    req->done(req, ret);
}

void block_close(BlockBackend *backend)
{
    while (backend) {
        BlockBackend *child = backend->child;

        backend->ops->close(backend);
        backend = child;
    }
}

void block_release_child(BlockBackend *backend)
{
    backend->child = NULL;
}

typedef struct FlushWait {
    BlockRequest req;
    bool done;
    int ret;
} FlushWait;

static void flush_done(BlockRequest *req, int ret)
{
    FlushWait *wait = block_container_of(req, FlushWait, req);

    wait->ret = ret;
    wait->done = true;
}

int block_flush_wait(BlockBackend *backend, AioContext *ctx)
{
    FlushWait wait = {.req = {.op = BLOCK_FLUSH, .done = flush_done}};

    block_submit(backend, ctx, &wait.req);
    while (!wait.done)
        aio_poll(ctx, true);
    return wait.ret;
}

const BlockLimits *block_limits(const BlockBackend *backend)
{
    return &backend->limits;
}

const char *block_driver_name(const BlockBackend *backend)
{
    return backend->ops->name;
}

void block_stats(const BlockBackend *backend, BlockStats *out)
{
    memset(out, 0, sizeof(*out));
    for (int op = 0; op < BLOCK_OPS; op++) {
        out->ops[op] = atomic_load_explicit(&backend->counters.ops[op], memory_order_relaxed);
        out->bytes[op] = atomic_load_explicit(&backend->counters.bytes[op], memory_order_relaxed);
        /* A child completes straight to the submitter: its failures are its parents' too. */
        for (const BlockBackend *b = backend; b; b = b->child)
            out->failed[op] += atomic_load_explicit(&b->counters.failed[op], memory_order_relaxed);
    }
}
