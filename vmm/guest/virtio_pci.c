/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the registers are is told by vendor capabilities: a structure type, a BAR, offset and
 * length. Of each type the first one counts that lies in a memory BAR; what is of an unknown type
 * or names a BAR that there is not is ignored, as the specification asks.
 */
#include "virtio_pci.h"

enum {
    VENDOR_VIRTIO = 0x1af4,
    MODERN_ID = 0x1040,        /* plus the device type */
    TRANSITIONAL_BLK = 0x1001, /* these have no system */
    BLK_DEVICE_ID = 2,

    CAP_LENGTH = 2,
    CAP_TYPE = 3,
    CAP_BAR = 4,
    CAP_OFFSET = 8,
    CAP_SIZE = 12,
    CAP_MULTIPLIER = 16,
    CAP_MIN_LENGTH = 16,

    TYPE_COMMON = 1,
    TYPE_NOTIFY = 2,
    TYPE_DEVICE = 4,

    COMMON_DEVICE_FEATURE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_MSIX_VECTOR = 16,
    COMMON_DEVICE_STATUS = 20,
    COMMON_CONFIG_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_MSIX_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY_OFF = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_DRIVER = 40,
    COMMON_QUEUE_DEVICE = 48,
    COMMON_LENGTH = 56,

    NOTIFY_WIDTH = 2,
    NO_VECTOR = 0xffff,
};

static uint32_t common_read(const struct guest_virtio *dev, unsigned reg, unsigned size)
{
    return (uint32_t)platform_mmio_read(dev->platform, dev->pci.common + reg, size);
}

static void common_write(const struct guest_virtio *dev, unsigned reg, uint32_t value,
                         unsigned size)
{
    platform_mmio_write(dev->platform, dev->pci.common + reg, value, size);
}

static void common_write_pair(const struct guest_virtio *dev, unsigned reg, uint64_t value)
{
    common_write(dev, reg, (uint32_t)value, 4);
    common_write(dev, reg + 4, (uint32_t)(value >> 32), 4);
}

static uint32_t pci_read_status(const struct guest_virtio *dev)
{
    return common_read(dev, COMMON_DEVICE_STATUS, 1);
}

static void pci_write_status(const struct guest_virtio *dev, uint32_t status)
{
    common_write(dev, COMMON_DEVICE_STATUS, status, 1);
}

static uint32_t pci_offered_features(const struct guest_virtio *dev, unsigned word)
{
    common_write(dev, COMMON_DEVICE_FEATURE_SELECT, word, 4);
    return common_read(dev, COMMON_DEVICE_FEATURE, 4);
}

static void pci_accept_features(const struct guest_virtio *dev, unsigned word, uint32_t bits)
{
    common_write(dev, COMMON_DRIVER_FEATURE_SELECT, word, 4);
    common_write(dev, COMMON_DRIVER_FEATURE, bits, 4);
}

static const char *pci_set_interrupts(struct guest_virtio *dev, bool irq)
{
    struct guest_virtio_pci *pci = &dev->pci;

    if (irq && !pci->msix.capability)
        return "irq=1 needs MSI-X, and the PCI device has none";
    if (pci->msix.capability)
        guest_pci_msix_enable(&pci->function, &pci->msix, irq);
    if (irq)
        common_write(dev, COMMON_CONFIG_MSIX_VECTOR, NO_VECTOR, 2);
    dev->msix = irq;
    return 0;
}

static uint32_t pci_select_queue(const struct guest_virtio *dev, uint16_t index)
{
    common_write(dev, COMMON_QUEUE_SELECT, index, 2);
    return common_read(dev, COMMON_QUEUE_SIZE, 2);
}

static const char *set_queue_vector(const struct guest_virtio *dev, const struct guest_queue *q)
{
    if (q->index >= dev->pci.msix.entries)
        return "the MSI-X table has fewer entries than queues are used";
    guest_pci_msix_set_entry(&dev->pci.function, &dev->pci.msix, q->index);
    common_write(dev, COMMON_QUEUE_MSIX_VECTOR, q->index, 2);
    if (common_read(dev, COMMON_QUEUE_MSIX_VECTOR, 2) != q->index)
        return "the PCI device refuses an MSI-X vector for a queue";
    return 0;
}

static const char *pci_enable_queue(const struct guest_virtio *dev, struct guest_queue *q)
{
    uint64_t notify =
        (uint64_t)common_read(dev, COMMON_QUEUE_NOTIFY_OFF, 2) * dev->pci.notify_multiplier;
    const char *problem = dev->msix ? set_queue_vector(dev, q) : 0;

    if (problem)
        return problem;
    if (notify + NOTIFY_WIDTH > dev->pci.notify_size)
        return "a queue's notification register lies outside the notify structure";
    q->notify_gpa = dev->pci.notify + notify;
    common_write(dev, COMMON_QUEUE_SIZE, q->size, 2);
    common_write_pair(dev, COMMON_QUEUE_DESC, q->desc_gpa);
    common_write_pair(dev, COMMON_QUEUE_DRIVER, q->avail_gpa);
    common_write_pair(dev, COMMON_QUEUE_DEVICE, q->used_gpa);
    common_write(dev, COMMON_QUEUE_ENABLE, 1, 2);
    return 0;
}

static uint32_t pci_config_generation(const struct guest_virtio *dev)
{
    return common_read(dev, COMMON_CONFIG_GENERATION, 1);
}

/* An MSI-X needs no acknowledgement at the device. */
static void pci_ack_interrupt(const struct guest_virtio *dev)
{
}

static const struct guest_virtio_ops pci_ops = {
    .name = "pci",
    .read_status = pci_read_status,
    .write_status = pci_write_status,
    .offered_features = pci_offered_features,
    .accept_features = pci_accept_features,
    .set_interrupts = pci_set_interrupts,
    .select_queue = pci_select_queue,
    .enable_queue = pci_enable_queue,
    .config_generation = pci_config_generation,
    .ack_interrupt = pci_ack_interrupt,
};

static bool is_type(const struct guest_pci *fn, uint32_t device_id)
{
    uint32_t found = guest_pci_read(fn, PCI_DEVICE_ID, 2);

    return guest_pci_read(fn, PCI_VENDOR_ID, 2) == VENDOR_VIRTIO &&
           (found == MODERN_ID + device_id ||
            (found == TRANSITIONAL_BLK && device_id == BLK_DEVICE_ID));
}

bool guest_virtio_pci_probe(struct guest_virtio *dev, const struct platform *platform,
                            uint32_t device_id, uint64_t skip)
{
    const struct guest_virtio candidate = {
        .platform = platform,
        .ops = &pci_ops,
        .notify_width = NOTIFY_WIDTH,
        .pci.function.platform = platform,
    };
    struct guest_pci *fn = &dev->pci.function;

    *dev = candidate;
    for (; guest_pci_find(fn); fn->number++)
        if (is_type(fn, device_id) && !skip--)
            return true;
    return false;
}

static const char unaligned[] = "a virtio structure of the PCI device is too small or unaligned";

/* A structure that its BAR holds: fills the place of its type in. */
static const char *take_structure(struct guest_virtio *dev, unsigned at, uint64_t gpa,
                                  uint32_t size)
{
    struct guest_virtio_pci *pci = &dev->pci;
    uint32_t multiplier;

    switch (guest_pci_read(&pci->function, at + CAP_TYPE, 1)) {
    case TYPE_COMMON:
        if (size < COMMON_LENGTH || gpa % 4)
            return unaligned;
        pci->common = gpa;
        return 0;
    case TYPE_NOTIFY:
        multiplier = guest_pci_read(&pci->function, at + CAP_MULTIPLIER, 4);
        if (gpa % NOTIFY_WIDTH)
            return unaligned;
        if (multiplier & (multiplier - 1) || multiplier == 1)
            return "the notify multiplier of the PCI device is not an even power of 2";
        pci->notify = gpa;
        pci->notify_size = size;
        pci->notify_multiplier = multiplier;
        return 0;
    default:
        if (gpa % 4)
            return unaligned;
        dev->config = gpa;
        dev->config_size = size;
        return 0;
    }
}

/* One of the types in use, for the first time? */
static bool wants_structure(const struct guest_virtio *dev, unsigned at)
{
    const uint32_t type = guest_pci_read(&dev->pci.function, at + CAP_TYPE, 1);
    const unsigned length = guest_pci_read(&dev->pci.function, at + CAP_LENGTH, 1);

    if (at + length > 256 || length < CAP_MIN_LENGTH)
        return false;
    if (type == TYPE_NOTIFY)
        return !dev->pci.notify && length >= CAP_MIN_LENGTH + 4;
    return (type == TYPE_COMMON && !dev->pci.common) || (type == TYPE_DEVICE && !dev->config);
}

static const char *read_structure(struct guest_virtio *dev, unsigned at)
{
    const struct guest_pci *fn = &dev->pci.function;
    const uint32_t index = guest_pci_read(fn, at + CAP_BAR, 1);
    const uint32_t offset = guest_pci_read(fn, at + CAP_OFFSET, 4);
    const uint32_t size = guest_pci_read(fn, at + CAP_SIZE, 4);
    struct guest_pci_bar bar;
    const char *problem;

    if (index >= PCI_BARS || !wants_structure(dev, at))
        return 0;
    problem = guest_pci_map_bar(fn, index, &bar);
    if (problem || !bar.size)
        return problem;
    if ((uint64_t)offset + size > bar.size)
        return "a virtio structure of the PCI device lies outside its BAR";
    return take_structure(dev, at, bar.address + offset, size);
}

static const char *read_capabilities(struct guest_virtio *dev)
{
    struct guest_pci_walk walk = {0};
    const struct guest_pci *fn = &dev->pci.function;
    const char *problem = 0;

    while (!problem && guest_pci_next_capability(fn, &walk)) {
        uint32_t id = guest_pci_read(fn, walk.at, 1);

        if (id == PCI_CAP_VENDOR)
            problem = read_structure(dev, walk.at);
        else if (id == PCI_CAP_MSIX && !dev->pci.msix.capability)
            problem = guest_pci_msix_map(fn, walk.at, &dev->pci.msix);
    }
    if (walk.broken)
        return "the capability list of the PCI device is broken";
    return problem;
}

const char *guest_virtio_pci_map(struct guest_virtio *dev)
{
    const struct guest_pci *fn = &dev->pci.function;
    const char *problem;

    guest_pci_change_command(fn, PCI_COMMAND_MEMORY, 0);
    problem = read_capabilities(dev);
    if (problem)
        return problem;
    if (!dev->pci.common || !dev->pci.notify || !dev->config)
        return "the PCI device has no virtio 1.0 registers (disable-modern=on?)";
    guest_pci_change_command(fn, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
    return 0;
}
