/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The micro-guest compiled for the host, as the native guest of the qtest accelerator: the same
 * driver and workload code as microguest.elf, its port and register accesses entering the VMM's
 * exit dispatch from the vCPU threads.
 */
#ifndef VMM_NATIVE_GUEST_HOST_H
#define VMM_NATIVE_GUEST_HOST_H

#include "vcpu_qtest.h"

typedef struct GuestHost GuestHost;

/* Rings and buffers live in [dma_base, dma_base+dma_size) of mem. A bad command line is reported by
 * the guest itself when it runs. NULL with errno. */
GuestHost *guest_host_new(const GuestMemory *mem, const char *command_line, uint64_t dma_base,
                          uint64_t dma_size);
/* Video memory, which stays the caller's; before the first vCPU runs. */
void guest_host_set_vram(GuestHost *host, uint64_t gpa, uint64_t size, void *memory);
/* The vCPU threads have ended. */
void guest_host_free(GuestHost *host);
/* Under the BQL, the vCPUs stopped: as after guest_host_new(); see vcpu_qtest_restart(). */
void guest_host_reset(GuestHost *host);
/* A QtestGuestFn: the body of every vCPU; opaque is the GuestHost. */
void guest_host_run(Vcpu *vcpu, void *opaque);

#endif
