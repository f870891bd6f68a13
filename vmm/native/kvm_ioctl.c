/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kvm_ioctl.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
    int ret;

    do {
        ret = ioctl(fd, request, arg);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : ret;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long arg)
{
    return kvm_ioctl(fd, request, (void *)arg);
}

void irq_line_set(IrqLine *line, int level)
{
    struct kvm_irq_level irq = {.irq = line->gsi, .level = (uint32_t)level};

    if (atomic_exchange(&line->level, level) == 0 && level)
        atomic_fetch_add_explicit(&line->raised, 1, memory_order_relaxed);
    if (line->vm_fd >= 0)
        kvm_ioctl(line->vm_fd, KVM_IRQ_LINE, &irq);
}

void irq_line_pulse(void *opaque)
{
    irq_line_set(opaque, 1);
    irq_line_set(opaque, 0);
}

int irq_line_level(const IrqLine *line)
{
    return atomic_load_explicit(&line->level, memory_order_relaxed);
}

uint64_t irq_line_raised(const IrqLine *line)
{
    return atomic_load_explicit(&line->raised, memory_order_relaxed);
}
