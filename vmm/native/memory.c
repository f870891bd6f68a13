/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: anonymous mappings in a small table that is complete before the first vCPU runs. */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u

GuestMemory *guest_memory_new(void)
{
    return calloc(1, sizeof(GuestMemory));
}

void guest_memory_free(GuestMemory *mem)
{
    if (!mem) {
        return;
    }
    for (unsigned i = 0; i < mem->count; i++) {
        munmap(mem->regions[i].host, mem->regions[i].size);
    }
    free(mem);
}

static bool overlaps(const GuestRamRegion *region, uint64_t gpa, uint64_t last)
{
    return gpa <= region->gpa + (region->size - 1) && region->gpa <= last;
}

int guest_memory_add_ram(GuestMemory *mem, uint64_t gpa, uint64_t size)
{
    uint64_t last = gpa + size - 1;

    /* Whole pages: KVM's memory slots want them, and host alignment then follows guest alignment.
     */
    if (size == 0 || last < gpa || gpa % PAGE_BYTES || size % PAGE_BYTES) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < mem->count; i++) {
        if (overlaps(&mem->regions[i], gpa, last)) {
            return -EINVAL;
        }
    }
    if (mem->count == GUEST_MEMORY_MAX_REGIONS) {
        return -ENOSPC;
    }
    void *host = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED) {
        return -ENOMEM;
    }
    /* Both are hints. A child process must not make the guest's pages copy-on-write while
     * io_uring or KVM has them pinned; huge pages keep the second-level page tables short. */
    (void)madvise(host, size, MADV_DONTFORK);
    (void)madvise(host, size, MADV_HUGEPAGE);
    mem->regions[mem->count] = (GuestRamRegion){.gpa = gpa, .size = size, .host = host};
    mem->count++;
    return 0;
}

void *guest_memory_ptr(const GuestMemory *mem, uint64_t gpa, uint64_t len)
{
    if (len == 0) {
        return NULL;
    }
    for (unsigned i = 0; i < mem->count; i++) {
        const GuestRamRegion *region = &mem->regions[i];
        uint64_t offset = gpa - region->gpa;

        /* Written so that no sum can wrap: gpa and len come from the guest. */
        if (gpa >= region->gpa && offset < region->size && len <= region->size - offset) {
            return region->host + offset;
        }
    }
    return NULL;
}

int guest_memory_read(const GuestMemory *mem, uint64_t gpa, void *buf, uint64_t len)
{
    if (len == 0) {
        return 0;
    }
    const void *host = guest_memory_ptr(mem, gpa, len);
    if (!host) {
        return -EFAULT;
    }
    memcpy(buf, host, len);
    return 0;
}

int guest_memory_write(const GuestMemory *mem, uint64_t gpa, const void *buf, uint64_t len)
{
    if (len == 0) {
        return 0;
    }
    void *host = guest_memory_ptr(mem, gpa, len);
    if (!host) {
        return -EFAULT;
    }
    memcpy(host, buf, len);
    return 0;
}
