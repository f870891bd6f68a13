/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Image locks that QEMU understands, so that a disk image is never written by two virtual
 * machines at once, whichever program runs them.
 *
 * The protocol is the one QEMU's file driver speaks (block/file-posix.c there): open file
 * description locks on single bytes of the image itself. Permission i (consistent read, write,
 * write unchanged, resize) has byte 100 + i, read-locked by whoever uses the permission, and byte
 * 200 + i, read-locked by whoever does not let others use it. Read locks never collide, so
 * everybody first announces, then looks whether somebody else has announced the opposite; of two
 * programs that start together at least one gives up.
 */
#ifndef VMM_NATIVE_IMAGE_LOCK_H
#define VMM_NATIVE_IMAGE_LOCK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Lock the image open as fd until the last duplicate of fd is closed. Any number of readers may
 * share an image, a writer shares it with nobody. filename is for the message only.
 * Returns 0; -EAGAIN: somebody else uses the image, err says so; -ENOTSUP: the file system or
 * kernel has no such locks (network file systems), nothing is locked.
 */
int image_lock_acquire(int fd, bool writer, const char *filename, char *err, size_t err_size);

#endif
