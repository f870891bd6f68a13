/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt delivery of one virtio device. */
#include "virtio_irq.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct VirtioIrq {
    VirtioIrqConfig config;
    int fd;
    _Atomic uint32_t status;
    _Atomic uint64_t count;
};

static void guest_notifier_read(void *opaque)
{
    VirtioIrq *irq = opaque;
    eventfd_t value;

    if (eventfd_read(irq->fd, &value) == 0) {
        irq->config.raise(irq->config.opaque);
    }
}

VirtioIrq *virtio_irq_new(const VirtioIrqConfig *config)
{
    if (config->mode < VIRTIO_IRQ_IRQFD || config->mode > VIRTIO_IRQ_CALLBACK ||
        (config->mode != VIRTIO_IRQ_IRQFD && !config->raise)) {
        errno = EINVAL;
        return NULL;
    }
    VirtioIrq *irq = calloc(1, sizeof(*irq));
    if (!irq) {
        return NULL;
    }
    irq->config = *config;
    irq->fd = -1;
    if (config->mode == VIRTIO_IRQ_CALLBACK) {
        return irq;
    }
    irq->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (irq->fd < 0) {
        free(irq);
        return NULL;
    }
    if (config->mode == VIRTIO_IRQ_MAINLOOP) {
        static const AioHandlerOps ops = {.io_read = guest_notifier_read};
        int ret = aio_set_fd_handler(config->main_ctx, irq->fd, &ops, irq);

        if (ret < 0) {
            close(irq->fd);
            free(irq);
            errno = -ret;
            return NULL;
        }
    }
    return irq;
}

void virtio_irq_free(VirtioIrq *irq)
{
    if (!irq) {
        return;
    }
    if (irq->config.mode == VIRTIO_IRQ_MAINLOOP) {
        static const AioHandlerOps none = {0};
        (void)aio_set_fd_handler(irq->config.main_ctx, irq->fd, &none, NULL);
    }
    if (irq->fd >= 0) {
        close(irq->fd);
    }
    free(irq);
}

int virtio_irq_fd(const VirtioIrq *irq)
{
    return irq->fd;
}

void virtio_irq_signal(VirtioIrq *irq, const AioContext *ctx, uint32_t bits)
{
    /* Release: pairs with the acquire of virtio_irq_status(); what the interrupt is about (used
     * ring, device status) is visible to who reads the bit. */
    atomic_fetch_or_explicit(&irq->status, bits, memory_order_release);
    atomic_fetch_add_explicit(&irq->count, 1, memory_order_relaxed);
    if (irq->config.mode == VIRTIO_IRQ_CALLBACK ||
        (irq->config.mode == VIRTIO_IRQ_MAINLOOP && ctx == irq->config.main_ctx)) {
        irq->config.raise(irq->config.opaque);
    } else {
        /* Fails only when the counter is full, and then the reader has not seen it yet. */
        (void)eventfd_write(irq->fd, 1);
    }
}

uint32_t virtio_irq_status(const VirtioIrq *irq)
{
    return atomic_load_explicit(&irq->status, memory_order_acquire);
}

void virtio_irq_ack(VirtioIrq *irq, uint32_t bits)
{
    atomic_fetch_and_explicit(&irq->status, ~bits, memory_order_relaxed);
}

uint64_t virtio_irq_count(const VirtioIrq *irq)
{
    return atomic_load_explicit(&irq->count, memory_order_relaxed);
}
