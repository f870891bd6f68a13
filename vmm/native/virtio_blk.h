/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-blk (virtio 1.2, section 5.2). Each queue has an owner context that processes it:
 *
 *   placement            ioeventfd   ctx[i]          who pops and parses      who completes
 *   vcpu                 false       main_ctx        the vCPU that kicked     main loop
 *   mainloop             true        main_ctx        main loop                main loop
 *   iothread(s)          true        an iothread's   that iothread            that iothread
 *
 * The first two run under the BQL by construction, the last one never takes it.
 */
#ifndef VMM_NATIVE_VIRTIO_BLK_H
#define VMM_NATIVE_VIRTIO_BLK_H

#include "block.h"
#include "virtio_device.h"

#define VIRTIO_BLK_SERIAL_BYTES 20

typedef struct VirtioBlkConfig {
    VirtioDeviceConfig device; /* queue_size: power of two, 4..1024 */
    BlockBackend *backend;     /* outlives the device */
    AioContext *const *ctx;    /* num_queues entries, copied; all main_ctx without ioeventfd */
    bool ioeventfd;
    bool write_cache;                     /* the writeback mode after reset */
    bool discard;                         /* offer DISCARD if the backend can */
    uint32_t logical_block;               /* bytes shown to the driver, 0: the backend's */
    char serial[VIRTIO_BLK_SERIAL_BYTES]; /* zero-padded, not necessarily terminated */
    const char *name;                     /* in the recording; copied; NULL: not recorded */
} VirtioBlkConfig;

typedef struct VirtioBlk VirtioBlk;
/* In the thread that owns main_ctx, the iothreads running. NULL with errno set. */
VirtioBlk *virtio_blk_new(const VirtioBlkConfig *config);
/* Same thread, under the BQL, not from inside a handler. Resets the device first. */
void virtio_blk_free(VirtioBlk *blk);
/* For the transport. */
VirtioDevice *virtio_blk_device(VirtioBlk *blk);
/* The eventfd that a write of `queue` to QueueNotify is to signal; -1 without ioeventfd. */
int virtio_blk_host_notifier(const VirtioBlk *blk, unsigned queue);

/*
 * Drained section: no request is taken from the rings and none is in flight. Nests. Under the
 * BQL; drain_begin() may release it while waiting in a vCPU thread, never in the main loop's.
 */
void virtio_blk_drain_begin(VirtioBlk *blk);
void virtio_blk_drain_end(VirtioBlk *blk);
/* Give a queue to another context. Main loop's thread, inside a drained section, ioeventfd only.
 * 0 or -errno (-EINVAL outside of that, -EBUSY while somebody else drains too). */
int virtio_blk_set_context(VirtioBlk *blk, unsigned queue, AioContext *ctx);

typedef struct VirtioBlkStats {
    uint64_t requests, errors, read_bytes, written_bytes;
    uint64_t kicks; /* notifications handled */
    uint64_t irqs;  /* used buffer notifications sent */
} VirtioBlkStats;
/* [any thread] All zero for a queue that does not exist. */
void virtio_blk_stats(const VirtioBlk *blk, unsigned queue, VirtioBlkStats *out);

#endif
