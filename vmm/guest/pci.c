/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firmware usually has placed the BARs. What it placed above 4 GiB is out of reach of start.S's
 * page tables, and a minimal firmware (QEMU's qboot) places nothing; such a BAR goes to the first
 * gap between WINDOW_BEGIN and WINDOW_END that no other BAR of bus 0 uses. On PCs that range holds
 * neither RAM nor the ECAM, and the IOAPIC and what follows lie above it. Windows of bridges are
 * not looked at: firmware lays them out downwards from the other end.
 */
#include "pci.h"

enum {
    PORT_ADDRESS = 0xcf8,
    PORT_DATA = 0xcfc,
    FUNCTIONS = 256, /* of a bus */

    REG_STATUS = 0x06,
    STATUS_CAPABILITIES = 1 << 4,
    REG_HEADER_TYPE = 0x0e,
    HEADER_MULTI_FUNCTION = 0x80,
    HEADER_BRIDGE = 1,
    BRIDGE_BARS = 2,
    REG_BAR = 0x10,
    BAR_IO = 1,
    BAR_TYPE = 6,
    BAR_TYPE_64 = 4,
    BAR_FLAGS = 0xf,
    REG_CAPABILITIES = 0x34,
    FIRST_CAPABILITY = 0x40,
    MAX_CAPABILITIES = (256 - FIRST_CAPABILITY) / 4,
    PLACE_TRIES = 64,

    MSIX_CONTROL = 2,
    MSIX_CONTROL_ENTRIES = 0x7ff, /* minus one */
    MSIX_CONTROL_MASK_ALL = 1 << 14,
    MSIX_CONTROL_ENABLE = 1 << 15,
    MSIX_TABLE = 4,
    MSIX_TABLE_BAR = 7,
    MSIX_ENTRY_SIZE = 16,

    /* Edge-triggered, fixed delivery. All vectors share one 32-bit register of the LAPIC. */
    FIRST_VECTOR = 0x40,
    MAX_VECTORS = 16,
};

#define WINDOW_BEGIN 0xf0000000ull
#define WINDOW_END 0xfe000000ull
#define LAPIC_BASE 0xfee00000ull /* also the address an MSI for CPU 0 goes to */
#define LAPIC_SPURIOUS (LAPIC_BASE + 0xf0)
#define LAPIC_SPURIOUS_ENABLE 0x1ff
#define LAPIC_PENDING (LAPIC_BASE + 0x200 + FIRST_VECTOR / 32 * 0x10)

static void select_register(const struct guest_pci *fn, unsigned reg)
{
    platform_pio_write(fn->platform, PORT_ADDRESS, 1u << 31 | fn->number << 8 | (reg & 0xfc), 4);
}

uint32_t guest_pci_read(const struct guest_pci *fn, unsigned reg, unsigned size)
{
    select_register(fn, reg);
    return (uint32_t)platform_pio_read(fn->platform, (uint16_t)(PORT_DATA + (reg & 3)), size);
}

void guest_pci_write(const struct guest_pci *fn, unsigned reg, uint32_t value, unsigned size)
{
    select_register(fn, reg);
    platform_pio_write(fn->platform, (uint16_t)(PORT_DATA + (reg & 3)), value, size);
}

void guest_pci_change_command(const struct guest_pci *fn, uint32_t clear, uint32_t set)
{
    guest_pci_write(fn, PCI_COMMAND, (guest_pci_read(fn, PCI_COMMAND, 2) & ~clear) | set, 2);
}

static bool exists(const struct guest_pci *fn)
{
    return guest_pci_read(fn, PCI_VENDOR_ID, 2) != 0xffff;
}

bool guest_pci_find(struct guest_pci *fn)
{
    for (; fn->number < FUNCTIONS; fn->number++) {
        struct guest_pci first = {fn->platform, fn->number & ~7u};

        if (!exists(&first) ||
            (fn->number != first.number &&
             !(guest_pci_read(&first, REG_HEADER_TYPE, 1) & HEADER_MULTI_FUNCTION)))
            fn->number |= 7; /* on to the next device */
        else if (exists(fn))
            return true;
    }
    return false;
}

bool guest_pci_next_capability(const struct guest_pci *fn, struct guest_pci_walk *walk)
{
    unsigned pointer;

    if (walk->at) {
        pointer = guest_pci_read(fn, walk->at + 1, 1);
    } else {
        if (!(guest_pci_read(fn, REG_STATUS, 2) & STATUS_CAPABILITIES))
            return false;
        pointer = guest_pci_read(fn, REG_CAPABILITIES, 1);
        walk->left = MAX_CAPABILITIES;
    }
    pointer &= 0xfc;
    if (!pointer)
        return false;
    walk->broken = pointer < FIRST_CAPABILITY || !walk->left;
    walk->at = pointer;
    walk->left--;
    return !walk->broken;
}

/* Memory decoding is off: for a moment the BAR holds the highest address it can. */
static uint32_t writable_bits(const struct guest_pci *fn, unsigned reg, uint32_t value)
{
    uint32_t bits;

    guest_pci_write(fn, reg, UINT32_MAX, 4);
    bits = guest_pci_read(fn, reg, 4);
    guest_pci_write(fn, reg, value, 4);
    return bits;
}

/* An I/O BAR is left alone and counts as none: I/O decoding may be on, and nothing here uses it. */
static void read_bar(const struct guest_pci *fn, unsigned index, struct guest_pci_bar *bar)
{
    const unsigned reg = REG_BAR + index * 4;
    const uint32_t low = guest_pci_read(fn, reg, 4);
    const struct guest_pci_bar none = {0};
    uint64_t mask;

    *bar = none;
    if (low & BAR_IO)
        return;
    bar->wide = (low & BAR_TYPE) == BAR_TYPE_64 && index + 1 < PCI_BARS;
    bar->address = low & ~(uint32_t)BAR_FLAGS;
    mask = writable_bits(fn, reg, low) & ~(uint32_t)BAR_FLAGS;
    if (bar->wide) {
        const uint32_t high = guest_pci_read(fn, reg + 4, 4);

        mask |= (uint64_t)writable_bits(fn, reg + 4, high) << 32;
        bar->address |= (uint64_t)high << 32;
    }
    bar->size = mask & -mask;
}

/* End of a BAR of this function that the range touches, or 0. */
static uint64_t overlap_in(const struct guest_pci *fn, uint64_t begin, uint64_t size)
{
    const uint32_t command = guest_pci_read(fn, PCI_COMMAND, 2);
    const uint32_t type = guest_pci_read(fn, REG_HEADER_TYPE, 1) & ~HEADER_MULTI_FUNCTION;
    const unsigned count = type == 0 ? PCI_BARS : type == HEADER_BRIDGE ? BRIDGE_BARS : 0;
    struct guest_pci_bar bar = {0};
    uint64_t end = 0;

    guest_pci_write(fn, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY, 2);
    for (unsigned i = 0; i < count && !end; i += bar.wide ? 2 : 1) {
        read_bar(fn, i, &bar);
        if (bar.address && bar.address < begin + size && begin < bar.address + bar.size)
            end = bar.address + bar.size;
    }
    guest_pci_write(fn, PCI_COMMAND, command, 2);
    return end;
}

static uint64_t overlap(const struct platform *platform, uint64_t begin, uint64_t size)
{
    struct guest_pci fn = {platform, 0};
    uint64_t end = 0;

    for (; !end && guest_pci_find(&fn); fn.number++)
        end = overlap_in(&fn, begin, size);
    return end;
}

static bool place_bar(const struct guest_pci *fn, unsigned index, struct guest_pci_bar *bar)
{
    uint64_t begin = WINDOW_BEGIN;

    for (unsigned i = 0; i < PLACE_TRIES; i++) {
        uint64_t taken_until;

        begin = (begin + bar->size - 1) & ~(bar->size - 1);
        if (bar->size > WINDOW_END - WINDOW_BEGIN || begin > WINDOW_END - bar->size)
            return false;
        taken_until = overlap(fn->platform, begin, bar->size);
        if (!taken_until) {
            bar->address = begin;
            guest_pci_write(fn, REG_BAR + index * 4, (uint32_t)begin, 4);
            if (bar->wide)
                guest_pci_write(fn, REG_BAR + index * 4 + 4, 0, 4);
            return true;
        }
        begin = taken_until;
    }
    return false;
}

const char *guest_pci_map_bar(const struct guest_pci *fn, unsigned index, struct guest_pci_bar *bar)
{
    const uint64_t limit = 1ull << 32;

    read_bar(fn, index, bar);
    if (!bar->size)
        return 0;
    if (bar->address && bar->size < limit && bar->address <= limit - bar->size)
        return 0;
    return place_bar(fn, index, bar) ? 0 : "no room below 4 GiB for a PCI BAR";
}

const char *guest_pci_msix_map(const struct guest_pci *fn, unsigned capability,
                               struct guest_pci_msix *msix)
{
    const uint32_t table = guest_pci_read(fn, capability + MSIX_TABLE, 4);
    const uint32_t index = table & MSIX_TABLE_BAR, offset = table & ~(uint32_t)MSIX_TABLE_BAR;
    struct guest_pci_bar bar;
    const char *problem;

    msix->entries = (guest_pci_read(fn, capability + MSIX_CONTROL, 2) & MSIX_CONTROL_ENTRIES) + 1;
    if (index >= PCI_BARS)
        return "the MSI-X table lies outside its PCI BAR";
    problem = guest_pci_map_bar(fn, index, &bar);
    if (problem)
        return problem;
    if ((uint64_t)offset + msix->entries * MSIX_ENTRY_SIZE > bar.size)
        return "the MSI-X table lies outside its PCI BAR";
    msix->capability = capability;
    msix->table = bar.address + offset;
    return 0;
}

void guest_pci_msix_enable(const struct guest_pci *fn, const struct guest_pci_msix *msix, bool on)
{
    uint32_t control = guest_pci_read(fn, msix->capability + MSIX_CONTROL, 2);

    control &= ~(uint32_t)(MSIX_CONTROL_MASK_ALL | MSIX_CONTROL_ENABLE);
    guest_pci_write(fn, msix->capability + MSIX_CONTROL, control | (on ? MSIX_CONTROL_ENABLE : 0),
                    2);
    if (on) /* a local APIC that is not enabled drops what is sent to it */
        platform_mmio_write(fn->platform, LAPIC_SPURIOUS, LAPIC_SPURIOUS_ENABLE, 4);
}

void guest_pci_msix_set_entry(const struct guest_pci *fn, const struct guest_pci_msix *msix,
                              unsigned index)
{
    const uint64_t entry = msix->table + (uint64_t)index * MSIX_ENTRY_SIZE;

    platform_mmio_write(fn->platform, entry, LAPIC_BASE, 4);
    platform_mmio_write(fn->platform, entry + 4, 0, 4);
    platform_mmio_write(fn->platform, entry + 8, FIRST_VECTOR + index % MAX_VECTORS, 4);
    platform_mmio_write(fn->platform, entry + 12, 0, 4); /* not masked */
}

unsigned guest_pci_msix_pending(const struct platform *platform, unsigned entries)
{
    uint64_t pending = platform_mmio_read(platform, LAPIC_PENDING, 4);
    unsigned count = 0;

    for (unsigned i = 0; i < entries && i < MAX_VECTORS; i++)
        count += pending >> (FIRST_VECTOR % 32 + i) & 1;
    return count;
}
