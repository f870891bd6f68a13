/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sleeps of a thread that holds the BQL: polls of nested event loops, file I/O, joins, futexes.
 * (Condition waits are in hook_cond.c, mutexes in hook_mutex.c.) A thread that does not hold the
 * BQL pays for one load.
 *
 * read and write are not here: QEMU calls them on eventfds all the time, where they do not sleep,
 * and two time stamps each would cost more than they tell.
 */
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "preload.h"
#include "real.h"

/* The recorder, if the calling thread holds the BQL and sleeps now. */
static inline BqlRec *begin(int reason)
{
    BqlRec *rec;

    if (BQLPRE_LIKELY(!bqlpre_self.holds)) {
        return NULL;
    }
    rec = bqlpre_recorder();
    if (rec != NULL) {
        bqlrec_blocked_begin(rec, reason);
    }
    return rec;
}

static inline void end(BqlRec *rec)
{
    if (rec != NULL) {
        bqlrec_blocked_end(rec);
    }
}

/* Do `call` between the two; its value is the statement's `result`. */
#define SLEEP(reason, result, call)                                                                \
    do {                                                                                           \
        BqlRec *rec_ = begin(reason);                                                              \
        (result) = (call);                                                                         \
        end(rec_);                                                                                 \
    } while (0)

BQLPRE_EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    int result;

    if (timeout == 0) {
        return real()->poll(fds, count, timeout);
    }
    SLEEP(BQLREC_BLOCKED_POLL, result, real()->poll(fds, count, timeout));
    return result;
}

BQLPRE_EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                        const sigset_t *mask)
{
    int result;

    if (timeout != NULL && timeout->tv_sec == 0 && timeout->tv_nsec == 0) {
        return real()->ppoll(fds, count, timeout, mask);
    }
    SLEEP(BQLREC_BLOCKED_POLL, result, real()->ppoll(fds, count, timeout, mask));
    return result;
}

BQLPRE_EXPORT int epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
    int result;

    if (timeout == 0) {
        return real()->epoll_wait(fd, events, count, timeout);
    }
    SLEEP(BQLREC_BLOCKED_POLL, result, real()->epoll_wait(fd, events, count, timeout));
    return result;
}

BQLPRE_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int count, int timeout,
                              const sigset_t *mask)
{
    int result;

    if (timeout == 0) {
        return real()->epoll_pwait(fd, events, count, timeout, mask);
    }
    SLEEP(BQLREC_BLOCKED_POLL, result, real()->epoll_pwait(fd, events, count, timeout, mask));
    return result;
}

/* liburing's; io_uring_submit_and_wait(3). Nobody calls it where liburing is not loaded. */
int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr);

BQLPRE_EXPORT int io_uring_submit_and_wait(struct io_uring *ring, unsigned wait_nr)
{
    int result;

    if (wait_nr == 0) {
        return real()->uring_submit_and_wait(ring, wait_nr);
    }
    SLEEP(BQLREC_BLOCKED_POLL, result, real()->uring_submit_and_wait(ring, wait_nr));
    return result;
}

#define FILE_CALL(result_type, name, parameters, call)                                             \
    BQLPRE_EXPORT result_type name parameters                                                      \
    {                                                                                              \
        result_type result;                                                                        \
                                                                                                   \
        SLEEP(BQLREC_BLOCKED_FILE_IO, result, real()->call);                                       \
        return result;                                                                             \
    }

FILE_CALL(ssize_t, pread, (int fd, void *data, size_t size, off_t at), pread(fd, data, size, at))
FILE_CALL(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at),
          pread(fd, data, size, at))
FILE_CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at),
          pwrite(fd, data, size, at))
FILE_CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at),
          pwrite(fd, data, size, at))
FILE_CALL(ssize_t, preadv, (int fd, const struct iovec *data, int count, off_t at),
          preadv(fd, data, count, at))
FILE_CALL(ssize_t, preadv64, (int fd, const struct iovec *data, int count, off64_t at),
          preadv(fd, data, count, at))
FILE_CALL(ssize_t, pwritev, (int fd, const struct iovec *data, int count, off_t at),
          pwritev(fd, data, count, at))
FILE_CALL(ssize_t, pwritev64, (int fd, const struct iovec *data, int count, off64_t at),
          pwritev(fd, data, count, at))
FILE_CALL(int, fsync, (int fd), fsync(fd))
FILE_CALL(int, fdatasync, (int fd), fdatasync(fd))

/* What fortified programs call instead of pread. The check is the C library's own: a size that the
 * buffer does not have ends the program there. */
ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t at, size_t room);

BQLPRE_EXPORT ssize_t __pread64_chk(int fd, void *data, size_t size, off64_t at, size_t room)
{
    if (size > room) {
        __builtin_trap();
    }
    return pread64(fd, data, size, at);
}

BQLPRE_EXPORT int pthread_join(pthread_t thread, void **value)
{
    int result;

    SLEEP(BQLREC_BLOCKED_JOIN, result, real()->join(thread, value));
    return result;
}

static bool is_futex_wait(long number, long operation)
{
    long command = operation & FUTEX_CMD_MASK;

    return number == SYS_futex && (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET);
}

/* QEMU's events and lock counters are futexes through syscall(2). */
BQLPRE_EXPORT long syscall(long number, ...)
{
    long argument[6], result;
    va_list args;

    va_start(args, number);
    for (unsigned i = 0; i < 6; i++) {
        argument[i] = va_arg(args, long);
    }
    va_end(args);
#define CALL                                                                                       \
    real()->syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],       \
                    argument[5])
    if (!is_futex_wait(number, argument[1])) {
        return CALL;
    }
    SLEEP(BQLREC_BLOCKED_LOCK, result, CALL);
#undef CALL
    return result;
}
