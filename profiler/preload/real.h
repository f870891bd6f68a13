/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The functions behind the interposed ones. They are looked up at the first call, whoever makes it:
 * another library's constructor may lock a mutex before ours has run.
 */
#ifndef PROFILER_PRELOAD_REAL_H
#define PROFILER_PRELOAD_REAL_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct io_uring; /* only passed on */

typedef struct BqlReal {
    _Atomic int ready;
    int (*mutex_lock)(pthread_mutex_t *);
    int (*mutex_trylock)(pthread_mutex_t *);
    int (*mutex_unlock)(pthread_mutex_t *);
    int (*cond_wait)(pthread_cond_t *, pthread_mutex_t *);
    int (*cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    int (*cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    int (*cond_signal)(pthread_cond_t *);
    int (*cond_broadcast)(pthread_cond_t *);
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int (*join)(pthread_t, void **);
    int (*ioctl)(int, unsigned long, void *);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
    int (*uring_submit_and_wait)(struct io_uring *, unsigned);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    ssize_t (*preadv)(int, const struct iovec *, int, off_t);
    ssize_t (*pwritev)(int, const struct iovec *, int, off_t);
    int (*fsync)(int);
    int (*fdatasync)(int);
    long (*syscall)(long, long, long, long, long, long, long);
} BqlReal;

extern BqlReal bqlpre_real_table;
void bqlpre_resolve(void);

static inline const BqlReal *real(void)
{
    /* Acquire: partner is the release store in bqlpre_resolve(). */
    if (__builtin_expect(atomic_load_explicit(&bqlpre_real_table.ready, memory_order_acquire) == 0,
                         0)) {
        bqlpre_resolve();
    }
    return &bqlpre_real_table;
}

#endif
