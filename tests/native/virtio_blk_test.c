/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "testing_virtio.h"

#define DISK_BYTES (1u << 20)
#define SECTORS (DISK_BYTES / 512)
#define ALL UINT64_MAX
#define NO_EVENT_IDX (~(UINT64_C(1) << 29))
#define MS 1000000u

static const char *const placement_names[] = {"vcpu", "mainloop", "iothread", "two iothreads"};

static WorkerPool *pool_new(void)
{
    WorkerPool *pool = worker_pool_new(2, 100 * MS, NULL);

    CHECK(pool);
    return pool;
}

static BlockBackend *disk_new(WorkerPool *pool, bool read_only)
{
    char path[] = "/tmp/virtio-blk-test-XXXXXX", err[BLOCK_ERR_SIZE];
    int fd = mkstemp(path);

    CHECK(fd >= 0 && ftruncate(fd, DISK_BYTES) == 0);
    BlockOpenOptions opts = {.filename = path, .read_only = read_only};
    BlockBackend *backend = block_open_file(&opts, pool, err);
    CHECK(backend);
    close(fd);
    unlink(path);
    return backend;
}

static TestingRig *rig_new(int placement, int irq_mode, unsigned queues, BlockBackend *backend)
{
    TestingRigConfig config = {
        .placement = placement,
        .irq_mode = irq_mode,
        .num_queues = queues,
        .queue_size = 64,
        .ring = true,
        .poll_max_ns = 10000,
        .write_cache = true,
    };
    TestingRig *rig = testing_rig_new(&config, backend);

    CHECK(rig);
    return rig;
}

static void start(TestingRig *rig, uint64_t features)
{
    CHECK(testing_driver_start(rig->driver, features) == 0xf);
}

static int request(TestingRig *rig, unsigned queue, uint32_t type, uint64_t sector, uint32_t len,
                   uint32_t piece, uint32_t *used)
{
    TestingBlkRequest req = {
        .type = type,
        .sector = sector,
        .gpa = rig->data_gpa,
        .len = len,
        .device_writes = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID,
        .piece = piece,
        .indirect = piece != 0,
    };
    uint32_t ignored;

    return testing_rig_request(rig, queue, &req, used ? used : &ignored);
}

static uint8_t *data(TestingRig *rig)
{
    return guest_memory_ptr(rig->mem, rig->data_gpa + 16, 1);
}

static void exercise(TestingRig *rig, unsigned queue, uint32_t piece)
{
    uint32_t used;

    memset(data(rig), 0x5a, 2048);
    CHECK(request(rig, queue, VIRTIO_BLK_T_OUT, 3, 2048, piece, &used) == VIRTIO_BLK_S_OK);
    CHECK(used == 1);
    memset(data(rig), 0, 4096);
    CHECK(request(rig, queue, VIRTIO_BLK_T_FLUSH, 0, 0, piece, &used) == VIRTIO_BLK_S_OK);
    CHECK(request(rig, queue, VIRTIO_BLK_T_IN, 2, 4096, piece ? piece * 2 : 0, &used) ==
          VIRTIO_BLK_S_OK);
    CHECK(used == 4097);
    CHECK(data(rig)[511] == 0 && data(rig)[512] == 0x5a && data(rig)[2559] == 0x5a);
    CHECK(request(rig, queue, VIRTIO_BLK_T_GET_ID, 0, 20, piece, &used) == VIRTIO_BLK_S_OK);
    CHECK(used == 21 && memcmp(data(rig), TESTING_RIG_SERIAL, 20) == 0);
    CHECK(request(rig, queue, 99, 0, 0, piece, NULL) == VIRTIO_BLK_S_UNSUPP);
    struct virtio_blk_discard_write_zeroes range = {.sector = 3, .num_sectors = 2};
    memcpy(data(rig), &range, sizeof(range));
    CHECK(request(rig, queue, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, piece, NULL) == VIRTIO_BLK_S_OK);
    CHECK(request(rig, queue, VIRTIO_BLK_T_DISCARD, 0, 16, piece, NULL) == VIRTIO_BLK_S_OK);
    CHECK(request(rig, queue, VIRTIO_BLK_T_IN, 3, 2048, 0, &used) == VIRTIO_BLK_S_OK);
    CHECK(data(rig)[1023] == 0 && data(rig)[1024] == 0x5a);
}

static void test_every_request_works_in_every_placement(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        for (int irq_mode = VIRTIO_IRQ_IRQFD; irq_mode <= VIRTIO_IRQ_CALLBACK; irq_mode++) {
            WorkerPool *pool = pool_new();
            TestingRig *rig = rig_new(placement, irq_mode, 2, disk_new(pool, false));

            start(rig, ALL);
            exercise(rig, 0, 0);
            exercise(rig, 1, 100); /* indirect, cut where no boundary is */
            testing_driver_reset(rig->driver);
            start(rig, NO_EVENT_IDX);
            exercise(rig, 1, 0);
            CHECK(virtio_irq_count(rig->irq) > 0);
            CHECK((atomic_load(&rig->raises) > 0) == (irq_mode != VIRTIO_IRQ_IRQFD));
            testing_rig_free(rig);
            worker_pool_free(pool);
        }
        printf("every request works: %s\n", placement_names[placement]);
    }
}

static void test_bad_requests_get_an_error_and_do_nothing(void)
{
    WorkerPool *pool = pool_new();
    TestingRig *rig = rig_new(TESTING_MAINLOOP, VIRTIO_IRQ_IRQFD, 1, disk_new(pool, false));
    struct virtio_blk_discard_write_zeroes range = {.sector = SECTORS - 1, .num_sectors = 2};
    uint32_t used;

    start(rig, ALL);
    CHECK(request(rig, 0, VIRTIO_BLK_T_IN, SECTORS, 512, 0, &used) == VIRTIO_BLK_S_IOERR);
    CHECK(used == 0);
    CHECK(request(rig, 0, VIRTIO_BLK_T_IN, SECTORS - 1, 1024, 0, NULL) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, 0, VIRTIO_BLK_T_IN, UINT64_MAX, 512, 0, NULL) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, 0, VIRTIO_BLK_T_OUT, 0, 511, 0, NULL) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, 0, VIRTIO_BLK_T_IN, 0, 0, 0, NULL) == VIRTIO_BLK_S_OK);
    memcpy(data(rig), &range, sizeof(range));
    CHECK(request(rig, 0, VIRTIO_BLK_T_DISCARD, 0, 16, 0, NULL) == VIRTIO_BLK_S_IOERR);
    range = (struct virtio_blk_discard_write_zeroes){.num_sectors = 1, .flags = 1};
    memcpy(data(rig), &range, sizeof(range));
    CHECK(request(rig, 0, VIRTIO_BLK_T_DISCARD, 0, 16, 0, NULL) == VIRTIO_BLK_S_UNSUPP);
    CHECK(request(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, NULL) == VIRTIO_BLK_S_OK);
    range.flags = 2;
    memcpy(data(rig), &range, sizeof(range));
    CHECK(request(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 0, NULL) == VIRTIO_BLK_S_UNSUPP);
    CHECK(request(rig, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0, NULL) == VIRTIO_BLK_S_UNSUPP);
    VirtioBlkStats stats;
    virtio_blk_stats(rig->blk, 0, &stats);
    CHECK(stats.requests == 10 && stats.errors == 8);
    BlockStats asked;
    block_stats(rig->backend, &asked);
    CHECK(asked.ops[BLOCK_READ] == 0 && asked.ops[BLOCK_WRITE] == 0);
    CHECK(asked.ops[BLOCK_DISCARD] == 0 && asked.ops[BLOCK_WRITE_ZEROES] == 1);
    testing_rig_free(rig);

    rig = rig_new(TESTING_MAINLOOP, VIRTIO_IRQ_IRQFD, 1, disk_new(pool, true));
    start(rig, ALL);
    CHECK(request(rig, 0, VIRTIO_BLK_T_OUT, 0, 512, 0, NULL) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, 0, NULL) == VIRTIO_BLK_S_OK);
    testing_rig_free(rig);
    worker_pool_free(pool);
    puts("bad requests get an error and do nothing");
}

static void test_a_failing_disk_is_an_io_error(void)
{
    BlockBackend *null = block_open_null(DISK_BYTES, 0);
    TestingRig *rig =
        rig_new(TESTING_IOTHREAD, VIRTIO_IRQ_IRQFD, 1, block_open_filter(null, 0, 3, EIO));

    start(rig, ALL);
    for (int i = 1; i <= 9; i++) {
        int want = i % 3 == 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;

        CHECK(request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, 0, NULL) == want);
    }
    testing_rig_free(rig);
    puts("a failing disk is an I/O error");
}

static int add_read(TestingRig *rig, unsigned queue, unsigned slot)
{
    TestingBlkRequest req = {
        .type = VIRTIO_BLK_T_IN,
        .gpa = rig->data_gpa + slot * 4096u,
        .len = 512,
        .device_writes = true,
    };

    return testing_driver_add_blk(rig->driver, queue, &req);
}

/* After reset nothing may write into guest memory any more, and all requests are accounted. */
static void check_quiet_after_reset(TestingRig *rig, uint64_t popped)
{
    VirtioBlkStats stats;
    uint8_t *before = malloc(1 << 20);
    void *ram = guest_memory_ptr(rig->mem, 0, 1 << 20);

    CHECK(before);
    CHECK(testing_driver_read(rig->driver, VIRTIO_MMIO_STATUS, 4) == 0);
    memset(guest_memory_ptr(rig->mem, rig->data_gpa, 4096 * 20), 0xee, 4096 * 20);
    memcpy(before, ram, 1 << 20);
    virtio_blk_stats(rig->blk, 0, &stats);
    CHECK(stats.requests == popped);
    int64_t until = aio_now_ns() + 10 * MS;
    while (aio_now_ns() < until) {
        aio_poll(rig->main_ctx, false);
    }
    CHECK(memcmp(before, ram, 1 << 20) == 0);
    free(before);
}

static void test_reset_waits_for_requests_in_flight(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        BlockBackend *null = block_open_null(DISK_BYTES, 0);
        TestingRig *rig =
            rig_new(placement, VIRTIO_IRQ_IRQFD, 2, block_open_filter(null, 3 * MS, 0, 0));
        BlockStats stats;

        start(rig, ALL);
        for (unsigned i = 0; i < 17; i++) {
            CHECK(add_read(rig, 0, i) >= 0);
        }
        testing_driver_publish(rig->driver, 0);
        do { /* until the backend has them all */
            aio_poll(rig->main_ctx, false);
            block_stats(rig->backend, &stats);
        } while (stats.ops[BLOCK_READ] < 17);
        testing_driver_reset(rig->driver);
        check_quiet_after_reset(rig, 17);
        start(rig, ALL);
        CHECK(request(rig, 1, VIRTIO_BLK_T_IN, 0, 512, 0, NULL) == VIRTIO_BLK_S_OK);
        testing_rig_free(rig);
    }
    puts("reset waits for requests in flight");
}

typedef struct Vcpu {
    TestingRig *rig;
    _Atomic bool done;
} Vcpu;

static void *vcpu_reset(void *opaque)
{
    Vcpu *vcpu = opaque;

    testing_driver_reset(vcpu->rig->driver); /* takes the BQL, as an exit does */
    CHECK(testing_driver_read(vcpu->rig->driver, VIRTIO_MMIO_STATUS, 4) == 0);
    atomic_store(&vcpu->done, true);
    aio_notify(vcpu->rig->main_ctx);
    return NULL;
}

static void test_a_vcpu_resets_while_the_main_loop_completes(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_IOTHREAD; placement++) {
        BlockBackend *null = block_open_null(DISK_BYTES, 0);
        TestingRig *rig =
            rig_new(placement, VIRTIO_IRQ_MAINLOOP, 1, block_open_filter(null, 5 * MS, 0, 0));
        Vcpu vcpu = {.rig = rig};
        BlockStats stats;
        pthread_t thread;

        start(rig, ALL);
        for (unsigned i = 0; i < 13; i++) {
            CHECK(add_read(rig, 0, i) >= 0);
        }
        testing_driver_publish(rig->driver, 0);
        do {
            aio_poll(rig->main_ctx, false);
            block_stats(rig->backend, &stats);
        } while (stats.ops[BLOCK_READ] < 13);
        CHECK(pthread_create(&thread, NULL, vcpu_reset, &vcpu) == 0);
        while (!atomic_load(&vcpu.done)) { /* the main loop, as it is */
            bql_unlock(rig->bql);
            aio_wait(rig->main_ctx, -1);
            bql_lock(rig->bql);
            aio_dispatch(rig->main_ctx);
        }
        pthread_join(thread, NULL);
        check_quiet_after_reset(rig, 13);
        testing_rig_free(rig);
    }
    puts("a vCPU resets while the main loop completes");
}

static void test_four_queues_on_two_iothreads_lose_nothing(void)
{
    enum { QUEUES = 4, ROUNDS = 501, DEPTH = 8 };
    TestingRig *rig =
        rig_new(TESTING_TWO_IOTHREADS, VIRTIO_IRQ_IRQFD, QUEUES, block_open_null(DISK_BYTES, 0));
    VirtioBlkStats stats;
    uint64_t cookie;
    uint32_t len;

    start(rig, ALL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned q = 0; q < QUEUES; q++) {
            for (unsigned i = 0; i < DEPTH; i++) {
                CHECK(add_read(rig, q, q * DEPTH + i) >= 0);
            }
            testing_driver_publish(rig->driver, q);
        }
        for (unsigned q = 0; q < QUEUES; q++) {
            for (unsigned i = 0; i < DEPTH; i++) {
                testing_rig_wait(rig, q, &cookie, &len);
                CHECK(len == 513);
            }
        }
    }
    for (unsigned q = 0; q < QUEUES; q++) {
        virtio_blk_stats(rig->blk, q, &stats);
        CHECK(stats.requests == ROUNDS * DEPTH && stats.errors == 0);
        CHECK(stats.read_bytes == ROUNDS * DEPTH * UINT64_C(512));
    }
    testing_rig_free(rig);
    puts("four queues on two iothreads lose nothing");
}

static void test_a_malformed_request_asks_for_a_reset(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_IOTHREAD; placement++) {
        TestingRig *rig = rig_new(placement, VIRTIO_IRQ_IRQFD, 1, block_open_null(DISK_BYTES, 0));
        TestingBuffer no_status = {rig->data_gpa, 16, false};

        start(rig, ALL);
        CHECK(testing_driver_add(rig->driver, 0, &no_status, 1, false, 0) >= 0);
        testing_driver_publish(rig->driver, 0);
        while (!(virtio_irq_status(rig->irq) & VIRTIO_IRQ_CONFIG)) {
            aio_poll(rig->main_ctx, placement != TESTING_VCPU);
        }
        uint32_t status = testing_driver_read(rig->driver, VIRTIO_MMIO_STATUS, 4);
        CHECK(status == (0xf | VIRTIO_CONFIG_S_NEEDS_RESET));
        CHECK(testing_rig_complaints(rig) == 1);
        CHECK(testing_driver_read(rig->driver, VIRTIO_MMIO_CONFIG_GENERATION, 4) == 1);
        start(rig, ALL);
        CHECK(request(rig, 0, VIRTIO_BLK_T_IN, 0, 512, 0, NULL) == VIRTIO_BLK_S_OK);
        testing_rig_free(rig);
    }
    puts("a malformed request asks for a reset");
}

static void test_a_drained_disk_takes_nothing(void)
{
    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        TestingRig *rig = rig_new(placement, VIRTIO_IRQ_IRQFD, 1, block_open_null(DISK_BYTES, 0));
        VirtioBlkStats before, after;
        uint64_t cookie;
        uint32_t len;

        start(rig, ALL);
        virtio_blk_drain_begin(rig->blk);
        virtio_blk_drain_begin(rig->blk);
        virtio_blk_stats(rig->blk, 0, &before);
        CHECK(add_read(rig, 0, 0) >= 0);
        testing_driver_publish(rig->driver, 0);
        testing_driver_kick(rig->driver, 0);
        virtio_blk_drain_end(rig->blk);
        for (int i = 0; i < 20; i++) {
            aio_poll(rig->main_ctx, false);
        }
        virtio_blk_stats(rig->blk, 0, &after);
        CHECK(after.requests == before.requests);
        CHECK(!testing_driver_take(rig->driver, 0, &cookie, &len));
        virtio_blk_drain_end(rig->blk);
        testing_rig_wait(rig, 0, &cookie, &len);
        testing_rig_free(rig);
    }
    puts("a drained disk takes nothing");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    test_every_request_works_in_every_placement();
    test_bad_requests_get_an_error_and_do_nothing();
    test_a_failing_disk_is_an_io_error();
    test_reset_waits_for_requests_in_flight();
    test_a_vcpu_resets_while_the_main_loop_completes();
    test_four_queues_on_two_iothreads_lose_nothing();
    test_a_malformed_request_asks_for_a_reset();
    test_a_drained_disk_takes_nothing();
    return 0;
}
