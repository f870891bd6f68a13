/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device side of a split virtqueue (virtio 1.2, section 2.7): VERSION_1 layout, indirect
 * descriptors, EVENT_IDX. Knows nothing about notification transport, threads or locks: one
 * thread at a time calls it. Every value in guest memory may change at any time and is read once.
 */
#ifndef VMM_NATIVE_VIRTQUEUE_H
#define VMM_NATIVE_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory.h"

#define VIRTQUEUE_MAX_SIZE 1024

typedef struct VirtQueue {
    const GuestMemory *mem;
    /* Set by the driver through the transport, fixed while ready. */
    uint16_t size; /* power of two, 1..VIRTQUEUE_MAX_SIZE */
    bool ready;
    bool event_idx, indirect;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    /* Device state. */
    const char *broken; /* why, a static string; NULL while healthy */
    uint16_t last_avail, used_idx, signalled_used;
    bool signalled_used_valid;
    bool notification; /* the driver is asked to kick */
    uint16_t inuse;
    void *desc, *avail, *used; /* host addresses, checked by virtqueue_start() */
} VirtQueue;

/* One popped chain. out: driver to device; in: device to driver. */
typedef struct VirtQueueElement {
    uint16_t head;
    uint16_t out_num, in_num;
    uint64_t out_bytes, in_bytes;
    struct iovec *iov; /* out_num then in_num entries, in the caller's array */
} VirtQueueElement;

void virtqueue_init(VirtQueue *vq, const GuestMemory *mem);
/* Check addresses, alignment and size and map the rings. 0 or -EINVAL with vq->broken set. */
int virtqueue_start(VirtQueue *vq);
void virtqueue_reset(VirtQueue *vq);
/* True if the driver has made chains available that were not popped. */
bool virtqueue_has_work(const VirtQueue *vq);
/*
 * Pop the next chain into elem, using iov[0..max_iov). Returns 1, 0 (empty) or -EPROTO
 * (malformed: vq->broken says why, the queue gives nothing more until reset).
 */
int virtqueue_pop(VirtQueue *vq, VirtQueueElement *elem, struct iovec *iov, unsigned max_iov);
/* Return a chain: written = bytes put into its in part. Visible to the driver at once. */
void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, uint32_t written);
/* After one or more pushes: must the driver be interrupted (flags or EVENT_IDX)? */
bool virtqueue_should_notify(VirtQueue *vq);
/* Ask the driver to kick, or not to. After switching on, re-check virtqueue_has_work(). */
void virtqueue_set_notification(VirtQueue *vq, bool on);

#endif
