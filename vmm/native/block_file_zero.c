/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discard and write zeroes, and what replaces them where the file system or device has neither. */
#include "block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { ZERO_BUFFER = 64 * 1024, ZERO_IOV = 16 };

/* KEEP_SIZE: a disk's last sector may reach beyond the end of its file. */
int block_file_discard_mode(void)
{
    return FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
}

int block_file_zero_mode(bool unmap)
{
    return unmap ? block_file_discard_mode() : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
}

static int file_fallocate(BlockFile *file, int mode, uint64_t offset, uint64_t bytes)
{
    int ret;

    do {
        ret = fallocate(file->fd, mode, (off_t)offset, (off_t)bytes);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static int device_range(BlockFile *file, unsigned long request, uint64_t offset, uint64_t bytes)
{
    uint64_t range[2] = {offset, bytes};

    return ioctl(file->fd, request, range) < 0 ? -errno : 0;
}

static bool unsupported(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -ENOTTY || ret == -EINVAL;
}

int block_file_discard(BlockFile *file, uint64_t offset, uint64_t bytes)
{
    int ret;

    if (atomic_load_explicit(&file->no_punch, memory_order_relaxed) || bytes == 0)
        return 0;
    if (file->device) {
        /* Only whole blocks can go; discard is advice, so the rest may stay. */
        uint64_t mask = file->base.limits.logical_block - 1;
        uint64_t start = (offset + mask) & ~mask;
        uint64_t end = (offset + bytes) & ~mask;

        ret = start < end ? device_range(file, BLKDISCARD, start, end - start) : 0;
    } else {
        ret = file_fallocate(file, block_file_discard_mode(), offset, bytes);
    }
    if (!unsupported(ret))
        return ret;
    atomic_store_explicit(&file->no_punch, true, memory_order_relaxed);
    return 0;
}

static int write_zero_buffers(BlockFile *file, uint64_t offset, uint64_t bytes)
{
    struct iovec iov[ZERO_IOV];
    void *zeroes;
    int ret = posix_memalign(&zeroes, 4096, ZERO_BUFFER);

    if (ret)
        return -ret;
    memset(zeroes, 0, ZERO_BUFFER);
    while (ret == 0 && bytes) {
        BlockTransfer t = {.write = true, .iov = iov, .offset = offset};

        while (t.niov < ZERO_IOV && t.bytes < bytes) {
            uint64_t left = bytes - t.bytes;

            iov[t.niov] = (struct iovec){zeroes, left < ZERO_BUFFER ? left : ZERO_BUFFER};
            t.bytes += iov[t.niov++].iov_len;
        }
        ret = block_file_transfer(file, &t);
        offset += t.bytes;
        bytes -= t.bytes;
    }
    free(zeroes);
    return ret;
}

int block_file_write_zeroes(BlockFile *file, uint64_t offset, uint64_t bytes, bool unmap)
{
    int ret = -EOPNOTSUPP;

    if (bytes == 0)
        return 0;
    if (file->device) {
        ret = device_range(file, BLKZEROOUT, offset, bytes);
    } else {
        if (unmap && !atomic_load_explicit(&file->no_punch, memory_order_relaxed)) {
            ret = file_fallocate(file, block_file_zero_mode(true), offset, bytes);
            if (unsupported(ret))
                atomic_store_explicit(&file->no_punch, true, memory_order_relaxed);
        }
        if (unsupported(ret) && !atomic_load_explicit(&file->no_zero_range, memory_order_relaxed)) {
            ret = file_fallocate(file, block_file_zero_mode(false), offset, bytes);
            if (unsupported(ret))
                atomic_store_explicit(&file->no_zero_range, true, memory_order_relaxed);
        }
    }
    return unsupported(ret) ? write_zero_buffers(file, offset, bytes) : ret;
}
