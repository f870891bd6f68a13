#define VIRTIO_IRQ_IRQFD ...
#define VIRTIO_IRQ_MAINLOOP ...
#define VIRTIO_IRQ_CALLBACK ...
typedef struct VirtioIrqConfig { int mode; AioContext *main_ctx; void (*raise)(void *opaque); void *opaque; } VirtioIrqConfig;
typedef ... VirtioIrq;
VirtioIrq *virtio_irq_new(const VirtioIrqConfig *config);
void virtio_irq_free(VirtioIrq *irq);
int virtio_irq_fd(const VirtioIrq *irq);
typedef struct VirtioDeviceConfig {
    const GuestMemory *mem; Bql *bql; AioContext *main_ctx; VirtioIrq *irq; unsigned num_queues; uint16_t queue_size;
    void (*log)(void *opaque, const char *message); void *log_opaque; } VirtioDeviceConfig;
typedef ... VirtioDevice;
typedef struct VirtioBlkConfig { VirtioDeviceConfig device; BlockBackend *backend; AioContext *const *ctx; bool ioeventfd; bool write_cache; bool discard; char serial[20]; } VirtioBlkConfig;
typedef ... VirtioBlk;
VirtioBlk *virtio_blk_new(const VirtioBlkConfig *config);
void virtio_blk_free(VirtioBlk *blk);
VirtioDevice *virtio_blk_device(VirtioBlk *blk);
int virtio_blk_host_notifier(const VirtioBlk *blk, unsigned queue);
typedef struct VirtioBlkStats { uint64_t requests, errors, read_bytes, written_bytes; uint64_t kicks; uint64_t irqs; } VirtioBlkStats;
void virtio_blk_stats(const VirtioBlk *blk, unsigned queue, VirtioBlkStats *out);
typedef ... VirtioMmio;
VirtioMmio *virtio_mmio_new(VirtioDevice *dev);
void virtio_mmio_free(VirtioMmio *mmio);
const IoRegionOps *virtio_mmio_ops(void);
void virtio_mmio_reset(VirtioMmio *mmio);
