/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest needs of the machine it runs on, and nothing else. Two implementations:
 *
 *  - bare metal (GUEST_BARE defined): the platform_*() functions below are single instructions,
 *    guest addresses are pointers, and the struct only carries numbers;
 *  - hosted (the qtest accelerator, tests): the same functions go through the table, so each
 *    port or register access can enter a VMM's exit dispatch.
 *
 * gpa = guest physical address. Sizes of accesses are 1, 2, 4 or 8 bytes (ports: up to 4). Every
 * function may be called from several CPUs at once.
 */
#ifndef GUEST_PLATFORM_H
#define GUEST_PLATFORM_H

#include <stdint.h>

struct platform {
    void *opaque;
    uint64_t (*pio_read)(void *opaque, uint16_t port, unsigned size);
    void (*pio_write)(void *opaque, uint16_t port, uint64_t value, unsigned size);
    uint64_t (*mmio_read)(void *opaque, uint64_t gpa, unsigned size);
    void (*mmio_write)(void *opaque, uint64_t gpa, uint64_t value, unsigned size);
    void *(*ram)(void *opaque, uint64_t gpa); /* only asked about [dma_base, +dma_size) */
    /* [gpa, +size) of video memory, or NULL if not all of it is; below 4 GiB */
    void *(*vram)(void *opaque, uint64_t gpa, uint64_t size);
    uint64_t (*ticks)(void *opaque); /* monotonic, comparable between CPUs */
    void (*relax)(void *opaque);     /* called in every wait loop */
    uint64_t tick_khz;               /* frequency of ticks(); 0 if unknown */
    uint64_t dma_base, dma_size;     /* RAM for rings and buffers: gpa, bytes */
};

#ifdef GUEST_BARE

static inline uint64_t platform_pio_read(const struct platform *p, uint16_t port, unsigned size)
{
    uint32_t value = 0;

    if (size == 1)
        __asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port));
    else if (size == 2)
        __asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port));
    else
        __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void platform_pio_write(const struct platform *p, uint16_t port, uint64_t value,
                                      unsigned size)
{
    if (size == 1)
        __asm__ volatile("outb %b0, %w1" : : "a"((uint8_t)value), "Nd"(port));
    else if (size == 2)
        __asm__ volatile("outw %w0, %w1" : : "a"((uint16_t)value), "Nd"(port));
    else
        __asm__ volatile("outl %0, %w1" : : "a"((uint32_t)value), "Nd"(port));
}

static inline uint64_t platform_mmio_read(const struct platform *p, uint64_t gpa, unsigned size)
{
    if (size == 1)
        return *(volatile uint8_t *)gpa;
    if (size == 2)
        return *(volatile uint16_t *)gpa;
    if (size == 4)
        return *(volatile uint32_t *)gpa;
    return *(volatile uint64_t *)gpa;
}

static inline void platform_mmio_write(const struct platform *p, uint64_t gpa, uint64_t value,
                                       unsigned size)
{
    if (size == 1)
        *(volatile uint8_t *)gpa = (uint8_t)value;
    else if (size == 2)
        *(volatile uint16_t *)gpa = (uint16_t)value;
    else if (size == 4)
        *(volatile uint32_t *)gpa = (uint32_t)value;
    else
        *(volatile uint64_t *)gpa = value;
}

static inline void *platform_ram(const struct platform *p, uint64_t gpa)
{
    return (void *)gpa;
}

static inline void *platform_vram(const struct platform *p, uint64_t gpa, uint64_t size)
{
    return (void *)gpa;
}

static inline uint64_t platform_ticks(const struct platform *p)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline void platform_relax(const struct platform *p)
{
    __asm__ volatile("pause");
}

#else

static inline uint64_t platform_pio_read(const struct platform *p, uint16_t port, unsigned size)
{
    return p->pio_read(p->opaque, port, size);
}

static inline void platform_pio_write(const struct platform *p, uint16_t port, uint64_t value,
                                      unsigned size)
{
    p->pio_write(p->opaque, port, value, size);
}

static inline uint64_t platform_mmio_read(const struct platform *p, uint64_t gpa, unsigned size)
{
    return p->mmio_read(p->opaque, gpa, size);
}

static inline void platform_mmio_write(const struct platform *p, uint64_t gpa, uint64_t value,
                                       unsigned size)
{
    p->mmio_write(p->opaque, gpa, value, size);
}

static inline void *platform_ram(const struct platform *p, uint64_t gpa)
{
    return p->ram(p->opaque, gpa);
}

static inline void *platform_vram(const struct platform *p, uint64_t gpa, uint64_t size)
{
    return p->vram(p->opaque, gpa, size);
}

static inline uint64_t platform_ticks(const struct platform *p)
{
    return p->ticks(p->opaque);
}

static inline void platform_relax(const struct platform *p)
{
    p->relax(p->opaque);
}

#endif

#endif
