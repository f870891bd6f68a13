/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk behind virtio-mmio on a null backend, in one thread: any sequence of register and
 * configuration accesses, ring and buffer bytes, kicks, drains and turns of the main loop. The
 * first byte chooses the placement and whether requests stay in flight for a while. The sanitizers
 * judge; besides, the status register must obey its own rules at every step.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

#include "bytes.h"
#include "splitq.h"
#include "testing_virtio.h"

#define QUEUES 2u
#define QUEUE_SIZE 8u
#define LATENCY_NS 1000u
#define DISK_BYTES (1u << 20)

typedef struct Guest {
    TestingRig *rig;
    SplitqDesc *desc[QUEUES];
    void *avail[QUEUES];
    unsigned drains;
} Guest;

static void find_rings(Guest *guest)
{
    uint64_t span = testing_driver_end_gpa(guest->rig->driver) / QUEUES;

    for (unsigned i = 0; i < QUEUES; i++) {
        guest->desc[i] = guest_memory_ptr(guest->rig->mem, i * span, span);
        guest->avail[i] = (uint8_t *)guest->desc[i] + splitq_desc_bytes(QUEUE_SIZE);
    }
}

static void access_any(Guest *guest, Bytes *in)
{
    uint64_t offset = bytes_take(in, 2) % (VIRTIO_MMIO_REGION_SIZE + 16);
    unsigned size = 1u + (unsigned)bytes_take(in, 1) % 8;

    (void)virtio_mmio_read(guest->rig->mmio, offset, size);
    virtio_mmio_write(guest->rig->mmio, offset, bytes_take(in, 8), size);
}

static void poke(Guest *guest, Bytes *in)
{
    uint64_t gpa = bytes_take(in, 2);
    size_t count;
    const uint8_t *run = bytes_run(in, bytes_take(in, 1), &count);

    (void)guest_memory_write(guest->rig->mem, gpa, run, count);
}

static void set_descriptor(Guest *guest, Bytes *in)
{
    unsigned where = (unsigned)bytes_take(in, 1);

    guest->desc[where & 1][where >> 1 & (QUEUE_SIZE - 1)] = (SplitqDesc){
        .addr = htole64(bytes_take(in, 2)),
        .len = htole32((uint32_t)bytes_take(in, 2)),
        .flags = htole16((uint16_t)bytes_take(in, 1)),
        .next = htole16((uint16_t)bytes_take(in, 1)),
    };
}

/* Make the chain at a head available and kick. */
static void offer(Guest *guest, Bytes *in)
{
    unsigned where = (unsigned)bytes_take(in, 1), queue = where & 1;
    uint16_t idx = splitq_acquire_idx(guest->avail[queue]);

    splitq_store(splitq_avail_entry(guest->avail[queue], idx % QUEUE_SIZE), (uint16_t)(where >> 1));
    splitq_publish_idx(guest->avail[queue], (uint16_t)(idx + 1));
    testing_driver_kick(guest->rig->driver, queue);
}

static void drain(Guest *guest)
{
    if (guest->drains > 0) {
        virtio_blk_drain_end(guest->rig->blk);
        guest->drains--;
    } else {
        virtio_blk_drain_begin(guest->rig->blk);
        guest->drains++;
    }
}

static void step(Guest *guest, Bytes *in)
{
    switch (bytes_take(in, 1) % 9) {
    case 0:
        virtio_mmio_write(guest->rig->mmio, bytes_take(in, 1) & ~3u, bytes_take(in, 4), 4);
        break;
    case 1:
        access_any(guest, in);
        break;
    case 2:
        poke(guest, in);
        break;
    case 3:
        set_descriptor(guest, in);
        break;
    case 4:
    case 5:
        offer(guest, in);
        break;
    case 6:
        (void)aio_poll(guest->rig->main_ctx, false);
        break;
    case 7:
        (void)testing_driver_start(guest->rig->driver, bytes_take(in, 8));
        break;
    default:
        drain(guest);
        break;
    }
}

static void check_status(const Guest *guest)
{
    uint32_t status = (uint32_t)virtio_mmio_read(guest->rig->mmio, VIRTIO_MMIO_STATUS, 4);

    if ((status & VIRTIO_CONFIG_S_DRIVER_OK) && !(status & VIRTIO_CONFIG_S_FEATURES_OK)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes in = {data, size};
    unsigned mode = (unsigned)bytes_take(&in, 1);
    TestingRigConfig config = {
        .placement = mode & 1 ? TESTING_MAINLOOP : TESTING_VCPU,
        .irq_mode = mode & 2 ? VIRTIO_IRQ_CALLBACK : VIRTIO_IRQ_MAINLOOP,
        .num_queues = QUEUES,
        .queue_size = QUEUE_SIZE,
        .write_cache = mode & 8,
    };
    Guest guest = {
        .rig = testing_rig_new(&config, block_open_null(DISK_BYTES, mode & 4 ? LATENCY_NS : 0))};

    if (!guest.rig) {
        abort();
    }
    find_rings(&guest);
    while (in.left > 0) {
        step(&guest, &in);
        check_status(&guest);
    }
    while (guest.drains > 0) {
        drain(&guest);
    }
    testing_rig_free(guest.rig);
    return 0;
}
