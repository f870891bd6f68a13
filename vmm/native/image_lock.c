/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PERM_CONSISTENT_READ = 1, PERM_WRITE = 2, PERM_WRITE_UNCHANGED = 4, PERM_COUNT = 4 };
enum { USED_BASE = 100, DENIED_BASE = 200 };

static const char *const perm_names[PERM_COUNT] = {"consistent read", "write", "write unchanged",
                                                   "resize"};

static int set_lock(int fd, off_t byte, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int ret;

    do {
        ret = fcntl(fd, F_OFD_SETLK, &lock);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

/* Does another open file description hold any lock on this byte? */
static bool locked_by_other(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int announce(int fd, unsigned used, unsigned denied)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        int ret = 0;

        if (used & 1u << i)
            ret = set_lock(fd, USED_BASE + i, F_RDLCK);
        if (ret == 0 && denied & 1u << i)
            ret = set_lock(fd, DENIED_BASE + i, F_RDLCK);
        if (ret)
            return ret;
    }
    return 0;
}

static void withdraw(int fd)
{
    for (int i = 0; i < PERM_COUNT; i++) {
        set_lock(fd, USED_BASE + i, F_UNLCK);
        set_lock(fd, DENIED_BASE + i, F_UNLCK);
    }
}

static int look(int fd, unsigned used, unsigned denied, const char *filename, char *err,
                size_t err_size)
{
    const char *kind = "";
    int hit = -1;

    for (int i = 0; i < PERM_COUNT && hit < 0; i++) {
        if (used & 1u << i && locked_by_other(fd, DENIED_BASE + i))
            hit = i;
    }
    for (int i = 0; i < PERM_COUNT && hit < 0; i++) {
        if (denied & 1u << i && locked_by_other(fd, USED_BASE + i)) {
            hit = i;
            kind = "shared ";
        }
    }
    if (hit < 0)
        return 0;
    snprintf(err, err_size, "Failed to get %s\"%s\" lock. Is another process using the image [%s]?",
             kind, perm_names[hit], filename);
    return -EAGAIN;
}

int image_lock_acquire(int fd, bool writer, const char *filename, char *err, size_t err_size)
{
    /* As a guest's disk in QEMU without share-rw, except that we cannot follow a resize and hence
     * do not allow it. */
    unsigned used = PERM_CONSISTENT_READ | (writer ? PERM_WRITE : 0);
    unsigned denied = ~(PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED) & ((1u << PERM_COUNT) - 1);
    int ret = announce(fd, used, denied);

    if (ret == 0) {
        ret = look(fd, used, denied, filename, err, err_size);
    } else if (ret == -EAGAIN || ret == -EACCES) {
        /* Read locks collide with write locks only: somebody who does not speak the protocol. */
        snprintf(err, err_size, "Failed to lock byte %d. Is another process using the image [%s]?",
                 USED_BASE, filename);
        ret = -EAGAIN;
    } else {
        ret = -ENOTSUP;
    }
    if (ret)
        withdraw(fd);
    return ret;
}
