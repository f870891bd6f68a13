/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue whose rings belong to the fuzzer, which writes them between any two steps of the
 * device. What must hold: every buffer lies in guest RAM, the sums are those of the buffers, no
 * more chains are out than the ring holds, and a broken queue gives nothing.
 */
#include <stdlib.h>

#include "bytes.h"
#include "virtqueue.h"

#define RAM_BYTES 0x10000u
#define MAX_IOV 64u
#define RING_MAX 128u

typedef struct Device {
    GuestMemory *mem;
    const uint8_t *ram;
    VirtQueue vq;
    VirtQueueElement out[RING_MAX]; /* popped, not pushed; first in, first out */
    unsigned out_count;
    struct iovec iov[MAX_IOV];
} Device;

static void must(int holds)
{
    if (!holds) {
        abort();
    }
}

static void set_up(Device *device, Bytes *in)
{
    unsigned flags = (unsigned)bytes_take(in, 1);

    virtqueue_reset(&device->vq);
    device->out_count = 0;
    device->vq.event_idx = flags & 1;
    device->vq.indirect = flags & 2;
    device->vq.size = (uint16_t)(1u << (flags >> 2 & 7)) + (flags >> 7);
    device->vq.desc_gpa = bytes_take(in, 2);
    device->vq.avail_gpa = bytes_take(in, 2);
    device->vq.used_gpa = bytes_take(in, 2);
    must(virtqueue_start(&device->vq) == 0 ? device->vq.ready : device->vq.broken != NULL);
}

static void check_part(const Device *device, const struct iovec *iov, unsigned count, uint64_t sum)
{
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *base = iov[i].iov_base;

        must(iov[i].iov_len > 0 && base >= device->ram && base < device->ram + RAM_BYTES);
        must(iov[i].iov_len <= (size_t)(device->ram + RAM_BYTES - base));
        sum -= iov[i].iov_len;
    }
    must(sum == 0);
}

static void pop(Device *device)
{
    VirtQueueElement elem;
    int was_broken = device->vq.broken != NULL;
    int ret = virtqueue_pop(&device->vq, &elem, device->iov, MAX_IOV);

    must(ret == 1 || ret == 0 ? !was_broken : device->vq.broken != NULL);
    if (ret != 1) {
        return;
    }
    must(elem.head < device->vq.size && elem.out_num + elem.in_num <= MAX_IOV);
    must(elem.out_num + elem.in_num <= device->vq.size);
    check_part(device, elem.iov, elem.out_num, elem.out_bytes);
    check_part(device, elem.iov + elem.out_num, elem.in_num, elem.in_bytes);
    must(device->out_count < device->vq.size);
    device->out[device->out_count++] = elem;
}

static void push(Device *device, uint32_t written)
{
    if (device->out_count == 0) {
        return;
    }
    virtqueue_push(&device->vq, &device->out[0], written);
    device->out_count--;
    for (unsigned i = 0; i < device->out_count; i++) {
        device->out[i] = device->out[i + 1];
    }
}

static void poke(Device *device, Bytes *in)
{
    uint64_t gpa = bytes_take(in, 2);
    size_t count;
    const uint8_t *run = bytes_run(in, bytes_take(in, 1), &count);

    (void)guest_memory_write(device->mem, gpa, run, count);
}

static void step(Device *device, Bytes *in)
{
    switch (bytes_take(in, 1) % 7) {
    case 0:
        poke(device, in);
        break;
    case 1:
    case 2:
        pop(device);
        break;
    case 3:
        push(device, (uint32_t)bytes_take(in, 4));
        break;
    case 4:
        (void)virtqueue_should_notify(&device->vq);
        break;
    case 5:
        virtqueue_set_notification(&device->vq, bytes_take(in, 1) & 1);
        must(!virtqueue_has_work(&device->vq) || !device->vq.broken);
        break;
    default:
        set_up(device, in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Device device = {.mem = guest_memory_new()};
    Bytes in = {data, size};

    must(guest_memory_add_ram(device.mem, 0, RAM_BYTES) == 0);
    device.ram = guest_memory_ptr(device.mem, 0, RAM_BYTES);
    virtqueue_init(&device.vq, device.mem);
    set_up(&device, &in);
    while (in.left > 0) {
        step(&device, &in);
    }
    guest_memory_free(device.mem);
    return 0;
}
