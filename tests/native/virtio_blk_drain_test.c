/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk: drains that meet each other, and a device that waits for its reset. */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"
#include "testing_virtio.h"

#define LATENCY_NS 20000000u
#define SLOTS 4u /* requests in flight on a queue */
#define SECOND_NS 1000000000u

static TestingRig *rig_new(uint64_t latency_ns)
{
    TestingRigConfig config = {
        .placement = TESTING_IOTHREAD,
        .irq_mode = VIRTIO_IRQ_CALLBACK,
        .num_queues = 2,
        .queue_size = 16,
        .poll_max_ns = SECOND_NS,
    };
    TestingRig *rig = testing_rig_new(&config, block_open_null(1 << 20, latency_ns));

    CHECK(rig);
    return rig;
}

static void add_read(TestingRig *rig, unsigned queue, unsigned slot)
{
    TestingBlkRequest read = {
        .gpa = rig->data_gpa + (queue * SLOTS + slot) * 4096, .len = 512, .device_writes = true};

    CHECK(testing_driver_add_blk(rig->driver, queue, &read) >= 0);
    testing_driver_publish(rig->driver, queue);
}

static void nothing(void *opaque)
{
}

static void *reset_as_a_vcpu(void *opaque)
{
    TestingRig *rig = opaque;

    testing_driver_write(rig->driver, VIRTIO_MMIO_STATUS, 0, 4);
    return NULL;
}

/* Queue 0 is the main loop's, queue 1 the iothread's, both busy. The vCPU's reset waits for queue 0
 * without the BQL; a drain in the main loop comes in between, and both then wait for queue 1. */
static void test_two_drains_of_one_iothread_queue_both_end(void)
{
    TestingRig *rig = rig_new(LATENCY_NS);
    pthread_t vcpu;

    virtio_blk_drain_begin(rig->blk);
    CHECK(virtio_blk_set_context(rig->blk, 0, rig->main_ctx) == 0);
    virtio_blk_drain_end(rig->blk);
    CHECK(testing_driver_start(rig->driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
    add_read(rig, 0, 0);
    add_read(rig, 1, 0);
    aio_poll(rig->main_ctx, false);
    aio_run_in_context(iothread_context(rig->iothreads[0]), nothing, NULL);
    CHECK(pthread_create(&vcpu, NULL, reset_as_a_vcpu, rig) == 0);
    while (testing_driver_read(rig->driver, VIRTIO_MMIO_MAGIC_VALUE, 4) != 0) {
        bql_unlock(rig->bql);
        sched_yield();
        bql_lock(rig->bql);
    }
    virtio_blk_drain_begin(rig->blk);
    virtio_blk_drain_end(rig->blk);
    bql_unlock(rig->bql);
    pthread_join(vcpu, NULL);
    bql_lock(rig->bql);
    CHECK(testing_driver_read(rig->driver, VIRTIO_MMIO_STATUS, 4) == 0);
    testing_rig_free(rig);
    puts("two drains of one iothread queue both end");
}

static uint64_t iterations(const TestingRig *rig)
{
    AioStats stats;

    aio_stats(iothread_context(rig->iothreads[0]), &stats);
    return stats.iterations;
}

static void test_a_broken_device_does_not_keep_its_iothread_polling(void)
{
    TestingRig *rig = rig_new(0);
    const TestingBuffer no_header = {.gpa = rig->data_gpa, .len = 1};
    uint64_t cookie;
    uint32_t len;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
    for (int i = 0; i < 20; i++) { /* until the iothread has learnt to poll */
        add_read(rig, 1, 0);
        testing_rig_wait(rig, 1, &cookie, &len);
    }
    CHECK(testing_driver_add(rig->driver, 0, &no_header, 1, false, 0) >= 0);
    testing_driver_publish(rig->driver, 0);
    while (!virtio_device_is_broken(virtio_blk_device(rig->blk))) {
        sched_yield();
    }
    add_read(rig, 1, 0);
    testing_driver_kick(rig->driver, 1);
    aio_run_in_context(iothread_context(rig->iothreads[0]), nothing, NULL);
    uint64_t before = iterations(rig);
    usleep(20000); /* a window to watch, not a wait: nothing has to happen in it */
    CHECK(iterations(rig) - before < 100);
    testing_rig_free(rig);
    puts("a broken device does not keep its iothread polling");
}

typedef struct Storm {
    TestingRig *rig;
    _Atomic bool over;
} Storm;

/* One vCPU: starts the device, fills its queues and resets it with all of that in flight. */
static void *start_and_reset(void *opaque)
{
    Storm *storm = opaque;
    TestingDriver *driver = storm->rig->driver;

    for (int round = 0; round < 100; round++) {
        CHECK(testing_driver_start(driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
        for (unsigned i = 0; i < 2 * SLOTS; i++) {
            add_read(storm->rig, i % 2, i / 2);
        }
        testing_driver_write(driver, VIRTIO_MMIO_STATUS, 0, 4);
        CHECK(testing_driver_read(driver, VIRTIO_MMIO_STATUS, 4) == 0);
    }
    atomic_store(&storm->over, true);
    aio_notify(storm->rig->main_ctx);
    return NULL;
}

/* Another: kicks queues that are running, stopped, or not there, and reads what it can. */
static void *kick_and_look(void *opaque)
{
    Storm *storm = opaque;
    TestingDriver *driver = storm->rig->driver;

    for (unsigned i = 0; !atomic_load(&storm->over); i++) {
        testing_driver_kick(driver, i % 2);
        testing_driver_write(driver, VIRTIO_MMIO_QUEUE_NOTIFY, i % 4, 4);
        (void)testing_driver_read(driver, VIRTIO_MMIO_CONFIG, 4);
        testing_driver_write(driver, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX, 4);
    }
    return NULL;
}

static void test_resets_kicks_and_drains_do_not_disturb_each_other(int placement, int irq_mode)
{
    TestingRigConfig config = {.placement = placement,
                               .irq_mode = irq_mode,
                               .num_queues = 2,
                               .queue_size = 32,
                               .poll_max_ns = 20000};
    Storm storm = {.rig = testing_rig_new(&config, block_open_null(1 << 20, 20000))};
    pthread_t threads[2];

    CHECK(storm.rig);
    CHECK(pthread_create(&threads[0], NULL, start_and_reset, &storm) == 0);
    CHECK(pthread_create(&threads[1], NULL, kick_and_look, &storm) == 0);
    while (!atomic_load(&storm.over)) {
        bql_unlock(storm.rig->bql);
        aio_wait(storm.rig->main_ctx, 100000);
        bql_lock(storm.rig->bql);
        aio_dispatch(storm.rig->main_ctx);
        virtio_blk_drain_begin(storm.rig->blk);
        virtio_blk_drain_end(storm.rig->blk);
    }
    bql_unlock(storm.rig->bql);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    bql_lock(storm.rig->bql);
    CHECK(atomic_load(&storm.rig->complaints) == 0);
    testing_rig_free(storm.rig);
    printf("resets, kicks and drains do not disturb each other: placement %d\n", placement);
}

int main(void)
{
    alarm(60); /* a deadlock is a failure, not a hang */
    test_two_drains_of_one_iothread_queue_both_end();
    test_a_broken_device_does_not_keep_its_iothread_polling();
    test_resets_kicks_and_drains_do_not_disturb_each_other(TESTING_VCPU, VIRTIO_IRQ_MAINLOOP);
    test_resets_kicks_and_drains_do_not_disturb_each_other(TESTING_MAINLOOP, VIRTIO_IRQ_CALLBACK);
    test_resets_kicks_and_drains_do_not_disturb_each_other(TESTING_IOTHREAD, VIRTIO_IRQ_MAINLOOP);
    test_resets_kicks_and_drains_do_not_disturb_each_other(TESTING_TWO_IOTHREADS,
                                                           VIRTIO_IRQ_CALLBACK);
    return 0;
}
