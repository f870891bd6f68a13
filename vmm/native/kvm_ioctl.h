/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's KVM ABI for the control plane: one checked ioctl, signals, irq lines. */
#ifndef VMM_NATIVE_KVM_IOCTL_H
#define VMM_NATIVE_KVM_IOCTL_H

#include <signal.h>
#include <stdint.h>

/* QEMU's SIG_IPI. */
#define VCPU_KICK_SIGNAL SIGUSR1

/* ioctl(2) restarted on EINTR; the result, or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long arg);

/*
 * An interrupt line into the in-kernel irqchip (KVM_IRQ_LINE), or, with vm_fd < 0, a counter for
 * accelerators without interrupts. Any thread.
 */
typedef struct IrqLine {
    int vm_fd;
    uint32_t gsi;
    _Atomic uint64_t raised; /* edges 0 to 1 */
    _Atomic int level;
} IrqLine;
void irq_line_set(IrqLine *line, int level);
int irq_line_level(const IrqLine *line);       /* [any thread] */
uint64_t irq_line_raised(const IrqLine *line); /* [any thread] edges so far */
/* Raise and lower: an edge, as an irqfd gives. opaque is an IrqLine. */
void irq_line_pulse(void *opaque);

#endif
