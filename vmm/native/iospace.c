/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Address-space dispatch. See iospace.h for the contract.
 *
 * A table is an immutable sorted array; a change builds a new one and publishes it with a release
 * store (partner: the acquire load in table_get()). Old tables are chained and freed when the vCPUs
 * are known to be elsewhere (iospace_reclaim(), called at an unplug), or with the space: reference
 * counting every exit would cost more than the few hundred bytes they keep.
 * A reader that still uses an old table calls a handler of a device that is being removed; the
 * remover pauses the vCPUs before it frees the device.
 *
 * Rejected: a radix tree (tables have some twenty entries; a binary search stays in two cache
 * lines) and a read-write lock (every exit would write a shared cache line).
 */
#include "iospace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

typedef struct IoRegion {
    uint64_t base, last; /* inclusive bounds */
    IoRegionOps ops;
    void *opaque;
    uint32_t site; /* the region's own call site: an acquisition names the device */
    bool lock_free;
    char name[48];
} IoRegion;

typedef struct IoTable {
    struct IoTable *older;
    unsigned count;
    IoRegion regions[];
} IoTable;

typedef struct IoEventfd {
    uint64_t addr, value;
    unsigned size;
    bool match_any;
    int kind, fd;
} IoEventfd;

typedef struct IoEventfdTable {
    struct IoEventfdTable *older;
    unsigned count;
    IoEventfd entries[];
} IoEventfdTable;

struct IoSpace {
    Bql *bql;
    _Atomic(IoTable *) tables[2];
    _Atomic(IoEventfdTable *) eventfds;
};

IoSpace *iospace_new(Bql *bql)
{
    IoSpace *space = calloc(1, sizeof(*space));

    if (!space)
        return NULL;
    space->bql = bql;
    return space;
}

static void free_tables(IoTable *table)
{
    while (table) {
        IoTable *older = table->older;
        free(table);
        table = older;
    }
}

static void free_eventfd_tables(IoEventfdTable *table)
{
    while (table) {
        IoEventfdTable *older = table->older;
        free(table);
        table = older;
    }
}

void iospace_free(IoSpace *space)
{
    for (int kind = 0; kind < 2; kind++)
        free_tables(atomic_load(&space->tables[kind]));
    free_eventfd_tables(atomic_load(&space->eventfds));
    free(space);
}

void iospace_reclaim(IoSpace *space)
{
    IoEventfdTable *eventfds = atomic_load_explicit(&space->eventfds, memory_order_relaxed);

    bql_assert_held(space->bql);
    for (int kind = 0; kind < 2; kind++) {
        IoTable *table = atomic_load_explicit(&space->tables[kind], memory_order_relaxed);
        if (table) {
            free_tables(table->older);
            table->older = NULL;
        }
    }
    if (eventfds) {
        free_eventfd_tables(eventfds->older);
        eventfds->older = NULL;
    }
}

/* Partner of the release stores in table_publish(). */
static const IoTable *table_get(IoSpace *space, int kind)
{
    return atomic_load_explicit(&space->tables[kind], memory_order_acquire);
}

static void table_publish(IoSpace *space, int kind, IoTable *table)
{
    table->older = atomic_load_explicit(&space->tables[kind], memory_order_relaxed);
    atomic_store_explicit(&space->tables[kind], table, memory_order_release);
}

static IoTable *table_copy(const IoTable *old, unsigned spare)
{
    unsigned count = old ? old->count : 0;
    IoTable *table = calloc(1, sizeof(*table) + (count + spare) * sizeof(IoRegion));

    if (table && old) {
        memcpy(table->regions, old->regions, count * sizeof(IoRegion));
        table->count = count;
    }
    return table;
}

static void region_fill(IoSpace *space, IoRegion *region, int kind, uint64_t base, uint64_t size,
                        const char *name, bool lock_free, const IoRegionOps *ops, void *opaque)
{
    *region = (IoRegion){.base = base,
                         .last = base + size - 1,
                         .ops = *ops,
                         .opaque = opaque,
                         .lock_free = lock_free};
    strncpy(region->name, name, sizeof(region->name) - 1);
    /* Told apart by region name, not by line: one line of code serves every device. */
    region->site = bql_site(space->bql, __FILE__, __LINE__, kind == IO_PIO ? "pio" : "mmio", name);
}

int iospace_add(IoSpace *space, int kind, uint64_t base, uint64_t size, const char *name,
                bool lock_free, const IoRegionOps *ops, void *opaque)
{
    const IoTable *old = table_get(space, kind);
    unsigned at = 0, count = old ? old->count : 0;

    if (size == 0 || base + size - 1 < base || (kind != IO_PIO && kind != IO_MMIO))
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        if (base <= old->regions[i].last && base + size - 1 >= old->regions[i].base)
            return -EEXIST;
        if (old->regions[i].base < base)
            at = i + 1;
    }
    IoTable *table = table_copy(old, 1);
    if (!table)
        return -ENOMEM;
    memmove(&table->regions[at + 1], &table->regions[at], (count - at) * sizeof(IoRegion));
    region_fill(space, &table->regions[at], kind, base, size, name, lock_free, ops, opaque);
    table->count = count + 1;
    table_publish(space, kind, table);
    return 0;
}

int iospace_remove(IoSpace *space, int kind, uint64_t base)
{
    const IoTable *old = table_get(space, kind);

    for (unsigned i = 0; old && i < old->count; i++) {
        if (old->regions[i].base != base)
            continue;
        IoTable *table = table_copy(old, 0);
        if (!table)
            return -ENOMEM;
        memmove(&table->regions[i], &table->regions[i + 1],
                (table->count - i - 1) * sizeof(IoRegion));
        table->count--;
        table_publish(space, kind, table);
        return 0;
    }
    return -ENOENT;
}

int iospace_replace(IoSpace *space, int kind, uint64_t base, const char *name, bool lock_free,
                    const IoRegionOps *ops, void *opaque)
{
    const IoTable *old = table_get(space, kind);

    for (unsigned i = 0; old && i < old->count; i++) {
        if (old->regions[i].base != base)
            continue;
        IoTable *table = table_copy(old, 0);
        if (!table)
            return -ENOMEM;
        region_fill(space, &table->regions[i], kind, base, old->regions[i].last - base + 1, name,
                    lock_free, ops, opaque);
        table_publish(space, kind, table);
        return 0;
    }
    return -ENOENT;
}

static const IoRegion *region_find(const IoTable *table, uint64_t addr)
{
    unsigned low = 0, high = table ? table->count : 0;

    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (addr > table->regions[mid].last)
            low = mid + 1;
        else if (addr < table->regions[mid].base)
            high = mid;
        else
            return &table->regions[mid];
    }
    return NULL;
}

/* ioeventfds */

static int eventfds_replace(IoSpace *space, const IoEventfd *add, int drop)
{
    IoEventfdTable *old = atomic_load_explicit(&space->eventfds, memory_order_relaxed);
    unsigned count = old ? old->count : 0;
    IoEventfdTable *table = calloc(1, sizeof(*table) + (count + 1) * sizeof(IoEventfd));

    if (!table)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        if ((int)i != drop)
            table->entries[table->count++] = old->entries[i];
    if (add)
        table->entries[table->count++] = *add;
    table->older = old;
    /* Partner: the acquire load in eventfd_signal(). */
    atomic_store_explicit(&space->eventfds, table, memory_order_release);
    return 0;
}

int iospace_add_ioeventfd(IoSpace *space, int kind, uint64_t addr, unsigned size, bool match_any,
                          uint64_t value, int fd)
{
    IoEventfd entry = {
        .addr = addr, .value = value, .size = size, .match_any = match_any, .kind = kind, .fd = fd};

    return eventfds_replace(space, &entry, -1);
}

int iospace_remove_ioeventfd(IoSpace *space, int kind, uint64_t addr, int fd)
{
    IoEventfdTable *old = atomic_load_explicit(&space->eventfds, memory_order_relaxed);

    for (unsigned i = 0; old && i < old->count; i++) {
        const IoEventfd *entry = &old->entries[i];
        if (entry->kind == kind && entry->addr == addr && entry->fd == fd)
            return eventfds_replace(space, NULL, (int)i);
    }
    return -ENOENT;
}

static bool eventfd_signal(IoSpace *space, int kind, uint64_t addr, uint64_t value, unsigned size)
{
    const IoEventfdTable *table = atomic_load_explicit(&space->eventfds, memory_order_acquire);

    for (unsigned i = 0; table && i < table->count; i++) {
        const IoEventfd *entry = &table->entries[i];
        if (entry->kind == kind && entry->addr == addr &&
            (entry->size == 0 || entry->size == size) &&
            (entry->match_any || entry->value == value)) {
            eventfd_write(entry->fd, 1);
            return true;
        }
    }
    return false;
}

/* Dispatch */

/* The region that holds all bytes of an access; one that sticks out belongs to nobody. */
static const IoRegion *region_for(IoSpace *space, int kind, uint64_t addr, unsigned size)
{
    const IoRegion *region = region_find(table_get(space, kind), addr);

    return region && size - 1 <= region->last - addr ? region : NULL;
}

uint64_t iospace_read(IoSpace *space, int kind, uint64_t addr, unsigned size)
{
    const IoRegion *region = region_for(space, kind, addr, size);
    uint64_t value;

    if (!region)
        return iospace_all_ones(size);
    if (!region->lock_free)
        bql_lock_site(space->bql, region->site);
    value = region->ops.read(region->opaque, addr - region->base, size);
    if (!region->lock_free)
        bql_unlock(space->bql);
    return value & iospace_all_ones(size);
}

void iospace_write(IoSpace *space, int kind, uint64_t addr, uint64_t value, unsigned size)
{
    const IoRegion *region;

    value &= iospace_all_ones(size);
    if (eventfd_signal(space, kind, addr, value, size))
        return;
    region = region_for(space, kind, addr, size);
    if (!region)
        return;
    if (!region->lock_free)
        bql_lock_site(space->bql, region->site);
    region->ops.write(region->opaque, addr - region->base, value, size);
    if (!region->lock_free)
        bql_unlock(space->bql);
}
