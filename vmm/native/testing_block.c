/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testing_block.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096 };

struct BlockTestRig {
    AioContext *ctx;
    WorkerPool *pool;
    int pending;
};

typedef struct TestRequest {
    BlockRequest req;
    BlockTestRig *rig;
    BlockTestOp *op;
    char *pages;
} TestRequest;

BlockTestRig *block_test_rig_new(bool ring)
{
    AioConfig config = {.ring = ring};
    BlockTestRig *rig = calloc(1, sizeof(*rig));

    if (!rig)
        return NULL;
    rig->ctx = aio_context_new(&config);
    rig->pool = worker_pool_new(4, 1000000000, NULL);
    if (rig->ctx && rig->pool)
        return rig;
    if (rig->pool)
        worker_pool_free(rig->pool);
    if (rig->ctx)
        aio_context_free(rig->ctx);
    free(rig);
    return NULL;
}

void block_test_rig_free(BlockTestRig *rig)
{
    worker_pool_free(rig->pool);
    aio_context_free(rig->ctx);
    free(rig);
}

bool block_test_rig_has_ring(const BlockTestRig *rig)
{
    return aio_has_ring(rig->ctx);
}

WorkerPool *block_test_rig_pool(BlockTestRig *rig)
{
    return rig->pool;
}

static void done(BlockRequest *req, int ret)
{
    TestRequest *test = (TestRequest *)req;
    BlockTestOp *op = test->op;

    if (op->op == BLOCK_READ && ret == 0)
        memcpy(op->data, test->pages + op->misalign, op->bytes);
    op->ret = ret;
    if (op->completions++ == 0)
        test->rig->pending--;
}

static void build(BlockTestRig *rig, BlockTestOp *op, TestRequest *test)
{
    bool transfer = op->op == BLOCK_READ || op->op == BLOCK_WRITE;
    uint64_t bytes = transfer ? op->bytes : 0;
    uint64_t cut = op->cut ? op->cut : bytes;
    int niov = cut ? (int)((bytes + cut - 1) / cut) : 0;
    char *data;

    *test = (TestRequest){.rig = rig, .op = op};
    test->pages = aligned_alloc(PAGE, (op->misalign + bytes + PAGE) & ~(uint64_t)(PAGE - 1));
    data = test->pages + op->misalign;
    if (op->op == BLOCK_WRITE)
        memcpy(data, op->data, bytes);
    else
        memset(data, 0xa5, bytes);
    test->req = (BlockRequest){
        .op = (enum BlockOp)op->op,
        .flags = op->flags,
        .offset = op->offset,
        .bytes = op->bytes,
        .niov = niov,
        .iov = calloc((size_t)niov + 1, sizeof(struct iovec)),
        .done = done,
    };
    for (int i = 0; i < niov; i++) {
        uint64_t at = (uint64_t)i * cut;

        test->req.iov[i] = (struct iovec){data + at, bytes - at < cut ? bytes - at : cut};
    }
}

void block_test_run(BlockTestRig *rig, BlockBackend *backend, BlockTestOp *ops, int count)
{
    TestRequest *tests = calloc((size_t)count, sizeof(*tests));

    rig->pending = count;
    for (int i = 0; i < count; i++) {
        ops[i].completions = 0;
        build(rig, &ops[i], &tests[i]);
    }
    aio_batch_begin(rig->ctx);
    for (int i = 0; i < count; i++)
        block_submit(backend, rig->ctx, &tests[i].req);
    aio_batch_end(rig->ctx);
    while (rig->pending)
        aio_poll(rig->ctx, true);
    for (int i = 0; i < count; i++) {
        free(tests[i].req.iov);
        free(tests[i].pages);
    }
    free(tests);
}
