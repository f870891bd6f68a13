/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AioContext: one event loop (file descriptors, timers, bottom halves, io_uring completions,
 * adaptive polling), owned by exactly one thread at a time. The main loop and every iothread have
 * one. Only functions marked [any thread] may be called from elsewhere.
 *
 * The wait and the dispatch are separate so that the main loop can drop the BQL around the wait
 * only: aio_wait() never runs a handler, aio_dispatch() never blocks.
 */
#ifndef VMM_NATIVE_AIO_H
#define VMM_NATIVE_AIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io_uring_sqe;

typedef struct AioContext AioContext;
typedef struct AioBh AioBh;
typedef void AioFn(void *opaque);
typedef bool AioPollFn(void *opaque);

enum AioFdmon { AIO_FDMON_AUTO = 0, AIO_FDMON_EPOLL = 1, AIO_FDMON_IO_URING = 2 };

typedef struct AioConfig {
    int fdmon;            /* enum AioFdmon; how file descriptors are waited for */
    bool ring;            /* create an io_uring for block I/O (aio_get_sqe) */
    uint64_t poll_max_ns; /* longest adaptive poll, 0 = never poll (main loop: 0) */
    uint64_t poll_grow;   /* factor, 0 = 2 */
    uint64_t poll_shrink; /* divisor, 0 = back to 0 */
} AioConfig;

/* NULL with errno set. With AUTO, or ring and no io_uring in the kernel, falls back quietly:
 * see aio_fdmon() and aio_has_ring(). */
AioContext *aio_context_new(const AioConfig *config);
/* Owner thread, nothing pending. Frees scheduled one-shot bottom halves without running them. */
void aio_context_free(AioContext *ctx);
int aio_fdmon(const AioContext *ctx);
bool aio_has_ring(const AioContext *ctx);
/* [any thread] takes effect at the next iteration. */
void aio_set_poll_params(AioContext *ctx, uint64_t max_ns, uint64_t grow, uint64_t shrink);

/*
 * Native handler of a file descriptor; all NULL removes it (safe from inside a handler).
 * io_poll: cheap check whether there is work (adaptive polling); io_poll_ready is called in
 * dispatch when it said so. poll_begin/poll_end: called when the context starts/stops polling, to
 * switch the source's notifications off/on; poll_end must re-check for work after switching on
 * and return true if there is some. Returns 0 or -errno.
 */
typedef struct AioHandlerOps {
    AioFn *io_read;
    AioFn *io_write;
    AioPollFn *io_poll;
    AioFn *io_poll_ready;
    AioFn *poll_begin;
    AioPollFn *poll_end;
} AioHandlerOps;
int aio_set_fd_handler(AioContext *ctx, int fd, const AioHandlerOps *ops, void *opaque);

/* Timers: CLOCK_MONOTONIC nanoseconds. Owner thread. */
typedef struct AioTimer AioTimer;
AioTimer *aio_timer_new(AioContext *ctx, AioFn *fn, void *opaque);
void aio_timer_mod(AioTimer *timer, int64_t deadline_ns);
void aio_timer_del(AioTimer *timer); /* stop; may be armed again */
void aio_timer_free(AioTimer *timer);
int64_t aio_now_ns(void);

/* Bottom halves. A BH scheduled several times before it runs, runs once. */
AioBh *aio_bh_new(AioContext *ctx, AioFn *fn, void *opaque);
void aio_bh_schedule(AioBh *bh);                               /* [any thread] */
void aio_bh_delete(AioBh *bh);                                 /* [any thread] frees later */
void aio_bh_oneshot(AioContext *ctx, AioFn *fn, void *opaque); /* [any thread] */
/* Run fn in ctx's thread and wait for it. Not from ctx's own thread (there it runs inline). The
 * context must be running. */
void aio_run_in_context(AioContext *ctx, AioFn *fn, void *opaque); /* [any thread] */
void aio_notify(AioContext *ctx);                                  /* [any thread] wake the wait */

/* A completion that another thread hands over (worker pool): complete() runs in dispatch, in the
 * owner thread, in the same batch as the completions of the ring. The post is the caller's memory,
 * in use until complete() is called. */
typedef struct AioPost AioPost;
struct AioPost {
    AioPost *next; /* private */
    void (*complete)(AioPost *post);
};
void aio_post(AioContext *ctx, AioPost *post); /* [any thread] */

/* io_uring. complete() runs in dispatch, in the owner thread. res: bytes or -errno. */
typedef struct AioCqe AioCqe;
struct AioCqe {
    void (*complete)(AioCqe *cqe, int res);
};
/* NULL when the submission queue is full even after a submit. Queue only; see aio_submit(). */
struct io_uring_sqe *aio_get_sqe(AioContext *ctx, AioCqe *cqe);
/* Hand queued SQEs to the kernel (one system call, or none if nothing is queued). Inside
 * aio_batch_begin/end it is deferred to the outermost end. */
void aio_submit(AioContext *ctx);
/* Deferred calls, as QEMU's defer_call: inside a batch, (fn, opaque) is remembered once and run
 * at the outermost aio_batch_end; outside, it runs at once. Owner thread. */
void aio_batch_begin(AioContext *ctx);
void aio_batch_end(AioContext *ctx);
void aio_defer_call(AioContext *ctx, AioFn *fn, void *opaque);

/* Wait until something is ready or timeout_ns passes (<0: no limit, 0: only look). Runs no
 * handler. Timers and scheduled BHs shorten it, and so do aio_notify() (until the next dispatch)
 * and signals. Returns true if something is ready. */
bool aio_wait(AioContext *ctx, int64_t timeout_ns);
/* Run what is ready: BHs, io_uring completions, fd handlers, timers. True if anything ran. */
bool aio_dispatch(AioContext *ctx);
/* aio_wait + aio_dispatch, the body of an iothread; blocking, it polls adaptively. May be nested in
 * a handler (drain). */
bool aio_poll(AioContext *ctx, bool blocking);

/*
 * Descriptors that somebody else (Python's selector) handles: reported, never called.
 * events: 1 = readable, 2 = writable (also set on error/hang-up), 0 removes. 0 or -errno.
 * aio_take_ready() copies at most max (fd, events) pairs seen ready by the last aio_wait/dispatch
 * and forgets them; level-triggered: still-ready descriptors show again after the next wait.
 */
int aio_watch_fd(AioContext *ctx, int fd, int events);
int aio_take_ready(AioContext *ctx, int *fds, int *events, int max);

typedef struct AioStats {
    uint64_t iterations, poll_ok, poll_miss, bh_runs, fd_runs, timer_runs, cqes, submits;
    uint64_t poll_ns; /* current adaptive poll time */
} AioStats;
void aio_stats(const AioContext *ctx, AioStats *out); /* [any thread] */

#endif
