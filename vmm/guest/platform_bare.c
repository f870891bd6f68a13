/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine without an operating system. start.S enters here in ring 3 with the low 4 GiB
 * identity-mapped.
 *
 * Memory: the image lies at 1 MiB; struct bare, with all state of the guest, right behind it
 * (image_end); rings and buffers from there to the end of that piece of RAM. The page at
 * AP_TRAMPOLINE is overwritten only after the boot parameters have been copied.
 *
 * TSC frequency, first that answers: tsc_khz= on the command line, CPUID leaf 0x40000010, CPUID
 * leaf 0x15, kvmclock. No calibration against a timer: `-M microvm,pit=off,rtc=off` has none.
 */
#ifdef GUEST_BARE /* the hosted build brings its own platform */

#include "guest.h"

enum {
    AP_TRAMPOLINE = 0x8000,
    AP_STACK_SIZE = 8192,
    AP_START_MS = 1000,
    CMDLINE_SIZE = 4096,
    START_INFO_MAGIC = 0x336ec578,
    MEMMAP_RAM = 1,
    FALLBACK_RAM_END = 32 << 20, /* for a loader that gives no memory map */
    LAPIC_BASE = 0xfee00000,
    LAPIC_SPURIOUS = LAPIC_BASE + 0xf0,
    LAPIC_ICR_LOW = LAPIC_BASE + 0x300,
    LAPIC_ICR_HIGH = LAPIC_BASE + 0x310,
    ICR_INIT = 0x4500,
    ICR_STARTUP = 0x4600 | AP_TRAMPOLINE >> 12,
};

/* The PVH boot ABI: Xen's public arch-x86/hvm/start_info.h. */
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr;
    uint64_t memmap_paddr; /* from version 1 on */
    uint32_t memmap_entries, reserved;
};

struct hvm_memmap_entry {
    uint64_t addr, size;
    uint32_t type, reserved;
};

/* KVM's struct pvclock_vcpu_time_info. */
struct kvmclock {
    uint32_t version, pad;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags, pad2[2];
};

struct ap_mailbox {
    uint64_t stack_top, bare, cpu;
};

struct bare {
    struct platform platform;
    struct guest guest;
    char cmdline[CMDLINE_SIZE];
    _Atomic uint32_t cpus_started;
    uint8_t ap_stacks[GUEST_MAX_CPUS][AP_STACK_SIZE] __attribute__((aligned(16)));
};

extern char image_end[], trampoline_begin[], trampoline_end[];
extern struct ap_mailbox ap_mailbox;
extern const struct kvmclock kvmclock_page;

/* Called by start.S. */
void bare_main(const struct hvm_start_info *info);
void bare_ap_main(struct bare *bare, unsigned cpu);

/* The compiler may turn loops and assignments into calls of these two. */
void *memset(void *to, int value, unsigned long size);
void *memcpy(void *to, const void *from, unsigned long size);

void *memset(void *to, int value, unsigned long size)
{
    void *result = to;

    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return result;
}

void *memcpy(void *to, const void *from, unsigned long size)
{
    void *result = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return result;
}

static void cpuid(uint32_t leaf, uint32_t regs[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(regs[0]), "=b"(regs[1]), "=c"(regs[2]), "=d"(regs[3])
                     : "a"(leaf), "c"(0));
}

static uint64_t tsc_khz_from_cpuid(void)
{
    uint32_t regs[4];

    cpuid(1, regs);
    if (regs[2] >> 31) { /* under a hypervisor */
        cpuid(0x40000000, regs);
        if (regs[0] >= 0x40000010 && regs[0] < 0x40010000) {
            cpuid(0x40000010, regs);
            if (regs[0])
                return regs[0];
        }
    }
    cpuid(0, regs);
    if (regs[0] < 0x15)
        return 0;
    cpuid(0x15, regs);
    return regs[0] ? (uint64_t)regs[2] * regs[1] / regs[0] / 1000 : 0;
}

/* kvmclock: ns = (ticks << shift) * mul >> 32 */
static uint64_t tsc_khz_from_kvmclock(void)
{
    const volatile struct kvmclock *clock = &kvmclock_page;
    uint64_t khz;

    if (!clock->tsc_to_system_mul)
        return 0;
    khz = (1000000ull << 32) / clock->tsc_to_system_mul;
    return clock->tsc_shift < 0 ? khz << -clock->tsc_shift : khz >> clock->tsc_shift;
}

/* End of the RAM that contains address, below 3 GiB (identity-mapped and never a device). */
static uint64_t ram_end(const struct hvm_start_info *info, uint64_t address)
{
    const struct hvm_memmap_entry *map = (void *)info->memmap_paddr;
    uint64_t end = FALLBACK_RAM_END;

    if (info->version >= 1 && map)
        for (uint32_t i = 0; i < info->memmap_entries; i++)
            if (map[i].type == MEMMAP_RAM && map[i].addr <= address &&
                address - map[i].addr < map[i].size)
                end = map[i].addr + map[i].size;
    return end < 0xc0000000u ? end : 0xc0000000u;
}

static void copy_cmdline(struct bare *bare, const struct hvm_start_info *info)
{
    const char *from = (const char *)info->cmdline_paddr;

    for (unsigned i = 0; from && from[i] && i < CMDLINE_SIZE - 1; i++)
        bare->cmdline[i] = from[i];
}

static void lapic_write(uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)reg = value;
}

static bool wait_started(struct bare *bare, uint32_t count, uint64_t ms)
{
    uint64_t begin = platform_ticks(&bare->platform), limit = ms * bare->guest.tick_khz;

    /* Acquire: pairs with the release in bare_ap_main(); the mailbox is free again. */
    while (atomic_load_explicit(&bare->cpus_started, memory_order_acquire) < count) {
        if (platform_ticks(&bare->platform) - begin > limit)
            return false;
        platform_relax(&bare->platform);
    }
    return true;
}

/* INIT, SIPI, and a second SIPI if the first went unheard. LAPIC id = CPU index. */
static bool start_cpu(struct bare *bare, unsigned cpu)
{
    volatile struct ap_mailbox *mailbox = &ap_mailbox;

    mailbox->stack_top = (uint64_t)bare->ap_stacks[cpu] + AP_STACK_SIZE;
    mailbox->bare = (uint64_t)bare;
    mailbox->cpu = cpu;
    lapic_write(LAPIC_ICR_HIGH, cpu << 24);
    lapic_write(LAPIC_ICR_LOW, ICR_INIT);
    wait_started(bare, cpu, 10); /* the architecture asks for 10 ms; a hypervisor does not */
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        lapic_write(LAPIC_ICR_HIGH, cpu << 24);
        lapic_write(LAPIC_ICR_LOW, ICR_STARTUP);
        if (wait_started(bare, cpu, AP_START_MS))
            return true;
    }
    return false;
}

/* One at a time: they share the trampoline's mailbox. */
static void start_cpus(struct bare *bare)
{
    if (bare->guest.params.smp == 1)
        return;
    memcpy((void *)(uint64_t)AP_TRAMPOLINE, trampoline_begin,
           (unsigned long)(trampoline_end - trampoline_begin));
    lapic_write(LAPIC_SPURIOUS, 0x1ff); /* enable the local APIC */
    for (unsigned cpu = 1; cpu < bare->guest.params.smp; cpu++) {
        if (!start_cpu(bare, cpu)) {
            guest_fail(&bare->guest, GUEST_PLATFORM_FAILED,
                       "a CPU did not start: has the machine as many as smp= says?");
            bare->guest.params.smp = cpu; /* CPU 0 waits for those that run */
            return;
        }
    }
}

void bare_ap_main(struct bare *bare, unsigned cpu)
{
    /* Release: pairs with wait_started(). */
    atomic_fetch_add_explicit(&bare->cpus_started, 1, memory_order_release);
    guest_cpu_main(&bare->guest, cpu);
}

void bare_main(const struct hvm_start_info *info)
{
    struct bare *bare = (struct bare *)image_end;
    uint64_t dma_base = ((uint64_t)(bare + 1) + 4095) & ~4095ull, dma_end;

    memset(bare, 0, sizeof(*bare));
    if (info->magic == START_INFO_MAGIC) {
        copy_cmdline(bare, info);
        dma_end = ram_end(info, dma_base);
    } else {
        dma_end = FALLBACK_RAM_END;
    }
    bare->platform.dma_base = dma_base;
    bare->platform.dma_size = dma_end > dma_base ? dma_end - dma_base : 0;
    bare->platform.tick_khz = tsc_khz_from_cpuid();
    if (!bare->platform.tick_khz)
        bare->platform.tick_khz = tsc_khz_from_kvmclock();
    if (!guest_init(&bare->guest, &bare->platform, bare->cmdline))
        start_cpus(bare);
    guest_cpu_main(&bare->guest, 0);
}

#endif
