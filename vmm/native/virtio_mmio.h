/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio-mmio transport, register file version 2 (virtio 1.2, section 4.2.2). All accesses
 * come under the BQL; the functions have the signatures of an I/O region's handlers.
 */
#ifndef VMM_NATIVE_VIRTIO_MMIO_H
#define VMM_NATIVE_VIRTIO_MMIO_H

#include "iospace.h"
#include "virtio_device.h"

#define VIRTIO_MMIO_REGION_SIZE 0x200u

typedef struct VirtioMmio VirtioMmio;
/* dev outlives the transport. NULL with errno set. */
VirtioMmio *virtio_mmio_new(VirtioDevice *dev);
void virtio_mmio_free(VirtioMmio *mmio);
/* opaque: the VirtioMmio. Accesses the specification does not allow read 0 or vanish. */
uint64_t virtio_mmio_read(void *opaque, uint64_t offset, unsigned size);
void virtio_mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size);
/* The handlers above as an I/O region's table. */
const IoRegionOps *virtio_mmio_ops(void);
/* A transport without a device (4.2.3.1.1: DeviceID 0, a driver ends its probe there): what a slot
 * shows until something is plugged. opaque is not used. */
const IoRegionOps *virtio_mmio_placeholder_ops(void);
/* As if the driver had written 0 to Status (system reset). Under the BQL. */
void virtio_mmio_reset(VirtioMmio *mmio);

#endif
