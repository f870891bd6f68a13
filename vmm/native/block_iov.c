/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "block_iov.h"

#include <stdint.h>
#include <string.h>

int block_iov_window(struct iovec *out, int max, const struct iovec *iov, int niov, size_t skip)
{
    int n = 0;

    for (int i = 0; i < niov && n < max; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        out[n].iov_base = (char *)iov[i].iov_base + skip;
        out[n].iov_len = iov[i].iov_len - skip;
        skip = 0;
        n++;
    }
    return n;
}

static size_t copy(const struct iovec *iov, int niov, size_t skip, char *buf, size_t bytes,
                   bool to_buf)
{
    size_t done = 0;

    for (int i = 0; i < niov && done < bytes; i++) {
        size_t len = iov[i].iov_len;
        char *base = iov[i].iov_base;

        if (skip >= len) {
            skip -= len;
            continue;
        }
        len -= skip;
        if (len > bytes - done)
            len = bytes - done;
        if (to_buf)
            memcpy(buf + done, base + skip, len);
        else
            memcpy(base + skip, buf + done, len);
        done += len;
        skip = 0;
    }
    return done;
}

size_t block_iov_from_buf(const struct iovec *iov, int niov, size_t skip, const void *buf,
                          size_t bytes)
{
    return copy(iov, niov, skip, (char *)buf, bytes, false);
}

size_t block_iov_to_buf(const struct iovec *iov, int niov, size_t skip, void *buf, size_t bytes)
{
    return copy(iov, niov, skip, buf, bytes, true);
}

void block_iov_zero_from(const struct iovec *iov, int niov, size_t skip)
{
    for (int i = 0; i < niov; i++) {
        size_t len = iov[i].iov_len;

        if (skip < len) {
            memset((char *)iov[i].iov_base + skip, 0, len - skip);
            skip = 0;
        } else {
            skip -= len;
        }
    }
}

bool block_iov_aligned(const struct iovec *iov, int niov, size_t mem_align, size_t len_align)
{
    uintptr_t addresses = 0;
    size_t lengths = 0;

    for (int i = 0; i < niov; i++) {
        addresses |= (uintptr_t)iov[i].iov_base;
        lengths |= iov[i].iov_len;
    }
    return !(addresses & (mem_align - 1)) && !(lengths & (len_align - 1));
}
