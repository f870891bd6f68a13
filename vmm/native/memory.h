/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM. guest_memory_ptr() is the only door from a guest address to a host pointer.
 * Regions are added before the first vCPU runs and never removed while threads run, so look-ups
 * take no lock.
 */
#ifndef VMM_NATIVE_MEMORY_H
#define VMM_NATIVE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_MAX_REGIONS 8

typedef struct GuestRamRegion {
    uint64_t gpa;  /* guest physical address of the first byte */
    uint64_t size; /* bytes */
    uint8_t *host; /* mapped by guest_memory_add_ram() */
} GuestRamRegion;

typedef struct GuestMemory {
    unsigned count;
    GuestRamRegion regions[GUEST_MEMORY_MAX_REGIONS];
} GuestMemory;

GuestMemory *guest_memory_new(void);
void guest_memory_free(GuestMemory *mem);
/* Map size bytes of anonymous RAM at gpa, both multiples of 4096. Returns 0, -EINVAL (overlap,
 * size 0, wrap, not whole pages), -ENOSPC or -ENOMEM. */
int guest_memory_add_ram(GuestMemory *mem, uint64_t gpa, uint64_t size);
/* Host address of [gpa, gpa+len), or NULL unless every byte lies in one RAM region. len > 0. */
void *guest_memory_ptr(const GuestMemory *mem, uint64_t gpa, uint64_t len);
/* Checked copies for cold paths and Python. Return 0 or -EFAULT. */
int guest_memory_read(const GuestMemory *mem, uint64_t gpa, void *buf, uint64_t len);
int guest_memory_write(const GuestMemory *mem, uint64_t gpa, const void *buf, uint64_t len);

#endif
