/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk: queues that move between the main loop and two iothreads while a driver in a thread
 * of its own keeps them busy, or resets the device. What is submitted completes exactly once.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "check.h"
#include "testing_virtio.h"

#define QUEUES 2u
#define SLOTS 8u /* requests in flight on a queue */
#define PLACES 3u
#define MOVES 300u
#define RESETS 60u
#define SLOT_BYTES 4096u

typedef struct Load {
    TestingRig *rig;
    _Atomic bool over;          /* main loop to driver: submit nothing more; and back: ended */
    _Atomic uint64_t completed; /* by the driver */
    bool in_flight[QUEUES][SLOTS];
} Load;

static TestingRig *rig_new(int irq_mode, uint64_t poll_max_ns)
{
    TestingRigConfig config = {.placement = TESTING_TWO_IOTHREADS,
                               .irq_mode = irq_mode,
                               .num_queues = QUEUES,
                               .queue_size = 32,
                               .poll_max_ns = poll_max_ns};
    TestingRig *rig = testing_rig_new(&config, block_open_null(1 << 20, 30000));

    CHECK(rig);
    return rig;
}

static uint64_t slot_gpa(const TestingRig *rig, unsigned queue, unsigned slot)
{
    return rig->data_gpa + (queue * SLOTS + slot) * SLOT_BYTES;
}

static void submit(Load *load, unsigned queue, unsigned slot)
{
    TestingBlkRequest read = {
        .gpa = slot_gpa(load->rig, queue, slot), .len = 512, .device_writes = true};

    CHECK(!load->in_flight[queue][slot]);
    load->in_flight[queue][slot] = true;
    CHECK(testing_driver_add_blk(load->rig->driver, queue, &read) >= 0);
}

/* Take what has completed; true if something had. */
static bool reap(Load *load, unsigned queue)
{
    TestingRig *rig = load->rig;
    uint64_t cookie, taken = 0;
    uint32_t len;

    while (testing_driver_take(rig->driver, queue, &cookie, &len)) {
        unsigned slot = (unsigned)((cookie - slot_gpa(rig, queue, 0)) / SLOT_BYTES);

        CHECK(slot < SLOTS && load->in_flight[queue][slot]); /* not of another, not twice */
        CHECK(testing_driver_blk_status(rig->driver, cookie, 512) == 0 && len == 513);
        load->in_flight[queue][slot] = false;
        taken++;
        if (!atomic_load(&load->over)) {
            submit(load, queue, slot);
        }
    }
    if (taken) {
        testing_driver_publish(rig->driver, queue);
        atomic_fetch_add(&load->completed, taken);
        aio_notify(rig->main_ctx);
    }
    return taken > 0;
}

static bool idle(const Load *load)
{
    for (unsigned i = 0; i < QUEUES * SLOTS; i++) {
        if (load->in_flight[i / SLOTS][i % SLOTS]) {
            return false;
        }
    }
    return true;
}

static void *keep_busy(void *opaque)
{
    Load *load = opaque;

    for (unsigned i = 0; i < QUEUES * SLOTS; i++) {
        submit(load, i % QUEUES, i / QUEUES);
    }
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        testing_driver_publish(load->rig->driver, queue);
    }
    while (!atomic_load(&load->over) || !idle(load)) {
        for (unsigned queue = 0; queue < QUEUES; queue++) {
            (void)reap(load, queue);
        }
        usleep(10); /* two cores: let the others work; nothing depends on it */
    }
    return NULL;
}

static void run_main_loop(TestingRig *rig)
{
    bql_unlock(rig->bql);
    aio_wait(rig->main_ctx, 1000000);
    bql_lock(rig->bql);
    aio_dispatch(rig->main_ctx);
}

/* Both queues to where n says. False: a vCPU was in the middle of a drain of its own. */
static bool move(TestingRig *rig, unsigned n)
{
    bool moved = true;

    virtio_blk_drain_begin(rig->blk);
    for (unsigned queue = 0; queue < QUEUES && moved; queue++) {
        AioContext *ctx = testing_rig_context(rig, (n + queue * (n / PLACES)) % PLACES);
        int ret = virtio_blk_set_context(rig->blk, queue, ctx);

        CHECK(ret == 0 || (ret == -EBUSY && queue == 0));
        moved = ret == 0;
    }
    virtio_blk_drain_end(rig->blk);
    return moved;
}

static void test_moves_under_load_lose_and_double_nothing(int irq_mode, uint64_t poll_max_ns)
{
    Load load = {.rig = rig_new(irq_mode, poll_max_ns)};
    TestingRig *rig = load.rig;
    pthread_t driver;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
    CHECK(pthread_create(&driver, NULL, keep_busy, &load) == 0);
    for (unsigned n = 0; n < MOVES; n++) {
        uint64_t before = atomic_load(&load.completed);

        CHECK(move(rig, n));
        while (atomic_load(&load.completed) == before) {
            run_main_loop(rig);
        }
    }
    CHECK(move(rig, 1)); /* to the iothreads, which need no main loop to finish */
    CHECK(move(rig, 4));
    atomic_store(&load.over, true);
    bql_unlock(rig->bql);
    pthread_join(driver, NULL);
    bql_lock(rig->bql);
    CHECK(atomic_load(&rig->complaints) == 0);
    testing_rig_free(rig);
    printf("moves under load lose and double nothing: irq %d, poll %u ns\n", irq_mode,
           (unsigned)poll_max_ns);
}

/* A vCPU that starts the device, fills its queues and resets it with all of that in flight. */
static void *reset_and_fill(void *opaque)
{
    Load *load = opaque;
    TestingDriver *driver = load->rig->driver;

    for (unsigned round = 0; round < RESETS; round++) {
        CHECK(testing_driver_start(driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
        for (unsigned i = 0; i < QUEUES * SLOTS; i++) {
            load->in_flight[i % QUEUES][i / QUEUES] = false;
            submit(load, i % QUEUES, i / QUEUES);
            testing_driver_publish(driver, i % QUEUES);
        }
        testing_driver_kick(driver, round % QUEUES);
        testing_driver_write(driver, VIRTIO_MMIO_STATUS, 0, 4);
        CHECK(testing_driver_read(driver, VIRTIO_MMIO_STATUS, 4) == 0);
    }
    atomic_store(&load->over, true);
    aio_notify(load->rig->main_ctx);
    return NULL;
}

static void test_moves_and_resets_do_not_disturb_each_other(int irq_mode)
{
    Load load = {.rig = rig_new(irq_mode, 20000)};
    TestingRig *rig = load.rig;
    unsigned moved = 0;
    pthread_t vcpu;

    CHECK(pthread_create(&vcpu, NULL, reset_and_fill, &load) == 0);
    for (unsigned n = 0; !atomic_load(&load.over); n++) {
        run_main_loop(rig);
        moved += move(rig, n);
    }
    bql_unlock(rig->bql);
    pthread_join(vcpu, NULL);
    bql_lock(rig->bql);
    CHECK(moved > 0);
    CHECK(atomic_load(&rig->complaints) == 0);
    testing_rig_free(rig);
    printf("moves and resets do not disturb each other: irq %d\n", irq_mode);
}

static void test_a_move_outside_of_a_drain_or_within_two_is_refused(void)
{
    TestingRig *rig = rig_new(VIRTIO_IRQ_CALLBACK, 0);

    CHECK(virtio_blk_set_context(rig->blk, 0, rig->main_ctx) == -EINVAL);
    virtio_blk_drain_begin(rig->blk);
    CHECK(virtio_blk_set_context(rig->blk, QUEUES, rig->main_ctx) == -EINVAL);
    virtio_blk_drain_begin(rig->blk);
    CHECK(virtio_blk_set_context(rig->blk, 0, rig->main_ctx) == -EBUSY);
    virtio_blk_drain_end(rig->blk);
    CHECK(virtio_blk_set_context(rig->blk, 0, rig->main_ctx) == 0);
    virtio_blk_drain_end(rig->blk);
    testing_rig_free(rig);
    puts("a move outside of a drain or within two is refused");
}

int main(void)
{
    alarm(120); /* a deadlock is a failure, not a hang */
    test_a_move_outside_of_a_drain_or_within_two_is_refused();
    test_moves_under_load_lose_and_double_nothing(VIRTIO_IRQ_CALLBACK, 0);
    test_moves_under_load_lose_and_double_nothing(VIRTIO_IRQ_CALLBACK, 100000);
    test_moves_under_load_lose_and_double_nothing(VIRTIO_IRQ_MAINLOOP, 20000);
    test_moves_and_resets_do_not_disturb_each_other(VIRTIO_IRQ_CALLBACK);
    test_moves_and_resets_do_not_disturb_each_other(VIRTIO_IRQ_MAINLOOP);
    return 0;
}
