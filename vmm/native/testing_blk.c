/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk requests of the test driver, cut into buffers in any way. */
#include <endian.h>
#include <stdlib.h>

#include "testing_driver.h"

typedef struct Header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
} Header;

#define HEADER_BYTES sizeof(Header)
#define STATUS_UNSET 0xff

/* Cut [gpa, gpa+len) into buffers of at most `piece` bytes; the number of buffers so far. */
static unsigned cut(TestingBuffer *buffers, unsigned count, uint64_t gpa, uint64_t len,
                    uint32_t piece, bool device_writes)
{
    while (len > 0 && count < VIRTQUEUE_MAX_SIZE) {
        uint32_t part = piece < len ? piece : (uint32_t)len;

        buffers[count++] = (TestingBuffer){gpa, part, device_writes};
        gpa += part;
        len -= part;
    }
    return count;
}

int testing_driver_add_blk(TestingDriver *driver, unsigned queue, const TestingBlkRequest *req)
{
    TestingBuffer *buffers = calloc(VIRTQUEUE_MAX_SIZE, sizeof(*buffers));
    uint64_t data = req->gpa + HEADER_BYTES, status = data + req->len;
    Header header = {.type = htole32(req->type), .sector = htole64(req->sector)};
    uint8_t unset = STATUS_UNSET;
    const GuestMemory *mem = testing_driver_memory(driver);
    unsigned count;

    if (!buffers || guest_memory_write(mem, req->gpa, &header, sizeof(header)) < 0 ||
        guest_memory_write(mem, status, &unset, 1) < 0) {
        free(buffers);
        return -1;
    }
    if (req->piece == 0) {
        count = cut(buffers, 0, req->gpa, HEADER_BYTES, HEADER_BYTES, false);
        count = cut(buffers, count, data, req->len, UINT32_MAX, req->device_writes);
        count = cut(buffers, count, status, 1, 1, true);
    } else {
        uint64_t writable = req->device_writes ? data : status;

        count = cut(buffers, 0, req->gpa, writable - req->gpa, req->piece, false);
        count = cut(buffers, count, writable, status + 1 - writable, req->piece, true);
    }
    int head = testing_driver_add(driver, queue, buffers, count, req->indirect, req->gpa);
    free(buffers);
    return head;
}

int testing_driver_blk_status(const TestingDriver *driver, uint64_t gpa, uint32_t len)
{
    uint8_t status = STATUS_UNSET;

    (void)guest_memory_read(testing_driver_memory(driver), gpa + HEADER_BYTES + len, &status, 1);
    return status;
}
