/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The split virtqueue in guest memory (virtio 1.2, section 2.7), little-endian, and the only ways
 * to touch it. Shared by the device side (virtqueue.c) and the driver of the tests
 * (testing_driver.c), so that both sides' barriers stand next to each other.
 */
#ifndef VMM_NATIVE_SPLITQ_H
#define VMM_NATIVE_SPLITQ_H

#include <endian.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#define SPLITQ_NEXT 1u     /* desc.flags: the chain goes on at desc.next */
#define SPLITQ_WRITE 2u    /* desc.flags: the device writes this buffer */
#define SPLITQ_INDIRECT 4u /* desc.flags: the buffer is a table of descriptors */
#define SPLITQ_AVAIL_NO_INTERRUPT 1u
#define SPLITQ_USED_NO_NOTIFY 1u

typedef struct SplitqDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
} SplitqDesc;

typedef struct SplitqUsedElem {
    uint32_t id;
    uint32_t len;
} SplitqUsedElem;

/* Both rings start with these two, then the entries, then the other side's event index. */
typedef struct SplitqHead {
    _Atomic uint16_t flags;
    _Atomic uint16_t idx;
} SplitqHead;

static inline uint64_t splitq_desc_bytes(unsigned size)
{
    return sizeof(SplitqDesc) * (uint64_t)size;
}

static inline uint64_t splitq_avail_bytes(unsigned size)
{
    return sizeof(SplitqHead) + sizeof(uint16_t) * ((uint64_t)size + 1);
}

static inline uint64_t splitq_used_bytes(unsigned size)
{
    return sizeof(SplitqHead) + sizeof(SplitqUsedElem) * (uint64_t)size + sizeof(uint16_t);
}

static inline _Atomic uint16_t *splitq_avail_entry(void *avail, unsigned slot)
{
    return (_Atomic uint16_t *)((uint8_t *)avail + sizeof(SplitqHead)) + slot;
}

static inline SplitqUsedElem *splitq_used_entry(void *used, unsigned slot)
{
    return (SplitqUsedElem *)((uint8_t *)used + sizeof(SplitqHead)) + slot;
}

/* Written by the driver: interrupt me when used.idx passes this. */
static inline _Atomic uint16_t *splitq_used_event(void *avail, unsigned size)
{
    return splitq_avail_entry(avail, size);
}

/* Written by the device: kick me when avail.idx passes this. */
static inline _Atomic uint16_t *splitq_avail_event(void *used, unsigned size)
{
    return (_Atomic uint16_t *)splitq_used_entry(used, size);
}

static inline uint16_t splitq_load(const _Atomic uint16_t *field)
{
    return le16toh(atomic_load_explicit(field, memory_order_relaxed));
}

static inline void splitq_store(_Atomic uint16_t *field, uint16_t value)
{
    atomic_store_explicit(field, htole16(value), memory_order_relaxed);
}

/* Pairs with splitq_publish_idx() of the other side: entries written before idx are seen. */
static inline uint16_t splitq_acquire_idx(const SplitqHead *head)
{
    return le16toh(atomic_load_explicit(&head->idx, memory_order_acquire));
}

/* Pairs with splitq_acquire_idx() of the other side. */
static inline void splitq_publish_idx(SplitqHead *head, uint16_t idx)
{
    atomic_store_explicit(&head->idx, htole16(idx), memory_order_release);
}

/*
 * The store-load barrier between "my index or event is written" and "I read the other side's
 * event or index" (2.7.7.2, 2.7.10.1, 2.7.13.4.1). Its partner is the same call on the other side:
 * with both, at least one side sees the other's store, so no notification is lost.
 */
static inline void splitq_event_fence(void)
{
#ifdef __SANITIZE_THREAD__
    /* ThreadSanitizer has no fences; this is one to the processor, and it orders nothing that the
     * sanitizer should know: the data is published by the indices' release and acquire. */
    _Atomic int full_barrier = 0;
    (void)atomic_exchange(&full_barrier, 1);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* 2.7.10: has the index moved past event in going from old_idx to new_idx? Wraps at 2^16. */
static inline int splitq_need_event(uint16_t event, uint16_t new_idx, uint16_t old_idx)
{
    return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old_idx);
}

/* One read of a descriptor at any alignment: the clobber keeps the compiler from looking again. */
static inline SplitqDesc splitq_read_desc(const void *host)
{
    SplitqDesc desc;

    memcpy(&desc, host, sizeof(desc));
    __asm__ volatile("" ::: "memory");
    desc.addr = le64toh(desc.addr);
    desc.len = le32toh(desc.len);
    desc.flags = le16toh(desc.flags);
    desc.next = le16toh(desc.next);
    return desc;
}

#endif
