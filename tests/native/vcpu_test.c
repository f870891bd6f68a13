/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vCPUs of the qtest accelerator against a real device. */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <unistd.h>

#include "check.h"
#include "testing_virtio.h"
#include "vcpu_qtest.h"

#define BASE 0xfeb00000u
#define LATENCY_NS 1000000u

typedef struct Bench {
    TestingRig *rig;
    IoSpace *space;
    VmRequests *requests;
    VcpuSet *set;
    Vcpu *vcpu;
} Bench;

static void guest_resets_the_device(Vcpu *vcpu, void *opaque)
{
    qtest_write(vcpu, IO_MMIO, BASE + VIRTIO_MMIO_STATUS, 0, 4);
}

static Bench bench_new(QtestGuestFn *guest)
{
    TestingRigConfig config = {.placement = TESTING_MAINLOOP, .num_queues = 1, .queue_size = 16};
    Bench b = {.rig = testing_rig_new(&config, block_open_null(1 << 20, LATENCY_NS))};

    CHECK(b.rig);
    b.space = iospace_new(b.rig->bql);
    CHECK(iospace_add(b.space, IO_MMIO, BASE, VIRTIO_MMIO_REGION_SIZE, "blk", false,
                      virtio_mmio_ops(), b.rig->mmio) == 0);
    b.requests = vm_requests_new();
    b.set = vcpu_set_new(b.rig->bql, b.space, b.rig->mem, b.requests);
    vcpu_set_use_main_loop(b.set, b.rig->main_ctx);
    b.vcpu = vcpu_new(b.set, &vcpu_qtest_ops, 0, -1);
    CHECK(vcpu_qtest_setup(b.vcpu, guest, NULL) == 0);
    CHECK(vcpu_start(b.vcpu) == 0);
    return b;
}

static void bench_free(Bench *b)
{
    CHECK(vcpu_command(b->vcpu, VCPU_CMD_FINISH) == 0);
    vcpu_join(b->vcpu);
    vcpu_qtest_teardown(b->vcpu);
    vcpu_free(b->vcpu);
    vcpu_set_free(b->set);
    vm_requests_free(b->requests);
    iospace_free(b->space);
    testing_rig_free(b->rig);
}

/* A request in flight that only the main loop, this thread, can complete, and the vCPU waiting for
 * it inside the device: the transport is busy and hides its identity. */
static void let_the_guest_wait_in_its_reset(Bench *b)
{
    TestingRig *rig = b->rig;
    TestingBlkRequest read = {.gpa = rig->data_gpa, .len = 512, .device_writes = true};

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) & VIRTIO_CONFIG_S_DRIVER_OK);
    CHECK(testing_driver_add_blk(rig->driver, 0, &read) >= 0);
    CHECK(testing_driver_publish(rig->driver, 0));
    aio_poll(rig->main_ctx, false);
    CHECK(vcpu_command(b->vcpu, VCPU_CMD_RUN) == 0);
    while (virtio_mmio_read(rig->mmio, VIRTIO_MMIO_MAGIC_VALUE, 4) != 0) {
        bql_unlock(rig->bql);
        sched_yield();
        bql_lock(rig->bql);
    }
}

static void test_pausing_a_vcpu_that_drains_a_device_completes_its_requests(void)
{
    Bench b = bench_new(guest_resets_the_device);

    let_the_guest_wait_in_its_reset(&b);
    vcpu_pause_all(&b.vcpu, 1);
    CHECK(b.vcpu->stopped && b.vcpu->state == VCPU_PAUSED);
    CHECK(virtio_mmio_read(b.rig->mmio, VIRTIO_MMIO_STATUS, 4) == 0);
    bench_free(&b);
    puts("pausing a vCPU that drains a device completes its requests");
}

static void note_status(Vcpu *vcpu, void *opaque)
{
    *(int *)opaque = (int)vcpu->state;
}

static void test_work_for_a_vcpu_that_drains_a_device_is_done(void)
{
    Bench b = bench_new(guest_resets_the_device);
    int state = -1;

    let_the_guest_wait_in_its_reset(&b);
    CHECK(vcpu_run_on(b.vcpu, note_status, &state) == 0);
    CHECK(state == VCPU_RUNNING);
    bench_free(&b);
    puts("work for a vCPU that drains a device is done");
}

static void test_a_vcpu_that_drains_a_device_can_be_finished(void)
{
    Bench b = bench_new(guest_resets_the_device);

    let_the_guest_wait_in_its_reset(&b);
    bench_free(&b);
    puts("a vCPU that drains a device can be finished");
}

typedef struct Slow {
    Vcpu *vcpu;
    sem_t entered, go;
} Slow;

static uint64_t slow_read(void *opaque, uint64_t offset, unsigned size)
{
    Slow *slow = opaque;

    sem_post(&slow->entered);
    sem_wait(&slow->go);
    return 42;
}

static void *caller(void *opaque)
{
    Slow *slow = opaque;

    CHECK(qtest_access(slow->vcpu, IO_PIO, false, 0x100, 0, 4) == 42);
    return NULL;
}

static void test_a_vcpu_is_not_freed_under_the_caller_of_an_access(void)
{
    static const IoRegionOps ops = {.read = slow_read};
    Bench b = bench_new(NULL);
    Slow slow = {.vcpu = b.vcpu};
    pthread_t thread;

    sem_init(&slow.entered, 0, 0);
    sem_init(&slow.go, 0, 0);
    CHECK(iospace_add(b.space, IO_PIO, 0x100, 4, "slow", true, &ops, &slow) == 0);
    CHECK(pthread_create(&thread, NULL, caller, &slow) == 0);
    CHECK(vcpu_command(b.vcpu, VCPU_CMD_RUN) == 0);
    bql_unlock(b.rig->bql);
    sem_wait(&slow.entered);
    bql_lock(b.rig->bql);
    sem_post(&slow.go);
    bench_free(&b); /* while the caller is on its way out */
    pthread_join(thread, NULL);
    sem_destroy(&slow.entered);
    sem_destroy(&slow.go);
}

int main(void)
{
    alarm(60); /* a deadlock is a failure, not a hang */
    test_pausing_a_vcpu_that_drains_a_device_completes_its_requests();
    test_work_for_a_vcpu_that_drains_a_device_is_done();
    test_a_vcpu_that_drains_a_device_can_be_finished();
    for (int i = 0; i < 50; i++) {
        test_a_vcpu_is_not_freed_under_the_caller_of_an_access();
    }
    puts("a vCPU is not freed under the caller of an access");
    return 0;
}
