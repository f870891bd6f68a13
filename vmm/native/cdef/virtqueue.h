/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: virtqueue. Mirrors the header of the same name; see there for the contract. */
#define VIRTQUEUE_MAX_SIZE ...
struct iovec {
    void *iov_base;
    size_t iov_len;
    ...;
};
typedef struct VirtQueue {
    uint16_t size;
    bool ready;
    bool event_idx, indirect;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    const char *broken;
    uint16_t last_avail, used_idx, inuse;
    bool notification;
    ...;
} VirtQueue;
typedef struct VirtQueueElement {
    uint16_t head;
    uint16_t out_num, in_num;
    uint64_t out_bytes, in_bytes;
    ...;
} VirtQueueElement;
void virtqueue_init(VirtQueue *vq, const GuestMemory *mem);
int virtqueue_start(VirtQueue *vq);
void virtqueue_reset(VirtQueue *vq);
bool virtqueue_has_work(const VirtQueue *vq);
int virtqueue_pop(VirtQueue *vq, VirtQueueElement *elem, struct iovec *iov, unsigned max_iov);
void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem, uint32_t written);
bool virtqueue_should_notify(VirtQueue *vq);
void virtqueue_set_notification(VirtQueue *vq, bool on);
