/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: virtio. Mirrors the header of the same name; see there for the contract. */
enum VirtioIrqMode { VIRTIO_IRQ_IRQFD, VIRTIO_IRQ_MAINLOOP, VIRTIO_IRQ_CALLBACK, ... };
typedef struct VirtioIrqConfig {
    int mode;
    AioContext *main_ctx;
    void (*raise)(void *opaque);
    void *opaque;
} VirtioIrqConfig;
typedef struct VirtioIrq VirtioIrq;
VirtioIrq *virtio_irq_new(const VirtioIrqConfig *config);
void virtio_irq_free(VirtioIrq *irq);
int virtio_irq_fd(const VirtioIrq *irq);
uint32_t virtio_irq_status(const VirtioIrq *irq);
uint64_t virtio_irq_count(const VirtioIrq *irq);

typedef ... VirtioDevice;
typedef struct VirtioDeviceConfig {
    const GuestMemory *mem;
    Bql *bql;
    AioContext *main_ctx;
    VirtioIrq *irq;
    unsigned num_queues;
    uint16_t queue_size;
    void (*log)(void *opaque, const char *message);
    void *log_opaque;
} VirtioDeviceConfig;

#define VIRTIO_MMIO_REGION_SIZE ...
typedef struct VirtioMmio VirtioMmio;
VirtioMmio *virtio_mmio_new(VirtioDevice *dev);
void virtio_mmio_free(VirtioMmio *mmio);
uint64_t virtio_mmio_read(void *opaque, uint64_t offset, unsigned size);
void virtio_mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size);
const IoRegionOps *virtio_mmio_ops(void);
const IoRegionOps *virtio_mmio_placeholder_ops(void);
void virtio_mmio_reset(VirtioMmio *mmio);

#define VIRTIO_BLK_SERIAL_BYTES ...
typedef struct VirtioBlkConfig {
    VirtioDeviceConfig device;
    BlockBackend *backend;
    AioContext *const *ctx;
    bool ioeventfd;
    bool write_cache;
    bool discard;
    uint32_t logical_block;
    char serial[...];
    const char *name;
} VirtioBlkConfig;
typedef struct VirtioBlk VirtioBlk;
VirtioBlk *virtio_blk_new(const VirtioBlkConfig *config);
void virtio_blk_free(VirtioBlk *blk);
VirtioDevice *virtio_blk_device(VirtioBlk *blk);
int virtio_blk_host_notifier(const VirtioBlk *blk, unsigned queue);
void virtio_blk_drain_begin(VirtioBlk *blk);
void virtio_blk_drain_end(VirtioBlk *blk);
int virtio_blk_set_context(VirtioBlk *blk, unsigned queue, AioContext *ctx);
typedef struct VirtioBlkStats {
    uint64_t requests, errors, read_bytes, written_bytes;
    uint64_t kicks;
    uint64_t irqs;
} VirtioBlkStats;
void virtio_blk_stats(const VirtioBlk *blk, unsigned queue, VirtioBlkStats *out);
enum VirtioBlkAcctType {
    VIRTIO_BLK_ACCT_READ,
    VIRTIO_BLK_ACCT_WRITE,
    VIRTIO_BLK_ACCT_FLUSH,
    VIRTIO_BLK_ACCT_UNMAP,
    ...
};
#define VIRTIO_BLK_ACCT_BOUNDARIES ...
typedef struct VirtioBlkAcct {
    uint64_t operations, failed, invalid, bytes, ticks;
    uint64_t highest_offset;
    uint64_t bins[...];
} VirtioBlkAcct;
void virtio_blk_acct(const VirtioBlk *blk, unsigned queue, unsigned type, VirtioBlkAcct *out);
int virtio_blk_set_boundaries(VirtioBlk *blk, unsigned type, const uint64_t *ticks,
                              unsigned count);
