/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PIO and MMIO address spaces: named regions with their handlers, and the one dispatch that
 * vCPU exits of every accelerator go through.
 *
 * Look-ups take no lock: the table is immutable and replaced under the BQL; a replaced table is
 * kept until iospace_reclaim() or the end.
 * Unless the region is lock-free, dispatch takes the BQL at the region's own call site, so that an
 * acquisition names the device.
 */
#ifndef VMM_NATIVE_IOSPACE_H
#define VMM_NATIVE_IOSPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "bql.h"

enum IoKind { IO_PIO = 0, IO_MMIO = 1 };

/* offset is relative to the region; size 1, 2, 4 or 8; returns the value, zero-extended. */
typedef uint64_t IoReadFn(void *opaque, uint64_t offset, unsigned size);
typedef void IoWriteFn(void *opaque, uint64_t offset, uint64_t value, unsigned size);

typedef struct IoRegionOps {
    IoReadFn *read;
    IoWriteFn *write;
} IoRegionOps;

typedef struct IoSpace IoSpace;
IoSpace *iospace_new(Bql *bql);
void iospace_free(IoSpace *space);
/* Returns 0, -EINVAL (empty, wraps) or -EEXIST (overlaps). name is copied. */
int iospace_add(IoSpace *space, int kind, uint64_t base, uint64_t size, const char *name,
                bool lock_free, const IoRegionOps *ops, void *opaque);
int iospace_remove(IoSpace *space, int kind, uint64_t base);
/* Another device behind the addresses of the region at base: no access falls in between. -ENOENT:
 * there is none. An access that is on its way may still reach the old one: see the next function.
 */
int iospace_replace(IoSpace *space, int kind, uint64_t base, const char *name, bool lock_free,
                    const IoRegionOps *ops, void *opaque);
/* Under the BQL, no vCPU inside an access (all are paused): from here on nobody reaches a region
 * that was removed or replaced. Frees what was kept for accesses on their way. */
void iospace_reclaim(IoSpace *space);

/* Writes of `size` bytes (0: any) with this value (match_any: any) signal fd instead of reaching
 * the handler. Used by accelerators without in-kernel ioeventfds. 0 or -errno. */
int iospace_add_ioeventfd(IoSpace *space, int kind, uint64_t addr, unsigned size, bool match_any,
                          uint64_t value, int fd);
int iospace_remove_ioeventfd(IoSpace *space, int kind, uint64_t addr, int fd);

/* What a read of nothing gives: an open bus. */
static inline uint64_t iospace_all_ones(unsigned size)
{
    return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1;
}

/* Not under the BQL. Unassigned reads give all ones, writes vanish; neither takes the lock. */
uint64_t iospace_read(IoSpace *space, int kind, uint64_t addr, unsigned size);
void iospace_write(IoSpace *space, int kind, uint64_t addr, uint64_t value, unsigned size);

#endif
