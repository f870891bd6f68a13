/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The virtio-mmio transport, version 2 (virtio 1.2, section 4.2). */
#ifndef GUEST_VIRTIO_MMIO_H
#define GUEST_VIRTIO_MMIO_H

#include "virtio.h"

/* Is there a version 2 device of this type at base? Reads only; fills *dev in. */
bool guest_virtio_mmio_probe(struct guest_virtio *dev, const struct platform *platform,
                             uint64_t base, uint32_t device_id);

#endif
