/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The file backend: opening an image, finding its limits, choosing the engine. See block_file.h. */
#include "block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image_lock.h"

enum { SECTOR = 512, PAGE = 4096 };

static void file_submit(BlockBackend *backend, BlockRequest *req)
{
    BlockFile *file = (BlockFile *)backend;

    if (req->op == BLOCK_FLUSH ? file->no_flush : req->bytes == 0) {
        block_complete(backend, req, 0);
        return;
    }
    req->leaf = backend;
    if (file->ring && aio_has_ring(req->ctx) && block_file_submit_ring(file, req))
        return;
    block_file_submit_pool(file, req);
}

static void file_close(BlockBackend *backend)
{
    BlockFile *file = (BlockFile *)backend;

    if (file->fd >= 0)
        close(file->fd);
    ranked_mutex_destroy(&file->rmw_lock);
    free(file);
}

static const BlockOps file_ops = {
    .name = "file",
    .submit = file_submit,
    .close = file_close,
};

/* 0 or -errno with the message in err. */
static int open_image(BlockFile *file, const BlockOpenOptions *opts, char *err)
{
    int flags = (opts->read_only ? O_RDONLY : O_RDWR) | (opts->direct ? O_DIRECT : 0) | O_CLOEXEC;
    struct stat st;
    const char *why = NULL;

    /* O_NONBLOCK: opening a named pipe must fail below, not hang here. */
    file->fd = open(opts->filename, flags | O_NONBLOCK);
    if (file->fd < 0 || fstat(file->fd, &st) < 0) {
        int ret = -errno;

        if (ret == -EINVAL && opts->direct)
            why = "the file system has no O_DIRECT (cache=none)";
        snprintf(err, BLOCK_ERR_SIZE, "Could not open '%s': %s", opts->filename,
                 why ? why : strerror(-ret));
        return ret;
    }
    file->device = S_ISBLK(st.st_mode);
    if (!file->device && !S_ISREG(st.st_mode)) {
        snprintf(err, BLOCK_ERR_SIZE, "Could not open '%s': %s", opts->filename,
                 S_ISDIR(st.st_mode) ? "Is a directory" : "Not a regular file or block device");
        return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTBLK;
    }
    /* And without O_NONBLOCK again, which io_uring would answer with EAGAIN. */
    if (fcntl(file->fd, F_SETFL, flags & O_DIRECT) < 0) {
        int ret = -errno;

        snprintf(err, BLOCK_ERR_SIZE, "Could not open '%s': %s", opts->filename, strerror(-ret));
        return ret;
    }
    return 0;
}

static int find_size(BlockFile *file, const char *filename, char *err)
{
    uint64_t size = 0;
    off_t end = lseek(file->fd, 0, SEEK_END);

    if (file->device && ioctl(file->fd, BLKGETSIZE64, &size) == 0)
        end = (off_t)size;
    if (end <= 0) {
        snprintf(err, BLOCK_ERR_SIZE, "Could not use '%s': the image is empty", filename);
        return -EINVAL;
    }
    file->base.limits.size = ((uint64_t)end + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    return 0;
}

/* The smallest block a direct read accepts, where the kernel cannot simply be asked. */
static uint32_t probe_block(int fd)
{
    uint32_t block = SECTOR;
    void *buf;

    if (posix_memalign(&buf, PAGE, PAGE))
        return PAGE;
    while (block < PAGE && pread(fd, buf, block, 0) < 0)
        block *= 2;
    free(buf);
    return block;
}

static bool power_of_two(uint32_t n)
{
    return n && !(n & (n - 1));
}

static void find_alignment(BlockFile *file)
{
    uint32_t block = 0, mem = 0;
    int sector = 0;

#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
        stx.stx_mask & STATX_DIOALIGN) {
        block = stx.stx_dio_offset_align;
        mem = stx.stx_dio_mem_align;
    }
#endif
    if (file->device && ioctl(file->fd, BLKSSZGET, &sector) == 0 && sector > 0)
        block = (uint32_t)sector;
    if (!power_of_two(block))
        block = file->direct ? probe_block(file->fd) : SECTOR;
    if (!power_of_two(mem))
        mem = PAGE;
    if (block < SECTOR)
        block = SECTOR;
    file->block = file->direct ? block : 1;
    file->mem_align = file->direct ? mem : 1;
    /* Through the page cache a file takes any alignment; a device still shows its own blocks. */
    file->base.limits.logical_block = file->direct || file->device ? block : SECTOR;
}

static int lock_image(BlockFile *file, const BlockOpenOptions *opts, char *err)
{
    int ret;

    if (!opts->locking)
        return 0;
    ret = image_lock_acquire(file->fd, !opts->read_only, opts->filename, err, BLOCK_ERR_SIZE);
    if (ret != -ENOTSUP)
        return ret;
    file->base.limits.unlocked = true;
    return 0;
}

BlockBackend *block_open_file(const BlockOpenOptions *opts, WorkerPool *pool, char *err)
{
    BlockFile *file = calloc(1, sizeof(*file));
    int ret;

    if (!file) {
        snprintf(err, BLOCK_ERR_SIZE, "Could not open '%s': out of memory", opts->filename);
        errno = ENOMEM;
        return NULL;
    }
    file->base.ops = &file_ops;
    file->ring = opts->aio == BLOCK_AIO_IO_URING;
    file->direct = opts->direct;
    file->no_flush = opts->no_flush;
    file->pool = pool;
    ranked_mutex_init(&file->rmw_lock, LOCK_RANK_BACKEND, "read-modify-write");
    file->base.limits.max_iov = IOV_MAX;
    file->base.limits.read_only = opts->read_only;
    file->base.limits.can_discard = !opts->read_only && !opts->no_discard;
    file->base.limits.can_write_zeroes = !opts->read_only;

    ret = open_image(file, opts, err);
    if (ret == 0)
        ret = find_size(file, opts->filename, err);
    if (ret == 0)
        ret = lock_image(file, opts, err);
    if (ret) {
        file_close(&file->base);
        errno = -ret;
        return NULL;
    }
    find_alignment(file);
    return &file->base;
}
