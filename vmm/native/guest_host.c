/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest_host.h"

#include <stdlib.h>
#include <string.h>

#include "aio.h"
#include "guest.h"

#define NS_PER_TICK_KHZ 1000000 /* ticks are nanoseconds of CLOCK_MONOTONIC */

struct GuestHost {
    struct platform platform;
    const GuestMemory *mem;
    GuestRamRegion vram; /* size 0: none */
    char *command_line;
    struct guest guest;
};

/* Which vCPU this thread is: the platform table has one opaque for all CPUs. */
static __thread Vcpu *thread_vcpu;

static uint64_t host_pio_read(void *opaque, uint16_t port, unsigned size)
{
    return qtest_read(thread_vcpu, IO_PIO, port, size);
}

static void host_pio_write(void *opaque, uint16_t port, uint64_t value, unsigned size)
{
    qtest_write(thread_vcpu, IO_PIO, port, value, size);
}

static uint64_t host_mmio_read(void *opaque, uint64_t gpa, unsigned size)
{
    return qtest_read(thread_vcpu, IO_MMIO, gpa, size);
}

static void host_mmio_write(void *opaque, uint64_t gpa, uint64_t value, unsigned size)
{
    qtest_write(thread_vcpu, IO_MMIO, gpa, value, size);
}

static void *host_ram(void *opaque, uint64_t gpa)
{
    GuestHost *host = opaque;

    return guest_memory_ptr(host->mem, gpa, 1);
}

static void *host_vram(void *opaque, uint64_t gpa, uint64_t size)
{
    const GuestHost *host = opaque;
    uint64_t offset = gpa - host->vram.gpa;

    /* No sum that could wrap: where the screen lies is said on the command line. */
    if (gpa < host->vram.gpa || offset > host->vram.size || size > host->vram.size - offset)
        return NULL;
    return host->vram.host ? host->vram.host + offset : NULL;
}

static uint64_t host_ticks(void *opaque)
{
    return (uint64_t)aio_now_ns();
}

static void host_relax(void *opaque)
{
    qtest_relax(thread_vcpu);
}

GuestHost *guest_host_new(const GuestMemory *mem, const char *command_line, uint64_t dma_base,
                          uint64_t dma_size)
{
    size_t size = (sizeof(GuestHost) + 127) & ~(size_t)127; /* struct guest wants cache lines */
    GuestHost *host = aligned_alloc(128, size);

    if (!host)
        return NULL;
    memset(host, 0, size);
    host->mem = mem;
    host->command_line = strdup(command_line);
    host->platform = (struct platform){
        .opaque = host,
        .pio_read = host_pio_read,
        .pio_write = host_pio_write,
        .mmio_read = host_mmio_read,
        .mmio_write = host_mmio_write,
        .ram = host_ram,
        .vram = host_vram,
        .ticks = host_ticks,
        .relax = host_relax,
        .tick_khz = NS_PER_TICK_KHZ,
        .dma_base = dma_base,
        .dma_size = dma_size,
    };
    guest_init(&host->guest, &host->platform, host->command_line ? host->command_line : "");
    return host;
}

void guest_host_set_vram(GuestHost *host, uint64_t gpa, uint64_t size, void *memory)
{
    host->vram = (GuestRamRegion){.gpa = gpa, .size = size, .host = memory};
}

void guest_host_free(GuestHost *host)
{
    free(host->command_line);
    free(host);
}

void guest_host_reset(GuestHost *host)
{
    memset(&host->guest, 0, sizeof(host->guest));
    guest_init(&host->guest, &host->platform, host->command_line ? host->command_line : "");
}

void guest_host_run(Vcpu *vcpu, void *opaque)
{
    GuestHost *host = opaque;

    thread_vcpu = vcpu;
    if (vcpu->index == 0 || vcpu->index < host->guest.params.smp)
        guest_cpu_main(&host->guest, vcpu->index);
}
