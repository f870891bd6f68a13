/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "check.h"
#include "testing_virtio.h"

#define BIT(n) (UINT64_C(1) << (n))

static TestingRig *rig_new(void)
{
    TestingRigConfig config = {
        .placement = TESTING_MAINLOOP, .num_queues = 2, .queue_size = 16, .write_cache = true};
    TestingRig *rig = testing_rig_new(&config, block_open_null(1 << 20, 0));

    CHECK(rig);
    return rig;
}

static uint32_t rd(TestingRig *rig, uint64_t offset)
{
    return testing_driver_read(rig->driver, offset, 4);
}

static void wr(TestingRig *rig, uint64_t offset, uint32_t value)
{
    testing_driver_write(rig->driver, offset, value, 4);
}

static uint64_t offered(TestingRig *rig)
{
    wr(rig, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    uint64_t features = (uint64_t)rd(rig, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
    wr(rig, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    return features | rd(rig, VIRTIO_MMIO_DEVICE_FEATURES);
}

static void take(TestingRig *rig, uint64_t features)
{
    for (uint32_t half = 0; half < 2; half++) {
        wr(rig, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        wr(rig, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * half)));
    }
}

static void test_identity_and_features(void)
{
    TestingRig *rig = rig_new();

    CHECK(rd(rig, VIRTIO_MMIO_MAGIC_VALUE) == 0x74726976);
    CHECK(rd(rig, VIRTIO_MMIO_VERSION) == 2);
    CHECK(rd(rig, VIRTIO_MMIO_DEVICE_ID) == 2);
    CHECK(offered(rig) ==
          (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
           BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_BLK_F_SEG_MAX) |
           BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE) |
           BIT(VIRTIO_BLK_F_MQ) | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES)));
    wr(rig, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    CHECK(rd(rig, VIRTIO_MMIO_DEVICE_FEATURES) == 0);
    CHECK(rd(rig, VIRTIO_MMIO_SHM_LEN_LOW) == UINT32_MAX);
    CHECK(rd(rig, VIRTIO_MMIO_SHM_BASE_HIGH) == UINT32_MAX);
    testing_rig_free(rig);
    puts("identity and features");
}

static void test_features_ok_needs_version_1_and_nothing_unknown(void)
{
    TestingRig *rig = rig_new();
    uint64_t all = offered(rig);
    const uint32_t driver = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

    const uint64_t bad[] = {0, all & ~BIT(VIRTIO_F_VERSION_1), all | BIT(VIRTIO_BLK_F_RO),
                            all | BIT(63)};
    for (unsigned i = 0; i < 4; i++) {
        wr(rig, VIRTIO_MMIO_STATUS, 0);
        wr(rig, VIRTIO_MMIO_STATUS, driver);
        take(rig, bad[i]);
        wr(rig, VIRTIO_MMIO_STATUS, driver | VIRTIO_CONFIG_S_FEATURES_OK);
        CHECK(rd(rig, VIRTIO_MMIO_STATUS) == driver);
        /* and without it the device does not start */
        wr(rig, VIRTIO_MMIO_STATUS, driver | VIRTIO_CONFIG_S_DRIVER_OK);
        CHECK(rd(rig, VIRTIO_MMIO_STATUS) == driver);
    }
    take(rig, all);
    wr(rig, VIRTIO_MMIO_STATUS, driver | VIRTIO_CONFIG_S_FEATURES_OK);
    CHECK(rd(rig, VIRTIO_MMIO_STATUS) == (driver | VIRTIO_CONFIG_S_FEATURES_OK));
    take(rig, 0); /* frozen */
    CHECK(virtio_device_has_feature(virtio_blk_device(rig->blk), VIRTIO_F_VERSION_1));
    wr(rig, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FAILED); /* bits are never lost but by reset */
    CHECK(rd(rig, VIRTIO_MMIO_STATUS) ==
          (driver | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED));
    wr(rig, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_NEEDS_RESET); /* not the driver's to set */
    CHECK(!(rd(rig, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET));
    wr(rig, VIRTIO_MMIO_STATUS, 0);
    CHECK(rd(rig, VIRTIO_MMIO_STATUS) == 0);
    testing_rig_free(rig);
    puts("FEATURES_OK needs VERSION_1 and nothing unknown");
}

static void test_queue_registers_follow_the_selector(void)
{
    TestingRig *rig = rig_new();
    const VirtQueue *queues = virtio_blk_device(rig->blk)->queues;

    wr(rig, VIRTIO_MMIO_QUEUE_SEL, 1);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_NUM_MAX) == 16);
    wr(rig, VIRTIO_MMIO_QUEUE_NUM, 8);
    wr(rig, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000);
    wr(rig, VIRTIO_MMIO_QUEUE_DESC_HIGH, 7);
    CHECK(queues[1].size == 8 && queues[1].desc_gpa == 0x700001000 && queues[0].size == 0);
    wr(rig, VIRTIO_MMIO_QUEUE_READY, 1);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_READY) == 1);
    wr(rig, VIRTIO_MMIO_QUEUE_NUM, 4); /* in use: ignored */
    wr(rig, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x2000);
    CHECK(queues[1].size == 8 && queues[1].desc_gpa == 0x700001000);
    wr(rig, VIRTIO_MMIO_QUEUE_READY, 0);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_READY) == 0);
    wr(rig, VIRTIO_MMIO_QUEUE_SEL, 2);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_NUM_MAX) == 0);
    wr(rig, VIRTIO_MMIO_QUEUE_READY, 1);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_READY) == 0);
    wr(rig, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
    wr(rig, VIRTIO_MMIO_QUEUE_NUM, 4);
    wr(rig, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
    testing_rig_free(rig);
    puts("queue registers follow the selector");
}

static void test_a_bad_ring_address_asks_for_a_reset(void)
{
    TestingRig *rig = rig_new();
    const uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                            VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

    take(rig, BIT(VIRTIO_F_VERSION_1));
    wr(rig, VIRTIO_MMIO_STATUS, status & ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK);
    wr(rig, VIRTIO_MMIO_QUEUE_NUM, 16);
    wr(rig, VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xdead);
    wr(rig, VIRTIO_MMIO_QUEUE_READY, 1);
    wr(rig, VIRTIO_MMIO_STATUS, status);
    CHECK(rd(rig, VIRTIO_MMIO_STATUS) == (status | VIRTIO_CONFIG_S_NEEDS_RESET));
    CHECK(rd(rig, VIRTIO_MMIO_INTERRUPT_STATUS) == VIRTIO_IRQ_CONFIG);
    wr(rig, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_IRQ_CONFIG);
    CHECK(rd(rig, VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
    CHECK(testing_rig_complaints(rig) == 1);
    testing_rig_free(rig);
    puts("a bad ring address asks for a reset");
}

static void test_config_space_in_every_width(void)
{
    TestingRig *rig = rig_new();
    TestingDriver *driver = rig->driver;

    CHECK(rd(rig, VIRTIO_MMIO_CONFIG) == 2048); /* capacity in sectors */
    CHECK(rd(rig, VIRTIO_MMIO_CONFIG + 4) == 0);
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG + 1, 1) == 8);
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG, 2) == 2048);
    CHECK(rd(rig, VIRTIO_MMIO_CONFIG + 12) == 14);                       /* seg_max */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG + 34, 2) == 2); /* num_queues */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG + 56, 1) == 1); /* may unmap */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG + 2, 4) == 0);  /* not aligned */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG, 8) == 0);      /* no such width */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_CONFIG + 60, 4) == 0); /* behind the end */
    wr(rig, VIRTIO_MMIO_CONFIG, 1);                                      /* capacity is read-only */
    CHECK(rd(rig, VIRTIO_MMIO_CONFIG) == 2048);
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_MAGIC_VALUE, 1) == 0); /* registers: 32 bits */
    CHECK(testing_driver_read(driver, VIRTIO_MMIO_MAGIC_VALUE + 2, 4) == 0);
    testing_driver_write(driver, VIRTIO_MMIO_STATUS, 1, 1);
    CHECK(rd(rig, VIRTIO_MMIO_STATUS) == 0);
    testing_rig_free(rig);
    puts("config space in every width");
}

static void test_a_queue_stops_when_it_is_made_unready(void)
{
    TestingRig *rig = rig_new();
    TestingBlkRequest req = {
        .type = VIRTIO_BLK_T_IN, .gpa = rig->data_gpa, .len = 512, .device_writes = true};
    uint64_t cookie;
    uint32_t len;

    CHECK(testing_driver_start(rig->driver, UINT64_MAX) == 0xf);
    CHECK(testing_rig_request(rig, 0, &req, &len) == 0);
    wr(rig, VIRTIO_MMIO_QUEUE_SEL, 0);
    wr(rig, VIRTIO_MMIO_QUEUE_READY, 0);
    CHECK(rd(rig, VIRTIO_MMIO_QUEUE_READY) == 0);
    CHECK(testing_driver_add_blk(rig->driver, 0, &req) >= 0);
    testing_driver_publish(rig->driver, 0);
    testing_driver_kick(rig->driver, 0);
    CHECK(testing_rig_request(rig, 1, &req, &len) == 0); /* the other one goes on */
    CHECK(!testing_driver_take(rig->driver, 0, &cookie, &len));
    testing_rig_free(rig);
    puts("a queue stops when it is made unready");
}

static void test_the_ops_table_reaches_the_registers(void)
{
    TestingRig *rig = rig_new();
    const IoRegionOps *ops = virtio_mmio_ops();

    CHECK(ops->read(rig->mmio, VIRTIO_MMIO_MAGIC_VALUE, 4) == 0x74726976);
    ops->write(rig->mmio, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE, 4);
    CHECK(ops->read(rig->mmio, VIRTIO_MMIO_STATUS, 4) == VIRTIO_CONFIG_S_ACKNOWLEDGE);
    virtio_mmio_reset(rig->mmio);
    CHECK(ops->read(rig->mmio, VIRTIO_MMIO_STATUS, 4) == 0);
    testing_rig_free(rig);
    puts("the ops table reaches the registers");
}

static void count_raise(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void test_an_interrupt_takes_the_way_it_was_told(void)
{
    AioConfig plain = {0};
    AioContext *main_ctx = aio_context_new(&plain), *other = aio_context_new(&plain);
    unsigned raised = 0;
    VirtioIrqConfig config = {.mode = VIRTIO_IRQ_MAINLOOP, .main_ctx = main_ctx};

    CHECK(!virtio_irq_new(&config) && errno == EINVAL); /* nothing to raise with */
    config.raise = count_raise;
    config.opaque = &raised;
    VirtioIrq *irq = virtio_irq_new(&config);
    virtio_irq_signal(irq, main_ctx, VIRTIO_IRQ_QUEUE);
    CHECK(raised == 1); /* holds the BQL: at once */
    virtio_irq_signal(irq, other, VIRTIO_IRQ_CONFIG);
    virtio_irq_signal(irq, other, VIRTIO_IRQ_QUEUE);
    CHECK(raised == 1); /* an iothread's waits for the main loop */
    CHECK(virtio_irq_status(irq) == (VIRTIO_IRQ_QUEUE | VIRTIO_IRQ_CONFIG));
    while (raised < 2) {
        aio_poll(main_ctx, true);
    }
    CHECK(!aio_poll(main_ctx, false) && raised == 2); /* two signals, one raise */
    virtio_irq_ack(irq, VIRTIO_IRQ_QUEUE);
    CHECK(virtio_irq_status(irq) == VIRTIO_IRQ_CONFIG && virtio_irq_count(irq) == 3);
    virtio_irq_free(irq);

    config.mode = VIRTIO_IRQ_CALLBACK;
    irq = virtio_irq_new(&config);
    CHECK(virtio_irq_fd(irq) == -1);
    virtio_irq_signal(irq, other, VIRTIO_IRQ_QUEUE);
    CHECK(raised == 3);
    virtio_irq_free(irq);
    aio_context_free(other);
    aio_context_free(main_ctx);
    puts("an interrupt takes the way it was told");
}

int main(void)
{
    test_identity_and_features();
    test_features_ok_needs_version_1_and_nothing_unknown();
    test_queue_registers_follow_the_selector();
    test_a_bad_ring_address_asks_for_a_reset();
    test_config_space_in_every_width();
    test_a_queue_stops_when_it_is_made_unready();
    test_the_ops_table_reaches_the_registers();
    test_an_interrupt_takes_the_way_it_was_told();
    return 0;
}
