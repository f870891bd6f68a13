/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The virtio-pci transport (virtio 1.2, section 4.1), for devices with the registers of virtio
 * 1.0, transitional or not, on bus 0. Wanted interrupts are MSI-X, one vector for each queue and
 * none for configuration changes. The ISR register is never read: it belongs to INTx.
 */
#ifndef GUEST_VIRTIO_PCI_H
#define GUEST_VIRTIO_PCI_H

#include "virtio.h"

/* Is there a `skip`+1st function of this type? Reads only; names it in *dev. */
bool guest_virtio_pci_probe(struct guest_virtio *dev, const struct platform *platform,
                            uint32_t device_id, uint64_t skip);
/* Find its registers and make them accessible. NULL or a static one-line message. */
const char *guest_virtio_pci_map(struct guest_virtio *dev);

#endif
