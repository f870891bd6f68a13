/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A complete virtio-blk set-up for tests. */
#include "testing_virtio.h"

#include <stdlib.h>
#include <string.h>

#define RAM_BYTES (16u << 20)
#define MAX_QUEUES 16u

static void raise_line(void *opaque)
{
    TestingRig *rig = opaque;

    atomic_fetch_add(&rig->raises, 1);
    aio_notify(rig->main_ctx);
}

static void complain(void *opaque, const char *message)
{
    TestingRig *rig = opaque;

    (void)message;
    atomic_fetch_add(&rig->complaints, 1);
}

static bool make_contexts(TestingRig *rig)
{
    AioConfig main_config = {.ring = rig->config.ring};
    AioConfig io_config = {.ring = rig->config.ring, .poll_max_ns = rig->config.poll_max_ns};
    int iothreads = rig->config.placement == TESTING_TWO_IOTHREADS ? 2
                    : rig->config.placement == TESTING_IOTHREAD    ? 1
                                                                   : 0;

    rig->main_ctx = aio_context_new(&main_config);
    for (int i = 0; rig->main_ctx && i < iothreads; i++) {
        rig->iothreads[i] = iothread_new(i ? "test1" : "test0", &io_config, -1, NULL);
        if (!rig->iothreads[i]) {
            return false;
        }
    }
    return rig->main_ctx != NULL;
}

static AioContext *context_of(const TestingRig *rig, unsigned queue)
{
    switch (rig->config.placement) {
    case TESTING_IOTHREAD:
        return iothread_context(rig->iothreads[0]);
    case TESTING_TWO_IOTHREADS:
        return iothread_context(rig->iothreads[queue % 2]);
    default:
        return rig->main_ctx;
    }
}

static bool make_device(TestingRig *rig)
{
    VirtioIrqConfig irq = {
        .mode = rig->config.irq_mode,
        .main_ctx = rig->main_ctx,
        .raise = raise_line,
        .opaque = rig,
    };
    AioContext *ctx[MAX_QUEUES];

    for (unsigned i = 0; i < rig->config.num_queues && i < MAX_QUEUES; i++) {
        ctx[i] = context_of(rig, i);
    }
    rig->irq = virtio_irq_new(&irq);
    VirtioBlkConfig blk = {
        .device = {.mem = rig->mem,
                   .bql = rig->bql,
                   .main_ctx = rig->main_ctx,
                   .irq = rig->irq,
                   .num_queues = rig->config.num_queues,
                   .queue_size = rig->config.queue_size,
                   .log = complain,
                   .log_opaque = rig},
        .backend = rig->backend,
        .ctx = ctx,
        .ioeventfd = rig->config.placement != TESTING_VCPU,
        .write_cache = rig->config.write_cache,
        .discard = true,
    };
    memcpy(blk.serial, TESTING_RIG_SERIAL, sizeof(blk.serial));
    rig->blk = rig->irq ? virtio_blk_new(&blk) : NULL;
    rig->mmio = rig->blk ? virtio_mmio_new(virtio_blk_device(rig->blk)) : NULL;
    return rig->mmio != NULL;
}

static bool make_driver(TestingRig *rig)
{
    rig->driver = testing_driver_new(rig->mem, rig->mmio, rig->bql, 0, rig->config.num_queues,
                                     rig->config.queue_size);
    if (!rig->driver) {
        return false;
    }
    for (unsigned i = 0; i < rig->config.num_queues; i++) {
        testing_driver_set_notifier(rig->driver, i, virtio_blk_host_notifier(rig->blk, i));
    }
    rig->data_gpa = testing_driver_end_gpa(rig->driver);
    rig->data_bytes = RAM_BYTES - rig->data_gpa;
    return rig->config.irq_mode != VIRTIO_IRQ_IRQFD ||
           testing_driver_attach_irq(rig->driver, rig->main_ctx, rig->irq) == 0;
}

TestingRig *testing_rig_new(const TestingRigConfig *config, BlockBackend *backend)
{
    TestingRig *rig = backend && config->num_queues <= MAX_QUEUES ? calloc(1, sizeof(*rig)) : NULL;

    if (!rig) {
        block_close(backend);
        return NULL;
    }
    rig->config = *config;
    rig->backend = backend;
    rig->mem = guest_memory_new();
    rig->bql = bql_new(NULL, NULL);
    if (rig->bql) {
        bql_lock(rig->bql);
    }
    if (!rig->bql || !rig->mem || guest_memory_add_ram(rig->mem, 0, RAM_BYTES) < 0 ||
        !make_contexts(rig) || !make_device(rig) || !make_driver(rig)) {
        testing_rig_free(rig);
        return NULL;
    }
    return rig;
}

void testing_rig_free(TestingRig *rig)
{
    if (!rig) {
        return;
    }
    if (rig->driver && rig->config.irq_mode == VIRTIO_IRQ_IRQFD) {
        testing_driver_detach_irq(rig->driver);
    }
    testing_driver_free(rig->driver);
    virtio_mmio_free(rig->mmio);
    virtio_blk_free(rig->blk);
    virtio_irq_free(rig->irq);
    for (int i = 0; i < 2; i++) {
        if (rig->iothreads[i]) {
            iothread_free(rig->iothreads[i]);
        }
    }
    block_close(rig->backend);
    aio_context_free(rig->main_ctx);
    guest_memory_free(rig->mem);
    if (rig->bql) {
        bql_unlock(rig->bql);
        bql_free(rig->bql);
    }
    free(rig);
}

void testing_rig_wait(TestingRig *rig, unsigned queue, uint64_t *cookie, uint32_t *len)
{
    while (!testing_driver_take(rig->driver, queue, cookie, len)) {
        aio_poll(rig->main_ctx, true);
    }
}

int testing_rig_request(TestingRig *rig, unsigned queue, const TestingBlkRequest *req,
                        uint32_t *used_len)
{
    uint64_t cookie;

    if (testing_driver_add_blk(rig->driver, queue, req) < 0) {
        return -1;
    }
    testing_driver_publish(rig->driver, queue);
    testing_rig_wait(rig, queue, &cookie, used_len);
    return cookie == req->gpa ? testing_driver_blk_status(rig->driver, req->gpa, req->len) : -1;
}

TestingDriver *testing_rig_driver(TestingRig *rig)
{
    return rig->driver;
}

const GuestMemory *testing_rig_memory(TestingRig *rig)
{
    return rig->mem;
}

VirtioBlk *testing_rig_blk(TestingRig *rig)
{
    return rig->blk;
}

AioContext *testing_rig_context(TestingRig *rig, unsigned place)
{
    return place == 0 ? rig->main_ctx : iothread_context(rig->iothreads[place - 1]);
}

uint64_t testing_rig_data_gpa(const TestingRig *rig)
{
    return rig->data_gpa;
}

uint64_t testing_rig_complaints(const TestingRig *rig)
{
    return atomic_load(&rig->complaints);
}
