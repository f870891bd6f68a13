/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions of bus 0 through configuration mechanism 1 (ports 0xcf8 and 0xcfc), one CPU at a
 * time. On a machine without PCI these ports read as all ones, which is "no function there".
 *
 * Nothing a function reports is trusted: walks are bounded, sizes are powers of two, structures
 * are checked against the BAR that holds them.
 */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "platform.h"

enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_COMMAND_MEMORY = 1 << 1,
    PCI_COMMAND_MASTER = 1 << 2,
    PCI_COMMAND_NO_INTX = 1 << 10,
    PCI_CAP_VENDOR = 0x09,
    PCI_CAP_MSIX = 0x11,
    PCI_BARS = 6,
};

struct guest_pci {
    const struct platform *platform;
    unsigned number; /* device * 8 + function */
};

struct guest_pci_bar {
    uint64_t address, size; /* bytes, a power of two; 0: no such BAR, or one of ports */
    bool wide;              /* 64 bits, two registers */
};

struct guest_pci_walk {
    unsigned at, left; /* both 0: not begun */
    bool broken;       /* a pointer into the header, or a loop */
};

struct guest_pci_msix {
    unsigned capability; /* 0: the function has none */
    uint32_t entries;
    uint64_t table; /* gpa */
};

uint32_t guest_pci_read(const struct guest_pci *fn, unsigned reg, unsigned size);
void guest_pci_write(const struct guest_pci *fn, unsigned reg, uint32_t value, unsigned size);
void guest_pci_change_command(const struct guest_pci *fn, uint32_t clear, uint32_t set);
/* First existing function with a number of at least fn->number; false: no more. */
bool guest_pci_find(struct guest_pci *fn);
/* Step to the next capability, whose offset is then walk->at; false at the end. */
bool guest_pci_next_capability(const struct guest_pci *fn, struct guest_pci_walk *walk);
/*
 * Describe a BAR; a memory BAR that is unassigned or not below 4 GiB is moved there first. The
 * function's memory decoding is off. NULL or a static one-line message.
 */
const char *guest_pci_map_bar(const struct guest_pci *fn, unsigned index,
                              struct guest_pci_bar *bar);

/* The MSI-X capability at this offset. NULL or a static one-line message. Memory decoding off. */
const char *guest_pci_msix_map(const struct guest_pci *fn, unsigned capability,
                               struct guest_pci_msix *msix);
void guest_pci_msix_enable(const struct guest_pci *fn, const struct guest_pci_msix *msix, bool on);
/* Entry `index` (below msix->entries) interrupts CPU 0 with a vector of its own. */
void guest_pci_msix_set_entry(const struct guest_pci *fn, const struct guest_pci_msix *msix,
                              unsigned index);
/* How many of the first `entries` (up to 16) have interrupts waiting in CPU 0's local APIC. */
unsigned guest_pci_msix_pending(const struct platform *platform, unsigned entries);

#endif
