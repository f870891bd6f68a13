/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "blk.h"
#include "virtio_mmio.h"
#include "virtio_pci.h"

#define BLK_F_RO (1ull << 5)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_MQ (1ull << 12)

enum {
    BLK_DEVICE_ID = 2,
    STATUS_ACKNOWLEDGE = 1,
    CONFIG_CAPACITY = 0,
    CONFIG_NUM_QUEUES = 34,
    WIRE_TYPE_OFFSET = __builtin_offsetof(struct guest_blk_wire, type),
    WIRE_STATUS_OFFSET = __builtin_offsetof(struct guest_blk_wire, status),
    HEADER_SIZE = 16,
};

_Static_assert(sizeof(struct guest_blk_wire) == 128, "two cache lines");
_Static_assert(WIRE_STATUS_OFFSET - WIRE_TYPE_OFFSET == HEADER_SIZE, "virtio_blk_req is packed");

static bool find_on_mmio(struct guest_blk *blk, const struct platform *platform,
                         const struct guest_params *params)
{
    uint64_t count = params->device_count ? params->device_count : params->slot_count;
    uint64_t skip = params->disk;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t base =
            params->device_count ? params->devices[i] : params->slot_base + i * params->slot_stride;

        if (guest_virtio_mmio_probe(&blk->virtio, platform, base, BLK_DEVICE_ID) && !skip--)
            return true;
    }
    return false;
}

/*
 * transport=auto: virtio-mmio devices that the command line names, else PCI, else virtio-mmio at
 * its usual place. Last, because on a machine with PCI any device's registers may lie there, and
 * reading them could have an effect.
 */
static const char *find_device(struct guest_blk *blk, const struct platform *platform,
                               const struct guest_params *params)
{
    static const char *const missing[] = {"no such virtio block device",
                                          "no such virtio-mmio block device",
                                          "no such virtio-pci block device on bus 0"};
    const bool mmio = params->transport != GUEST_TRANSPORT_PCI;
    const bool pci = params->transport != GUEST_TRANSPORT_MMIO;
    const bool mmio_first = !pci || params->device_count || params->slots_given;

    if (mmio && mmio_first && find_on_mmio(blk, platform, params))
        return 0;
    if (pci && guest_virtio_pci_probe(&blk->virtio, platform, BLK_DEVICE_ID, params->disk))
        return guest_virtio_pci_map(&blk->virtio);
    if (mmio && !mmio_first && find_on_mmio(blk, platform, params))
        return 0;
    return missing[params->transport];
}

bool guest_blk_is_new(struct guest_blk *blk, const struct platform *platform,
                      const struct guest_params *params)
{
    return !find_device(blk, platform, params) && blk->virtio.ops->read_status(&blk->virtio) == 0;
}

void guest_blk_mark_used(struct guest_blk *blk)
{
    blk->virtio.ops->write_status(&blk->virtio, STATUS_ACKNOWLEDGE);
}

/* Flags and links of the chain header -> data -> status, or header -> status for a flush. */
void guest_blk_set_op(struct guest_blk_slot *slot, enum guest_blk_op op)
{
    slot->op = op;
    slot->wire->type = op;
    slot->chain[0].next = (uint16_t)(slot->first + (op == GUEST_BLK_FLUSH ? 2 : 1));
    slot->chain[1].flags = VIRTQ_DESC_NEXT | (op == GUEST_BLK_READ ? VIRTQ_DESC_WRITE : 0);
}

static void init_slot(struct guest_blk *blk, unsigned number, uint64_t wire_gpa,
                      uint64_t buffer_gpa)
{
    struct guest_blk_slot *slot = &blk->slots[number];
    struct guest_queue *q = &blk->queues[slot->queue];

    if (blk->indirect) {
        const struct virtq_desc whole = {
            .addr = wire_gpa, .len = sizeof(slot->wire->table), .flags = VIRTQ_DESC_INDIRECT};

        q->desc[slot->head] = whole;
        slot->chain = slot->wire->table;
        slot->first = 0;
    } else {
        slot->chain = &q->desc[slot->head];
        slot->first = slot->head;
    }
    slot->chain[0].addr = wire_gpa + WIRE_TYPE_OFFSET;
    slot->chain[0].len = HEADER_SIZE;
    slot->chain[0].flags = VIRTQ_DESC_NEXT;
    slot->chain[1].addr = buffer_gpa;
    slot->chain[1].len = blk->bs;
    slot->chain[1].next = (uint16_t)(slot->first + 2);
    slot->chain[2].addr = wire_gpa + WIRE_STATUS_OFFSET;
    slot->chain[2].len = 1;
    slot->chain[2].flags = VIRTQ_DESC_WRITE;
    guest_blk_set_op(slot, GUEST_BLK_READ);
    blk->slot_of_head[slot->queue][slot->head] = (uint16_t)(number + 1);
}

static const char *init_slots(struct guest_blk *blk, struct guest_dma *dma)
{
    struct guest_dma_block wires, buffers;
    /* Page-aligned blocks suit a host that opened its file with O_DIRECT. */
    uint64_t stride = (blk->bs + 4095ull) & ~4095ull;

    if (!guest_dma_alloc(dma, sizeof(struct guest_blk_wire) * blk->slot_count, 128, &wires) ||
        !guest_dma_alloc(dma, stride * blk->slot_count, 4096, &buffers))
        return "not enough guest memory for this iodepth and bs";
    for (unsigned i = 0; i < blk->slot_count; i++) {
        struct guest_blk_slot *slot = &blk->slots[i];

        slot->queue = (uint16_t)(i % blk->queue_count);
        slot->head = (uint16_t)(i / blk->queue_count * (blk->indirect ? 1 : 3));
        slot->wire = (struct guest_blk_wire *)wires.ptr + i;
        slot->buffer = (uint8_t *)buffers.ptr + i * stride;
        slot->in_flight = false;
        init_slot(blk, i, wires.gpa + i * sizeof(struct guest_blk_wire), buffers.gpa + i * stride);
    }
    return 0;
}

static unsigned usable_queues(const struct guest_blk *blk, uint64_t wanted)
{
    uint64_t offered = 1;

    if (blk->virtio.features & BLK_F_MQ)
        offered = guest_virtio_config(&blk->virtio, CONFIG_NUM_QUEUES, 2);
    if (!offered)
        offered = 1;
    return (unsigned)(wanted < offered ? wanted : offered);
}

const char *guest_blk_open(struct guest_blk *blk, struct guest_dma *dma,
                           const struct guest_params *params)
{
    uint64_t wanted = VIRTIO_F_EVENT_IDX | BLK_F_RO | BLK_F_FLUSH | BLK_F_MQ;
    uint64_t per_queue;
    const char *problem = find_device(blk, dma->platform, params);

    if (params->indirect)
        wanted |= VIRTIO_F_INDIRECT_DESC;
    if (!problem)
        problem = guest_virtio_negotiate(&blk->virtio, wanted);
    if (!problem)
        problem = blk->virtio.ops->set_interrupts(&blk->virtio, params->irq);
    if (problem)
        return problem;
    blk->sectors = guest_virtio_config(&blk->virtio, CONFIG_CAPACITY, 8);
    blk->bs = (unsigned)params->bs;
    blk->slot_count = (unsigned)params->iodepth;
    blk->queue_count = usable_queues(blk, params->queues);
    blk->indirect = blk->virtio.features & VIRTIO_F_INDIRECT_DESC;
    blk->event_idx = blk->virtio.features & VIRTIO_F_EVENT_IDX;
    blk->can_flush = blk->virtio.features & BLK_F_FLUSH;
    blk->read_only = blk->virtio.features & BLK_F_RO;
    blk->irq = params->irq;
    per_queue = (blk->slot_count + blk->queue_count - 1) / blk->queue_count;
    for (unsigned i = 0; i < blk->queue_count && !problem; i++)
        problem = guest_virtio_add_queue(&blk->virtio, &blk->queues[i], dma, (uint16_t)i,
                                         per_queue * (blk->indirect ? 1 : 3), blk->irq);
    if (!problem)
        problem = init_slots(blk, dma);
    if (!problem)
        guest_virtio_start(&blk->virtio);
    return problem;
}

void guest_blk_close(struct guest_blk *blk)
{
    if (blk->virtio.msix)
        blk->msix_pending = guest_pci_msix_pending(blk->virtio.platform, blk->queue_count);
    guest_virtio_reset(&blk->virtio);
}
