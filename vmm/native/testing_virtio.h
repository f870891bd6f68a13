/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio-blk device with everything around it but a vCPU, for tests: RAM, BQL, main loop context,
 * iothreads, interrupt, transport and driver. The thread that makes it is the main loop and holds
 * the BQL until it frees it.
 */
#ifndef VMM_NATIVE_TESTING_VIRTIO_H
#define VMM_NATIVE_TESTING_VIRTIO_H

#include "iothread.h"
#include "testing_driver.h"

enum TestingPlacement {
    TESTING_VCPU = 0,
    TESTING_MAINLOOP = 1,
    TESTING_IOTHREAD = 2,
    TESTING_TWO_IOTHREADS = 3,
};

typedef struct TestingRigConfig {
    int placement; /* enum TestingPlacement; queue i belongs to iothread i mod 2 with two */
    int irq_mode;  /* enum VirtioIrqMode */
    unsigned num_queues;
    uint16_t queue_size;
    bool ring; /* the contexts have an io_uring */
    uint64_t poll_max_ns;
    bool write_cache;
} TestingRigConfig;

typedef struct TestingRig {
    TestingRigConfig config;
    GuestMemory *mem;
    Bql *bql;
    AioContext *main_ctx;
    IoThread *iothreads[2];
    BlockBackend *backend;
    VirtioIrq *irq;
    VirtioBlk *blk;
    VirtioMmio *mmio;
    TestingDriver *driver;
    _Atomic uint64_t raises; /* of the line, by raise() */
    _Atomic uint64_t complaints;
    uint64_t data_gpa, data_bytes; /* RAM the tests may use */
} TestingRig;

#define TESTING_RIG_SERIAL "serial-of-twenty-byt" /* all 20 bytes used */

/* Owns backend from now on, also on failure. NULL: something could not be made. */
TestingRig *testing_rig_new(const TestingRigConfig *config, BlockBackend *backend);
void testing_rig_free(TestingRig *rig);
/* Run the main loop until the queue has a completed chain, and take it. */
void testing_rig_wait(TestingRig *rig, unsigned queue, uint64_t *cookie, uint32_t *len);
/* One request from kick to completion: its status byte. */
int testing_rig_request(TestingRig *rig, unsigned queue, const TestingBlkRequest *req,
                        uint32_t *used_len);

/* Accessors for Python, which does not see the struct. */
TestingDriver *testing_rig_driver(TestingRig *rig);
const GuestMemory *testing_rig_memory(TestingRig *rig);
VirtioBlk *testing_rig_blk(TestingRig *rig);
/* 0: the main loop's, 1 and 2: the iothreads' (two only with TESTING_TWO_IOTHREADS). */
AioContext *testing_rig_context(TestingRig *rig, unsigned place);
uint64_t testing_rig_data_gpa(const TestingRig *rig);
uint64_t testing_rig_complaints(const TestingRig *rig);

#endif
