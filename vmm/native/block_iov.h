/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Scatter-gather lists: the few things the file backend does with them. */
#ifndef VMM_NATIVE_BLOCK_IOV_H
#define VMM_NATIVE_BLOCK_IOV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* Fill out[0..max) with what follows the first `skip` bytes of iov. Returns the entries used. */
int block_iov_window(struct iovec *out, int max, const struct iovec *iov, int niov, size_t skip);
/* Copy bytes between a buffer and iov from byte `skip` on. Returns the bytes copied. */
size_t block_iov_from_buf(const struct iovec *iov, int niov, size_t skip, const void *buf,
                          size_t bytes);
size_t block_iov_to_buf(const struct iovec *iov, int niov, size_t skip, void *buf, size_t bytes);
/* Zero iov from byte `skip` to its end. */
void block_iov_zero_from(const struct iovec *iov, int niov, size_t skip);
/* Every address is a multiple of mem_align and every length one of len_align (powers of two). */
bool block_iov_aligned(const struct iovec *iov, int niov, size_t mem_align, size_t len_align);

#endif
