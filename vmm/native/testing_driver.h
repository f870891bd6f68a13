/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio driver for tests: the guest's side of the rings and of the registers, in the calling
 * thread, without KVM. It can be honest or not: chains take any shape, and ring memory may be
 * overwritten behind its back through guest_memory_write().
 *
 * Register accesses take the BQL if the caller does not hold it, as a vCPU's exit would.
 */
#ifndef VMM_NATIVE_TESTING_DRIVER_H
#define VMM_NATIVE_TESTING_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "aio.h"
#include "bql.h"
#include "memory.h"
#include "virtio_blk.h"
#include "virtio_irq.h"
#include "virtio_mmio.h"

typedef struct TestingBuffer {
    uint64_t gpa;
    uint32_t len;
    bool device_writes;
} TestingBuffer;

typedef struct TestingDriver TestingDriver;
/* Rings of all queues, and their indirect tables, are laid out from ring_gpa on. NULL: no memory.
 */
TestingDriver *testing_driver_new(const GuestMemory *mem, VirtioMmio *mmio, Bql *bql,
                                  uint64_t ring_gpa, unsigned num_queues, uint16_t queue_size);
void testing_driver_free(TestingDriver *driver);
const GuestMemory *testing_driver_memory(const TestingDriver *driver);
/* First byte behind the rings. */
uint64_t testing_driver_end_gpa(const TestingDriver *driver);

uint32_t testing_driver_read(TestingDriver *driver, uint64_t offset, unsigned size);
void testing_driver_write(TestingDriver *driver, uint64_t offset, uint32_t value, unsigned size);
/* Reset to DRIVER_OK with these features (of those offered). The Status register afterwards. */
uint32_t testing_driver_start(TestingDriver *driver, uint64_t features);
void testing_driver_reset(TestingDriver *driver);
/* Kicks of the queue write this eventfd instead of QueueNotify; -1: the register. */
void testing_driver_set_notifier(TestingDriver *driver, unsigned queue, int fd);
/* Take the device's interrupts in ctx: read its eventfd, acknowledge, count. 0 or -errno. */
int testing_driver_attach_irq(TestingDriver *driver, AioContext *ctx, VirtioIrq *irq);
void testing_driver_detach_irq(TestingDriver *driver);
uint64_t testing_driver_irqs(const TestingDriver *driver);

/* Add a chain, not yet visible. The head or -1 (no room). cookie comes back on completion. */
int testing_driver_add(TestingDriver *driver, unsigned queue, const TestingBuffer *buffers,
                       unsigned count, bool indirect, uint64_t cookie);
/* Make what was added visible; true if the device wanted a kick (and got it). */
bool testing_driver_publish(TestingDriver *driver, unsigned queue);
void testing_driver_kick(TestingDriver *driver, unsigned queue);
/* The next completed chain. False: none. */
bool testing_driver_take(TestingDriver *driver, unsigned queue, uint64_t *cookie, uint32_t *len);
/* EVENT_IDX: interrupt me when `ahead` more completions (1 = the next) than taken are there. */
void testing_driver_set_used_event(TestingDriver *driver, unsigned queue, uint16_t ahead);

/*
 * A virtio-blk request at gpa: 16 bytes header (written here), len bytes data, 1 byte status (set
 * to 0xff). piece: cut the readable and the writable run into buffers of this many bytes; 0: the
 * usual header, data, status.
 */
typedef struct TestingBlkRequest {
    uint32_t type;
    uint64_t sector;
    uint64_t gpa;
    uint32_t len;
    bool device_writes; /* the data */
    uint32_t piece;
    bool indirect;
} TestingBlkRequest;
int testing_driver_add_blk(TestingDriver *driver, unsigned queue, const TestingBlkRequest *req);
/* Status byte of the request at gpa. */
int testing_driver_blk_status(const TestingDriver *driver, uint64_t gpa, uint32_t len);

#endif
