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

/* What is accounted apart, as QEMU's BlockAcctType; write zeroes count as writes. */
enum VirtioBlkAcctType {
    VIRTIO_BLK_ACCT_READ,
    VIRTIO_BLK_ACCT_WRITE,
    VIRTIO_BLK_ACCT_FLUSH,
    VIRTIO_BLK_ACCT_UNMAP,
};
#define VIRTIO_BLK_ACCT_TYPES 4
#define VIRTIO_BLK_ACCT_BOUNDARIES 64 /* of a latency histogram, at most */

/*
 * One type's requests by their end: done, failed by the backend, refused as nonsense (invalid ones
 * are nothing else). Times run from the pop to the completion, of done and failed ones, exact to
 * the length of a batch; ticks: the recorder's clock, without a recorder nanoseconds.
 */
typedef struct VirtioBlkAcct {
    uint64_t operations, failed, invalid, bytes, ticks;
    uint64_t highest_offset; /* bytes: the end of the farthest write or read that was done */
    uint64_t bins[VIRTIO_BLK_ACCT_BOUNDARIES + 1]; /* the last one has no upper boundary */
} VirtioBlkAcct;
/* [any thread] All zero for a queue or type that does not exist. */
void virtio_blk_acct(const VirtioBlk *blk, unsigned queue, unsigned type, VirtioBlkAcct *out);
/* Begin a histogram of `count` ascending boundaries in ticks; 0 ends it. Inside a drained section,
 * under the BQL. 0 or -EINVAL. */
int virtio_blk_set_boundaries(VirtioBlk *blk, unsigned type, const uint64_t *ticks, unsigned count);

#endif
