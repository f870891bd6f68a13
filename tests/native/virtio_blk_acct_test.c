/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What query-blockstats is told: requests by type and end, their bytes, times and histograms. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "testing_virtio.h"

#define DISK_BYTES (1u << 20)
#define SECTORS (DISK_BYTES / 512)
#define DELAY_NS 1000000u

static TestingRig *rig_new(int placement, BlockBackend *backend)
{
    TestingRigConfig config = {
        .placement = placement,
        .irq_mode = VIRTIO_IRQ_IRQFD,
        .num_queues = 1,
        .queue_size = 64,
        .ring = true,
        .write_cache = true,
    };
    TestingRig *rig = testing_rig_new(&config, backend);

    CHECK(rig);
    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    return rig;
}

static int request(TestingRig *rig, uint32_t type, uint64_t sector, uint32_t len)
{
    TestingBlkRequest req = {
        .type = type,
        .sector = sector,
        .gpa = rig->data_gpa,
        .len = len,
        .device_writes = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID,
    };
    uint32_t used;

    return testing_rig_request(rig, 0, &req, &used);
}

/* The driver sees a request done before it is counted: afterwards nothing is in flight. */
static VirtioBlkAcct account(TestingRig *rig, unsigned type)
{
    VirtioBlkAcct acct;

    virtio_blk_drain_begin(rig->blk);
    virtio_blk_acct(rig->blk, 0, type, &acct);
    virtio_blk_drain_end(rig->blk);
    return acct;
}

static void set_boundaries(TestingRig *rig, unsigned type, const uint64_t *ticks, unsigned count)
{
    virtio_blk_drain_begin(rig->blk);
    CHECK(virtio_blk_set_boundaries(rig->blk, type, ticks, count) == 0);
    virtio_blk_drain_end(rig->blk);
}

static void test_every_type_has_an_account_of_its_own(void)
{
    static const struct virtio_blk_discard_write_zeroes range = {.num_sectors = 4};

    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        BlockBackend *null = block_open_null(DISK_BYTES, DELAY_NS);
        TestingRig *rig = rig_new(placement, null);

        for (int i = 0; i < 3; i++) {
            CHECK(request(rig, VIRTIO_BLK_T_IN, 8, 1024) == VIRTIO_BLK_S_OK);
        }
        CHECK(request(rig, VIRTIO_BLK_T_OUT, 16, 512) == VIRTIO_BLK_S_OK);
        CHECK(request(rig, VIRTIO_BLK_T_FLUSH, 0, 0) == VIRTIO_BLK_S_OK);
        CHECK(request(rig, VIRTIO_BLK_T_GET_ID, 0, 20) == VIRTIO_BLK_S_OK);
        memcpy(guest_memory_ptr(rig->mem, rig->data_gpa + 16, 1), &range, sizeof(range));
        CHECK(request(rig, VIRTIO_BLK_T_DISCARD, 0, 16) == VIRTIO_BLK_S_OK);
        CHECK(request(rig, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16) == VIRTIO_BLK_S_OK);

        VirtioBlkAcct acct = account(rig, VIRTIO_BLK_ACCT_READ);
        CHECK(acct.operations == 3 && acct.bytes == 3072 && acct.highest_offset == 10 * 512);
        CHECK(acct.ticks >= UINT64_C(3) * DELAY_NS); /* without a recorder ticks are ns */
        CHECK(acct.failed == 0 && acct.invalid == 0);
        acct = account(rig, VIRTIO_BLK_ACCT_WRITE);
        CHECK(acct.operations == 2 && acct.bytes == 512 + 4 * 512);
        CHECK(acct.highest_offset == 17 * 512);
        CHECK(account(rig, VIRTIO_BLK_ACCT_FLUSH).operations == 1);
        acct = account(rig, VIRTIO_BLK_ACCT_UNMAP);
        CHECK(acct.operations == 1 && acct.bytes == 4 * 512);
        testing_rig_free(rig);
    }
    puts("every type has an account of its own");
}

static void test_failed_and_invalid_requests_are_counted_apart(void)
{
    BlockBackend *null = block_open_null(DISK_BYTES, 0);
    TestingRig *rig = rig_new(TESTING_IOTHREAD, block_open_filter(null, DELAY_NS, 2, EIO));

    CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_OK);
    CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, VIRTIO_BLK_T_IN, SECTORS, 512) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, VIRTIO_BLK_T_OUT, UINT64_MAX, 512) == VIRTIO_BLK_S_IOERR);
    CHECK(request(rig, 77, 0, 512) == VIRTIO_BLK_S_UNSUPP);

    VirtioBlkAcct acct = account(rig, VIRTIO_BLK_ACCT_READ);
    CHECK(acct.operations == 1 && acct.failed == 1 && acct.invalid == 1 && acct.bytes == 512);
    CHECK(acct.ticks >= UINT64_C(2) * DELAY_NS);
    acct = account(rig, VIRTIO_BLK_ACCT_WRITE);
    CHECK(acct.operations == 0 && acct.invalid == 1 && acct.ticks == 0);
    testing_rig_free(rig);
    puts("failed and invalid requests are counted apart");
}

static void test_a_histogram_has_each_request_in_its_bin(void)
{
    static const uint64_t low[] = {DELAY_NS / 2, UINT64_C(1) << 62};
    static const uint64_t high[] = {1, 2, 3};
    static const uint64_t falling[] = {2, 1};

    for (int placement = TESTING_VCPU; placement <= TESTING_TWO_IOTHREADS; placement++) {
        TestingRig *rig = rig_new(placement, block_open_null(DISK_BYTES, DELAY_NS));

        CHECK(virtio_blk_set_boundaries(rig->blk, VIRTIO_BLK_ACCT_READ, low, 2) == -EINVAL);
        CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_OK);
        set_boundaries(rig, VIRTIO_BLK_ACCT_READ, low, 2);
        CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_OK);
        CHECK(request(rig, VIRTIO_BLK_T_OUT, 0, 512) == VIRTIO_BLK_S_OK);
        VirtioBlkAcct acct = account(rig, VIRTIO_BLK_ACCT_READ);
        CHECK(acct.bins[0] == 0 && acct.bins[1] == 1 && acct.bins[2] == 0);
        CHECK(account(rig, VIRTIO_BLK_ACCT_WRITE).bins[0] == 0);
        set_boundaries(rig, VIRTIO_BLK_ACCT_READ, high, 3); /* begins anew */
        CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_OK);
        acct = account(rig, VIRTIO_BLK_ACCT_READ);
        CHECK(acct.bins[1] == 0 && acct.bins[3] == 1 && acct.operations == 3);
        virtio_blk_drain_begin(rig->blk);
        CHECK(virtio_blk_set_boundaries(rig->blk, VIRTIO_BLK_ACCT_READ, falling, 2) == -EINVAL);
        CHECK(virtio_blk_set_boundaries(rig->blk, VIRTIO_BLK_ACCT_TYPES, high, 3) == -EINVAL);
        CHECK(virtio_blk_set_boundaries(rig->blk, VIRTIO_BLK_ACCT_READ, high,
                                        VIRTIO_BLK_ACCT_BOUNDARIES + 1) == -EINVAL);
        virtio_blk_drain_end(rig->blk);
        set_boundaries(rig, VIRTIO_BLK_ACCT_READ, NULL, 0);
        CHECK(request(rig, VIRTIO_BLK_T_IN, 0, 512) == VIRTIO_BLK_S_OK);
        CHECK(account(rig, VIRTIO_BLK_ACCT_READ).bins[0] == 0);
        virtio_blk_acct(rig->blk, 1, VIRTIO_BLK_ACCT_READ, &acct); /* no such queue */
        CHECK(acct.operations == 0);
        testing_rig_free(rig);
    }
    puts("a histogram has each request in its bin");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    test_every_type_has_an_account_of_its_own();
    test_failed_and_invalid_requests_are_counted_apart();
    test_a_histogram_has_each_request_in_its_bin();
    return 0;
}
