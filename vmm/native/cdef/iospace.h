/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: iospace. Mirrors vmm/native/iospace.h; see there for the contract. */
enum IoKind { IO_PIO, IO_MMIO, ... };
typedef uint64_t IoReadFn(void *opaque, uint64_t offset, unsigned size);
typedef void IoWriteFn(void *opaque, uint64_t offset, uint64_t value, unsigned size);
typedef struct IoRegionOps {
    IoReadFn *read;
    IoWriteFn *write;
} IoRegionOps;
typedef struct IoSpace IoSpace;
IoSpace *iospace_new(Bql *bql);
void iospace_free(IoSpace *space);
int iospace_add(IoSpace *space, int kind, uint64_t base, uint64_t size, const char *name,
                bool lock_free, const IoRegionOps *ops, void *opaque);
int iospace_remove(IoSpace *space, int kind, uint64_t base);
int iospace_replace(IoSpace *space, int kind, uint64_t base, const char *name, bool lock_free,
                    const IoRegionOps *ops, void *opaque);
void iospace_reclaim(IoSpace *space);
int iospace_add_ioeventfd(IoSpace *space, int kind, uint64_t addr, unsigned size, bool match_any,
                          uint64_t value, int fd);
int iospace_remove_ioeventfd(IoSpace *space, int kind, uint64_t addr, int fd);
uint64_t iospace_read(IoSpace *space, int kind, uint64_t addr, unsigned size);
void iospace_write(IoSpace *space, int kind, uint64_t addr, uint64_t value, unsigned size);
