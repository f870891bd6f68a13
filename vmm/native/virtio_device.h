/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtio device as its transport sees it: state both share, and a const table of operations.
 * A device model embeds VirtioDevice as its first member; the transport (virtio_mmio.h) drives it.
 *
 * Rule 1: all operations are called under the BQL.
 * Rule 2: queues[] belong to the transport until start() and to the device from there to the end
 *         of reset() (or of queue_stop() for one queue).
 * Rule 3: status is set by the transport, except that any thread may add NEEDS_RESET.
 */
#ifndef VMM_NATIVE_VIRTIO_DEVICE_H
#define VMM_NATIVE_VIRTIO_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bql.h"
#include "virtio_irq.h"
#include "virtqueue.h"

typedef struct VirtioDevice VirtioDevice;

typedef struct VirtioDeviceOps {
    uint32_t device_id; /* virtio 1.2, section 5 */
    /* offset and size (1, 2, 4) lie inside the config space and are aligned; little-endian. */
    uint32_t config_size;
    uint32_t (*get_config)(VirtioDevice *dev, uint32_t offset, unsigned size);
    void (*set_config)(VirtioDevice *dev, uint32_t offset, uint32_t value, unsigned size);
    uint64_t (*features)(VirtioDevice *dev);
    void (*start)(VirtioDevice *dev); /* DRIVER_OK */
    /* Stop, wait for requests in flight, forget everything; may release the BQL while waiting. */
    void (*reset)(VirtioDevice *dev);
    void (*queue_stop)(VirtioDevice *dev, unsigned queue); /* QueueReady = 0 after DRIVER_OK */
    void (*queue_notify)(VirtioDevice *dev, unsigned queue);
} VirtioDeviceOps;

typedef struct VirtioDeviceConfig {
    const GuestMemory *mem;
    Bql *bql;
    AioContext *main_ctx;
    VirtioIrq *irq; /* outlives the device */
    unsigned num_queues;
    uint16_t queue_size; /* QueueNumMax */
    /* A complaint about the guest, for people, in any thread, at most once a reset. May be NULL. */
    void (*log)(void *opaque, const char *message);
    void *log_opaque;
} VirtioDeviceConfig;

struct VirtioDevice {
    const VirtioDeviceOps *ops;
    VirtioDeviceConfig config;
    VirtQueue *queues;
    uint64_t driver_features;
    _Atomic uint32_t status;     /* the Status register */
    _Atomic uint32_t generation; /* ConfigGeneration */
};

/* 0 or -ENOMEM. */
int virtio_device_init(VirtioDevice *dev, const VirtioDeviceOps *ops,
                       const VirtioDeviceConfig *config);
void virtio_device_destroy(VirtioDevice *dev);
bool virtio_device_has_feature(const VirtioDevice *dev, unsigned bit);
/* [any thread] The driver broke the protocol: why goes to the log, the device is dead until reset
 * (2.1.2). ctx: see virtio_irq_signal(). */
void virtio_device_needs_reset(VirtioDevice *dev, const AioContext *ctx, const char *why);
bool virtio_device_is_broken(const VirtioDevice *dev); /* [any thread] */
/* [any thread] The config space changed on the device's own account. */
void virtio_device_config_changed(VirtioDevice *dev, const AioContext *ctx);

#endif
