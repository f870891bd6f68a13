/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hands out the RAM that devices read and write. Nothing is ever given back. */
#ifndef GUEST_DMA_H
#define GUEST_DMA_H

#include <stdbool.h>
#include <stdint.h>

#include "platform.h"

struct guest_dma {
    const struct platform *platform;
    uint64_t next, end; /* gpa */
};

struct guest_dma_block {
    uint64_t gpa;
    void *ptr; /* zeroed */
};

static inline void guest_dma_init(struct guest_dma *dma, const struct platform *platform)
{
    dma->platform = platform;
    dma->next = platform->dma_base;
    dma->end = platform->dma_base + platform->dma_size;
}

/* align: a power of two. False if there is not that much left. */
static inline bool guest_dma_alloc(struct guest_dma *dma, uint64_t size, uint64_t align,
                                   struct guest_dma_block *block)
{
    uint64_t gpa = (dma->next + align - 1) & ~(align - 1);

    if (gpa > dma->end || size > dma->end - gpa)
        return false;
    dma->next = gpa + size;
    block->gpa = gpa;
    block->ptr = platform_ram(dma->platform, gpa);
    __builtin_memset(block->ptr, 0, size);
    return true;
}

#endif
