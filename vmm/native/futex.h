/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The three futex calls in use, see futex(2). */
#ifndef VMM_NATIVE_FUTEX_H
#define VMM_NATIVE_FUTEX_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleep while *word == value. May return early. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

/* As futex_wait(), but false if the absolute CLOCK_MONOTONIC deadline passed. */
static inline bool futex_wait_until(_Atomic uint32_t *word, uint32_t value,
                                    const struct timespec *deadline)
{
    long ret = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline, NULL,
                       FUTEX_BITSET_MATCH_ANY);
    return ret == 0 || errno != ETIMEDOUT;
}

static inline void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

#endif
