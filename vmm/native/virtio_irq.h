/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a virtio device's interrupt reaches the guest.
 *
 *   irqfd     the eventfd is resolved by the accelerator (KVM_IRQFD): any thread, no lock
 *   mainloop  as QEMU on virtio-mmio: an iothread only writes the eventfd; the main loop reads it
 *             under the BQL and raises the line. From the main loop's own context (and from a
 *             vCPU, which holds the BQL) the line is raised at once.
 *   callback  raise() is called in the thread that signals (accelerators without KVM, tests)
 *
 * The InterruptStatus bits live here and are set before the line is raised, so that a guest that
 * takes the interrupt always finds its reason.
 */
#ifndef VMM_NATIVE_VIRTIO_IRQ_H
#define VMM_NATIVE_VIRTIO_IRQ_H

#include <stdint.h>

#include "aio.h"

enum VirtioIrqMode { VIRTIO_IRQ_IRQFD = 0, VIRTIO_IRQ_MAINLOOP = 1, VIRTIO_IRQ_CALLBACK = 2 };
enum VirtioIrqBits { VIRTIO_IRQ_QUEUE = 1, VIRTIO_IRQ_CONFIG = 2 };

typedef struct VirtioIrqConfig {
    int mode;                    /* enum VirtioIrqMode */
    AioContext *main_ctx;        /* the main loop's context; runs under the BQL */
    void (*raise)(void *opaque); /* pulse the line: mainloop (under the BQL) and callback */
    void *opaque;
} VirtioIrqConfig;

typedef struct VirtioIrq VirtioIrq;
/* In the thread that owns main_ctx. NULL with errno set (EINVAL: no raise() where one is needed).
 */
VirtioIrq *virtio_irq_new(const VirtioIrqConfig *config);
/* In the thread that owns main_ctx; nobody signals any more. */
void virtio_irq_free(VirtioIrq *irq);
/* The eventfd to hand to KVM_IRQFD; -1 in callback mode. Owned by the object. */
int virtio_irq_fd(const VirtioIrq *irq);
/* [any thread] bits: enum VirtioIrqBits. ctx: the AioContext the calling thread runs, main_ctx for
 * whoever holds the BQL. */
void virtio_irq_signal(VirtioIrq *irq, const AioContext *ctx, uint32_t bits);
uint32_t virtio_irq_status(const VirtioIrq *irq);   /* [any thread] */
void virtio_irq_ack(VirtioIrq *irq, uint32_t bits); /* [any thread] */
uint64_t virtio_irq_count(const VirtioIrq *irq);    /* [any thread] times signalled */

#endif
