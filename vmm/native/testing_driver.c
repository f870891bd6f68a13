/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of virtio-mmio and of split virtqueues, for tests. */
#include "testing_driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "splitq.h"

typedef struct DriverQueue {
    uint64_t desc_gpa, avail_gpa, used_gpa, tables_gpa;
    SplitqDesc *desc;
    void *avail, *used;
    uint16_t added, published, taken; /* indices, wrapping at 2^16 */
    uint16_t free_count;
    uint16_t *free;    /* stack of free descriptors */
    uint16_t *length;  /* descriptors of the chain at this head */
    uint64_t *cookies; /* by head */
    int notifier;
} DriverQueue;

struct TestingDriver {
    const GuestMemory *mem;
    VirtioMmio *mmio;
    Bql *bql;
    AioContext *irq_ctx;
    VirtioIrq *irq;
    uint64_t irqs, end_gpa, features;
    unsigned num_queues;
    uint16_t size;
    DriverQueue *queues;
};

static uint64_t align_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

static void clear_ring(TestingDriver *driver, DriverQueue *queue)
{
    unsigned size = driver->size;

    memset(queue->desc, 0, splitq_desc_bytes(size));
    memset(queue->avail, 0, splitq_avail_bytes(size));
    memset(queue->used, 0, splitq_used_bytes(size));
    queue->added = queue->published = queue->taken = 0;
    queue->free_count = 0;
    for (unsigned i = size; i-- > 0;) {
        queue->free[queue->free_count++] = (uint16_t)i;
    }
}

static bool layout_queue(TestingDriver *driver, DriverQueue *queue)
{
    unsigned size = driver->size;
    uint64_t gpa = driver->end_gpa;

    queue->desc_gpa = gpa;
    queue->avail_gpa = gpa + splitq_desc_bytes(size);
    queue->used_gpa = align_up(queue->avail_gpa + splitq_avail_bytes(size), 4);
    queue->tables_gpa = align_up(queue->used_gpa + splitq_used_bytes(size), 16);
    driver->end_gpa = align_up(queue->tables_gpa + splitq_desc_bytes(size) * size, 4096);
    queue->desc = guest_memory_ptr(driver->mem, queue->desc_gpa, driver->end_gpa - gpa);
    queue->avail = guest_memory_ptr(driver->mem, queue->avail_gpa, splitq_avail_bytes(size));
    queue->used = guest_memory_ptr(driver->mem, queue->used_gpa, splitq_used_bytes(size));
    queue->free = calloc(size, sizeof(*queue->free));
    queue->length = calloc(size, sizeof(*queue->length));
    queue->cookies = calloc(size, sizeof(*queue->cookies));
    queue->notifier = -1;
    return queue->desc && queue->free && queue->length && queue->cookies;
}

TestingDriver *testing_driver_new(const GuestMemory *mem, VirtioMmio *mmio, Bql *bql,
                                  uint64_t ring_gpa, unsigned num_queues, uint16_t queue_size)
{
    TestingDriver *driver = calloc(1, sizeof(*driver));

    if (!driver) {
        return NULL;
    }
    driver->mem = mem;
    driver->mmio = mmio;
    driver->bql = bql;
    driver->size = queue_size;
    driver->end_gpa = align_up(ring_gpa, 4096);
    driver->queues = calloc(num_queues, sizeof(*driver->queues));
    for (unsigned i = 0; driver->queues && i < num_queues; i++) {
        driver->num_queues++;
        if (!layout_queue(driver, &driver->queues[i])) {
            break;
        }
        clear_ring(driver, &driver->queues[i]);
    }
    if (driver->num_queues < num_queues || !driver->queues[num_queues - 1].desc) {
        testing_driver_free(driver);
        return NULL;
    }
    return driver;
}

void testing_driver_free(TestingDriver *driver)
{
    if (!driver) {
        return;
    }
    for (unsigned i = 0; i < driver->num_queues; i++) {
        free(driver->queues[i].free);
        free(driver->queues[i].length);
        free(driver->queues[i].cookies);
    }
    free(driver->queues);
    free(driver);
}

const GuestMemory *testing_driver_memory(const TestingDriver *driver)
{
    return driver->mem;
}

uint64_t testing_driver_end_gpa(const TestingDriver *driver)
{
    return driver->end_gpa;
}

uint32_t testing_driver_read(TestingDriver *driver, uint64_t offset, unsigned size)
{
    bool held = bql_locked(driver->bql);

    if (!held) {
        bql_lock(driver->bql);
    }
    uint32_t value = (uint32_t)virtio_mmio_read(driver->mmio, offset, size);
    if (!held) {
        bql_unlock(driver->bql);
    }
    return value;
}

void testing_driver_write(TestingDriver *driver, uint64_t offset, uint32_t value, unsigned size)
{
    bool held = bql_locked(driver->bql);

    if (!held) {
        bql_lock(driver->bql);
    }
    virtio_mmio_write(driver->mmio, offset, value, size);
    if (!held) {
        bql_unlock(driver->bql);
    }
}

static void set_register(TestingDriver *driver, uint64_t offset, uint32_t value)
{
    testing_driver_write(driver, offset, value, 4);
}

static void set_address(TestingDriver *driver, uint64_t low, uint64_t gpa)
{
    set_register(driver, low, (uint32_t)gpa);
    set_register(driver, low + 4, (uint32_t)(gpa >> 32));
}

static void set_up_queue(TestingDriver *driver, unsigned index)
{
    DriverQueue *queue = &driver->queues[index];

    clear_ring(driver, queue);
    set_register(driver, VIRTIO_MMIO_QUEUE_SEL, index);
    set_register(driver, VIRTIO_MMIO_QUEUE_NUM, driver->size);
    set_address(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, queue->desc_gpa);
    set_address(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, queue->avail_gpa);
    set_address(driver, VIRTIO_MMIO_QUEUE_USED_LOW, queue->used_gpa);
    set_register(driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

uint32_t testing_driver_start(TestingDriver *driver, uint64_t features)
{
    uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
    uint64_t offered = 0;

    testing_driver_reset(driver);
    set_register(driver, VIRTIO_MMIO_STATUS, status);
    for (uint32_t half = 0; half < 2; half++) {
        set_register(driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, half);
        offered |= (uint64_t)testing_driver_read(driver, VIRTIO_MMIO_DEVICE_FEATURES, 4)
                   << (32 * half);
    }
    driver->features = features & offered;
    for (uint32_t half = 0; half < 2; half++) {
        set_register(driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
        set_register(driver, VIRTIO_MMIO_DRIVER_FEATURES,
                     (uint32_t)(driver->features >> (32 * half)));
    }
    status |= VIRTIO_CONFIG_S_FEATURES_OK;
    set_register(driver, VIRTIO_MMIO_STATUS, status);
    for (unsigned i = 0; i < driver->num_queues; i++) {
        set_up_queue(driver, i);
    }
    set_register(driver, VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
    return testing_driver_read(driver, VIRTIO_MMIO_STATUS, 4);
}

void testing_driver_reset(TestingDriver *driver)
{
    set_register(driver, VIRTIO_MMIO_STATUS, 0);
}

void testing_driver_set_notifier(TestingDriver *driver, unsigned queue, int fd)
{
    driver->queues[queue].notifier = fd;
}

static void take_interrupt(void *opaque)
{
    TestingDriver *driver = opaque;
    eventfd_t value;

    if (eventfd_read(virtio_irq_fd(driver->irq), &value) == 0) {
        driver->irqs++;
        virtio_irq_ack(driver->irq, VIRTIO_IRQ_QUEUE);
    }
}

int testing_driver_attach_irq(TestingDriver *driver, AioContext *ctx, VirtioIrq *irq)
{
    static const AioHandlerOps ops = {.io_read = take_interrupt};

    driver->irq_ctx = ctx;
    driver->irq = irq;
    return aio_set_fd_handler(ctx, virtio_irq_fd(irq), &ops, driver);
}

void testing_driver_detach_irq(TestingDriver *driver)
{
    static const AioHandlerOps none = {0};

    (void)aio_set_fd_handler(driver->irq_ctx, virtio_irq_fd(driver->irq), &none, NULL);
}

uint64_t testing_driver_irqs(const TestingDriver *driver)
{
    return driver->irqs;
}

static SplitqDesc make_desc(const TestingBuffer *buffer, uint16_t flags, uint16_t next)
{
    return (SplitqDesc){
        .addr = htole64(buffer->gpa),
        .len = htole32(buffer->len),
        .flags = htole16((uint16_t)(flags | (buffer->device_writes ? SPLITQ_WRITE : 0))),
        .next = htole16(next),
    };
}

static void write_direct(DriverQueue *queue, const TestingBuffer *buffers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        /* The chain takes the free stack from its top down. */
        uint16_t index = queue->free[queue->free_count - 1 - i];
        bool last = i + 1 == count;
        uint16_t next = last ? 0 : queue->free[queue->free_count - 2 - i];

        queue->desc[index] = make_desc(&buffers[i], last ? 0 : SPLITQ_NEXT, next);
    }
}

static void write_indirect(TestingDriver *driver, DriverQueue *queue, uint16_t head,
                           const TestingBuffer *buffers, unsigned count)
{
    uint64_t gpa = queue->tables_gpa + splitq_desc_bytes(driver->size) * head;
    SplitqDesc *table = guest_memory_ptr(driver->mem, gpa, splitq_desc_bytes(count));
    TestingBuffer whole = {.gpa = gpa, .len = (uint32_t)splitq_desc_bytes(count)};

    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count;

        table[i] = make_desc(&buffers[i], last ? 0 : SPLITQ_NEXT, last ? 0 : (uint16_t)(i + 1));
    }
    queue->desc[head] = make_desc(&whole, SPLITQ_INDIRECT, 0);
}

int testing_driver_add(TestingDriver *driver, unsigned index, const TestingBuffer *buffers,
                       unsigned count, bool indirect, uint64_t cookie)
{
    DriverQueue *queue = &driver->queues[index];
    unsigned needed = indirect ? 1 : count;

    if (count == 0 || count > driver->size || needed > queue->free_count) {
        return -1;
    }
    uint16_t head = queue->free[queue->free_count - 1];
    if (indirect) {
        write_indirect(driver, queue, head, buffers, count);
    } else {
        write_direct(queue, buffers, count);
    }
    queue->free_count -= (uint16_t)needed;
    queue->length[head] = (uint16_t)needed;
    queue->cookies[head] = cookie;
    splitq_store(splitq_avail_entry(queue->avail, queue->added & (driver->size - 1u)), head);
    queue->added++;
    return head;
}

void testing_driver_kick(TestingDriver *driver, unsigned index)
{
    if (driver->queues[index].notifier >= 0) {
        (void)eventfd_write(driver->queues[index].notifier, 1);
    } else {
        set_register(driver, VIRTIO_MMIO_QUEUE_NOTIFY, index);
    }
}

bool testing_driver_publish(TestingDriver *driver, unsigned index)
{
    DriverQueue *queue = &driver->queues[index];
    uint16_t old_idx = queue->published;
    bool wanted;

    splitq_publish_idx(queue->avail, queue->added);
    queue->published = queue->added;
    /* avail.idx is written, the device's wish is read: partner is the fence in
     * virtqueue_set_notification(). */
    splitq_event_fence();
    if (driver->features >> VIRTIO_RING_F_EVENT_IDX & 1) {
        uint16_t event = splitq_load(splitq_avail_event(queue->used, driver->size));
        wanted = splitq_need_event(event, queue->published, old_idx);
    } else {
        wanted = !(splitq_load(&((SplitqHead *)queue->used)->flags) & SPLITQ_USED_NO_NOTIFY);
    }
    if (wanted && queue->published != old_idx) {
        testing_driver_kick(driver, index);
        return true;
    }
    return false;
}

static void free_chain(TestingDriver *driver, DriverQueue *queue, uint16_t head)
{
    uint16_t index = head;

    for (unsigned i = 0; i < queue->length[head] && queue->free_count < driver->size; i++) {
        queue->free[queue->free_count++] = index;
        index = le16toh(queue->desc[index].next) & (uint16_t)(driver->size - 1);
    }
}

bool testing_driver_take(TestingDriver *driver, unsigned index, uint64_t *cookie, uint32_t *len)
{
    DriverQueue *queue = &driver->queues[index];

    if (splitq_acquire_idx(queue->used) == queue->taken) {
        return false;
    }
    SplitqUsedElem entry = *splitq_used_entry(queue->used, queue->taken & (driver->size - 1u));
    uint16_t head = (uint16_t)(le32toh(entry.id) & (driver->size - 1u));

    *cookie = queue->cookies[head];
    *len = le32toh(entry.len);
    queue->taken++;
    free_chain(driver, queue, head);
    /* Ask for an interrupt at the next completion; the caller looks again before it waits. */
    testing_driver_set_used_event(driver, index, 1);
    return true;
}

void testing_driver_set_used_event(TestingDriver *driver, unsigned index, uint16_t ahead)
{
    DriverQueue *queue = &driver->queues[index];

    splitq_store(splitq_used_event(queue->avail, driver->size),
                 (uint16_t)(queue->taken + ahead - 1));
    /* used_event is written, used.idx is read by the caller's next take: partner is the fence
     * in virtqueue_should_notify(). */
    splitq_event_fence();
}
