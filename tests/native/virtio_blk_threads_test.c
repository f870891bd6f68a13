/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk with a guest in a thread of its own: the races that one thread cannot show. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "block_internal.h"
#include "check.h"
#include "testing_virtio.h"

#define DISK_BYTES (1u << 20)
#define DEPTH 8u

static const char *const placement_names[] = {"vcpu", "mainloop", "iothread", "two iothreads"};

static TestingRig *rig_new(int placement, int irq_mode, BlockBackend *backend)
{
    TestingRigConfig config = {
        .placement = placement,
        .irq_mode = irq_mode,
        .num_queues = 2,
        .queue_size = 32,
        .ring = true,
        .poll_max_ns = 20000,
        .write_cache = true,
    };
    TestingRig *rig = testing_rig_new(&config, backend);

    CHECK(rig);
    return rig;
}

typedef struct Guest {
    TestingRig *rig;
    unsigned rounds; /* 0: until stop */
    _Atomic bool stop, done;
    _Atomic uint64_t completed;
} Guest;

static void add_read(TestingRig *rig, unsigned queue, unsigned slot)
{
    TestingBlkRequest req = {
        .type = VIRTIO_BLK_T_IN,
        .sector = slot,
        .gpa = rig->data_gpa + (queue * DEPTH + slot) * 1024u,
        .len = 512,
        .device_writes = true,
    };

    CHECK(testing_driver_add_blk(rig->driver, queue, &req) >= 0);
}

/* Keep DEPTH requests in flight on a queue; the number completed. */
static void pump(Guest *guest, unsigned queue)
{
    TestingDriver *driver = guest->rig->driver;
    uint64_t cookie, added = DEPTH, taken = 0;
    uint32_t len;

    for (unsigned slot = 0; slot < DEPTH; slot++) {
        add_read(guest->rig, queue, slot);
    }
    testing_driver_publish(driver, queue);
    while (taken < added) {
        if (!testing_driver_take(driver, queue, &cookie, &len)) {
            sched_yield();
            continue;
        }
        CHECK(len == 513);
        taken++;
        atomic_fetch_add(&guest->completed, 1);
        bool more = guest->rounds ? added < guest->rounds : !atomic_load(&guest->stop);
        if (more) {
            add_read(guest->rig, queue, (unsigned)((cookie - guest->rig->data_gpa) / 1024 % DEPTH));
            testing_driver_publish(driver, queue);
            added++;
        }
    }
}

static void *vcpu_life(void *opaque)
{
    Guest *guest = opaque;
    TestingDriver *driver = guest->rig->driver;

    for (int life = 0; life < 2; life++) {
        CHECK(testing_driver_start(driver, UINT64_MAX) == 0xf);
        pump(guest, 0);
        pump(guest, 1);
    }
    testing_driver_reset(driver);
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_STATUS, 4) == 0);
    atomic_store(&guest->done, true);
    aio_notify(guest->rig->main_ctx);
    return NULL;
}

/* The main loop as it is: the BQL released around the wait only. */
static void run_main_loop(TestingRig *rig, const Guest *guest)
{
    while (!atomic_load(&guest->done)) {
        bql_unlock(rig->bql);
        aio_wait(rig->main_ctx, -1);
        bql_lock(rig->bql);
        aio_dispatch(rig->main_ctx);
    }
}

static void test_a_vcpu_thread_starts_uses_and_resets_the_disk(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        for (int irq_mode = VIRTIO_IRQ_IRQFD; irq_mode <= VIRTIO_IRQ_CALLBACK; irq_mode++) {
            TestingRig *rig = rig_new(placement, irq_mode, block_open_null(DISK_BYTES, 0));
            Guest guest = {.rig = rig, .rounds = 307};
            VirtioBlkStats stats[2];
            pthread_t thread;

            CHECK(pthread_create(&thread, NULL, vcpu_life, &guest) == 0);
            run_main_loop(rig, &guest);
            pthread_join(thread, NULL);
            virtio_blk_stats(rig->blk, 0, &stats[0]);
            virtio_blk_stats(rig->blk, 1, &stats[1]);
            CHECK(stats[0].requests == 2 * 307 && stats[1].requests == 2 * 307);
            CHECK(atomic_load(&guest.completed) == 4 * 307);
            testing_rig_free(rig);
        }
        printf("a vCPU thread starts, uses and resets the disk: %s\n", placement_names[placement]);
    }
}

static void *greedy_life(void *opaque)
{
    pump(opaque, 0);
    return NULL;
}

/* A guest that refills the ring as fast as it empties must not keep an iothread for itself. */
static void test_a_greedy_guest_cannot_hold_up_a_drain(void)
{
    TestingRig *rig = rig_new(TESTING_IOTHREAD, VIRTIO_IRQ_IRQFD, block_open_null(DISK_BYTES, 0));
    Guest guest = {.rig = rig};
    pthread_t thread;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    CHECK(pthread_create(&thread, NULL, greedy_life, &guest) == 0);
    for (int i = 0; i < 97; i++) {
        uint64_t seen = atomic_load(&guest.completed);

        virtio_blk_drain_begin(rig->blk);
        VirtioBlkStats before, after;
        virtio_blk_stats(rig->blk, 0, &before);
        sched_yield();
        virtio_blk_stats(rig->blk, 0, &after);
        CHECK(after.requests == before.requests);
        virtio_blk_drain_end(rig->blk);
        while (atomic_load(&guest.completed) < seen + 40) { /* it goes on after each drain */
            sched_yield();
        }
    }
    atomic_store(&guest.stop, true);
    pthread_join(thread, NULL);
    testing_rig_free(rig);
    puts("a greedy guest cannot hold up a drain");
}

/* A backend that remembers what it was asked. */
typedef struct SpyBackend {
    BlockBackend base;
    enum BlockOp op;
    unsigned flags;
    uint64_t offset, bytes;
    int result;
} SpyBackend;

static void spy_submit(BlockBackend *backend, BlockRequest *req)
{
    SpyBackend *spy = (SpyBackend *)backend;

    spy->op = req->op;
    spy->flags = req->flags;
    spy->offset = req->offset;
    spy->bytes = req->bytes;
    block_complete(backend, req, spy->result);
}

static void spy_close(BlockBackend *backend)
{
    free(backend);
}

static SpyBackend *spy_new(void)
{
    static const BlockOps ops = {.name = "spy", .submit = spy_submit, .close = spy_close};
    SpyBackend *spy = calloc(1, sizeof(*spy));

    CHECK(spy);
    spy->base.ops = &ops;
    spy->base.limits = (BlockLimits){.size = DISK_BYTES,
                                     .logical_block = 512,
                                     .max_iov = 1024,
                                     .can_discard = true,
                                     .can_write_zeroes = true};
    return spy;
}

static int request(TestingRig *rig, uint32_t type, uint64_t sector, uint32_t len)
{
    TestingBlkRequest req = {.type = type,
                             .sector = sector,
                             .gpa = rig->data_gpa,
                             .len = len,
                             .device_writes = type == VIRTIO_BLK_T_IN};
    uint32_t used;

    return testing_rig_request(rig, 0, &req, &used);
}

static void test_the_backend_is_asked_exactly_what_the_driver_wants(void)
{
    SpyBackend *spy = spy_new();
    TestingRig *rig = rig_new(TESTING_MAINLOOP, VIRTIO_IRQ_IRQFD, &spy->base);
    struct virtio_blk_discard_write_zeroes range = {.sector = 5, .num_sectors = 7, .flags = 1};

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    CHECK(request(rig, VIRTIO_BLK_T_OUT, 9, 1024) == VIRTIO_BLK_S_OK);
    CHECK(spy->op == BLOCK_WRITE && spy->offset == 9 * 512 && spy->bytes == 1024);
    CHECK(spy->flags == 0); /* the cache is volatile */
    testing_driver_write(rig->driver, VIRTIO_MMIO_CONFIG + 32, 0, 1);
    CHECK(request(rig, VIRTIO_BLK_T_OUT, 9, 1024) == VIRTIO_BLK_S_OK);
    CHECK(spy->flags == BLOCK_FUA); /* write-through */
    CHECK(guest_memory_write(rig->mem, rig->data_gpa + 16, &range, sizeof(range)) == 0);
    CHECK(request(rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16) == VIRTIO_BLK_S_OK);
    CHECK(spy->op == BLOCK_WRITE_ZEROES && spy->flags == (BLOCK_FUA | BLOCK_UNMAP));
    CHECK(spy->offset == 5 * 512 && spy->bytes == 7 * 512);
    CHECK(request(rig, VIRTIO_BLK_T_FLUSH, 0, 0) == VIRTIO_BLK_S_OK && spy->op == BLOCK_FLUSH);
    spy->result = -EOPNOTSUPP;
    CHECK(request(rig, VIRTIO_BLK_T_FLUSH, 0, 0) == VIRTIO_BLK_S_UNSUPP);
    spy->result = -ENOSPC;
    CHECK(request(rig, VIRTIO_BLK_T_OUT, 0, 512) == VIRTIO_BLK_S_IOERR);
    testing_rig_free(rig);
    puts("the backend is asked exactly what the driver wants");
}

/* A backend that completes at once, and a guest that has the next request ready by then. */
typedef struct Refiller {
    SpyBackend spy;
    TestingRig *rig;
    unsigned left;
} Refiller;

static void refill_submit(BlockBackend *backend, BlockRequest *req)
{
    Refiller *refiller = (Refiller *)backend;
    uint64_t cookie;
    uint32_t len;

    block_complete(backend, req, 0);
    CHECK(testing_driver_take(refiller->rig->driver, 0, &cookie, &len));
    if (refiller->left > 0) {
        refiller->left--;
        add_read(refiller->rig, 0, 0);
        testing_driver_publish(refiller->rig->driver, 0);
    }
}

static void test_one_run_of_a_queue_is_bounded(void)
{
    static const BlockOps ops = {.name = "refill", .submit = refill_submit, .close = spy_close};
    Refiller *refiller = calloc(1, sizeof(*refiller));
    VirtioBlkStats stats = {0};

    CHECK(refiller);
    refiller->spy.base.ops = &ops;
    refiller->spy.base.limits =
        (BlockLimits){.size = DISK_BYTES, .logical_block = 512, .max_iov = 1024};
    refiller->left = 1000;
    TestingRig *rig = rig_new(TESTING_MAINLOOP, VIRTIO_IRQ_IRQFD, &refiller->spy.base);
    refiller->rig = rig;
    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    add_read(rig, 0, 0);
    testing_driver_publish(rig->driver, 0);
    for (uint64_t before = 0; stats.requests < 1001; before = stats.requests) {
        aio_poll(rig->main_ctx, true);
        virtio_blk_stats(rig->blk, 0, &stats);
        CHECK(stats.requests <= before + 4 * 32);
    }
    testing_rig_free(rig);
    puts("one run of a queue is bounded");
}

static void test_a_queue_moves_between_contexts_while_it_runs(void)
{
    TestingRig *rig =
        rig_new(TESTING_TWO_IOTHREADS, VIRTIO_IRQ_IRQFD, block_open_null(DISK_BYTES, 0));
    AioContext *homes[] = {rig->main_ctx, iothread_context(rig->iothreads[0]),
                           iothread_context(rig->iothreads[1])};
    uint64_t cookie;
    uint32_t len;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    CHECK(virtio_blk_set_context(rig->blk, 0, homes[0]) == -EINVAL); /* not drained */
    for (unsigned i = 0; i < 60; i++) {
        add_read(rig, 0, 0);
        testing_driver_publish(rig->driver, 0);
        virtio_blk_drain_begin(rig->blk);
        CHECK(virtio_blk_set_context(rig->blk, 0, homes[i % 3]) == 0);
        virtio_blk_drain_end(rig->blk);
        testing_rig_wait(rig, 0, &cookie, &len);
    }
    testing_rig_free(rig);
    puts("a queue moves between contexts while it runs");
}

static void test_the_write_cache_follows_driver_and_features(void)
{
    const unsigned wce = VIRTIO_MMIO_CONFIG + 32;
    TestingRig *rig = rig_new(TESTING_MAINLOOP, VIRTIO_IRQ_IRQFD, block_open_null(DISK_BYTES, 0));
    uint64_t no_flush = UINT64_C(1) << VIRTIO_BLK_F_FLUSH | UINT64_C(1) << VIRTIO_BLK_F_CONFIG_WCE;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    CHECK(testing_driver_read(rig->driver, wce, 1) == 1);
    testing_driver_write(rig->driver, wce, 0, 1);
    CHECK(testing_driver_read(rig->driver, wce, 1) == 0);
    testing_driver_reset(rig->driver);
    CHECK(testing_driver_read(rig->driver, wce, 1) == 1);
    CHECK(testing_driver_start(rig->driver, ~no_flush) == 0xf);
    CHECK(testing_driver_read(rig->driver, wce, 1) == 0);
    testing_driver_write(rig->driver, wce, 1, 1); /* without the feature */
    CHECK(testing_driver_read(rig->driver, wce, 1) == 0);
    testing_rig_free(rig);
    puts("the write cache follows driver and features");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    test_a_vcpu_thread_starts_uses_and_resets_the_disk();
    test_a_greedy_guest_cannot_hold_up_a_drain();
    test_the_backend_is_asked_exactly_what_the_driver_wants();
    test_one_run_of_a_queue_is_bounded();
    test_a_queue_moves_between_contexts_while_it_runs();
    test_the_write_cache_follows_driver_and_features();
    return 0;
}
