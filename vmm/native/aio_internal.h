/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the event loop share. Nobody else includes this, tests of the loop excepted. */
#ifndef VMM_NATIVE_AIO_INTERNAL_H
#define VMM_NATIVE_AIO_INTERNAL_H

#include <liburing.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "aio.h"

/* SQEs queued between two system calls at most; more in flight is fine. */
#define AIO_SQ_ENTRIES 256
#define AIO_CQ_ENTRIES 4096
/* Completions taken off the ring in wait and not yet run in dispatch (power of two). */
#define AIO_STAGED_MAX 512

/*
 * Keys that name a registration to the kernel (epoll data, user_data of polls). A key holds the
 * descriptor and a generation, never a pointer: an event that arrives after its handler is gone
 * (or changed) finds no match and is dropped. Bit 63 tells keys from AioCqe pointers.
 */
#define AIO_KEY_BIT (1ULL << 63)
#define AIO_KEY_NOTIFY (AIO_KEY_BIT | 0x7ffffffeULL)
#define AIO_KEY_RING (AIO_KEY_BIT | 0x7ffffffdULL)

typedef struct AioHandler AioHandler;
struct AioHandler {
    int fd;
    uint32_t gen;      /* changes whenever what the kernel was asked for is void */
    uint32_t events;   /* POLLIN | POLLOUT wanted */
    uint32_t revents;  /* seen ready, not yet dispatched or taken */
    bool watched;      /* aio_watch_fd: reported, never called */
    bool poll_ready;   /* io_poll found work, io_poll_ready is due */
    bool poll_started; /* poll_begin called, notifications are off */
    bool armed;        /* fdmon_io_uring: a poll request is with the kernel */
    bool queued;       /* on ready or ready_watches */
    bool arm_queued;   /* on arm */
    bool deleted;      /* still linked (walkers skip it), freed when nobody walks */
    AioHandlerOps ops;
    void *opaque;
    TAILQ_ENTRY(AioHandler) link;
    TAILQ_ENTRY(AioHandler) ready_link;
    TAILQ_ENTRY(AioHandler) arm_link;
};
TAILQ_HEAD(AioHandlerList, AioHandler);
typedef struct AioHandlerList AioHandlerList;

/* A way to wait for descriptors. All members but rearm are mandatory; owner thread. */
typedef struct AioFdmonOps {
    int id; /* enum AioFdmon */
    int (*setup)(AioContext *ctx);
    void (*teardown)(AioContext *ctx);
    /* handler->events became what it is now, from old_events; 0 = not registered. 0 or -errno. */
    int (*update)(AioContext *ctx, AioHandler *handler, uint32_t old_events);
    /* The handler's event was consumed; ask for the next one. */
    void (*rearm)(AioContext *ctx, AioHandler *handler);
    /* Submit queued SQEs, block for timeout_ns (<0 no limit), report by aio_handler_event(). */
    void (*wait)(AioContext *ctx, int64_t timeout_ns);
} AioFdmonOps;
extern const AioFdmonOps aio_fdmon_epoll;
extern const AioFdmonOps aio_fdmon_io_uring;

struct AioTimer {
    AioContext *ctx;
    AioFn *fn;
    void *opaque;
    int64_t deadline;
    uint64_t seq; /* arming order: equal deadlines fire first armed, first run */
    size_t index; /* in the heap; meaningful if state == AIO_TIMER_ARMED */
    int state;    /* enum AioTimerState */
    TAILQ_ENTRY(AioTimer) expired_link;
};
enum AioTimerState { AIO_TIMER_IDLE, AIO_TIMER_ARMED, AIO_TIMER_EXPIRED };

typedef struct AioStaged {
    AioCqe *cqe;
    int res;
} AioStaged;

typedef struct AioDeferred {
    AioFn *fn;
    void *opaque;
} AioDeferred;

typedef _Atomic uint64_t AioCounter; /* written by the owner only */

struct AioContext {
    /* Written by other threads: on a line of its own. */
    _Alignas(64) _Atomic(AioBh *) bh_pushed;
    _Atomic(AioPost *) posts_pushed;
    atomic_uint posters; /* threads inside aio_post() */
    atomic_bool notified;
    atomic_bool notify_me;
    int notify_fd;

    _Alignas(64) atomic_uintptr_t owner; /* pthread_self() of the thread that waits, 0 = none yet */
    const AioFdmonOps *fdmon;
    int epoll_fd;
    bool no_epoll_pwait2; /* the kernel lacks it */
    bool poll_started;    /* notifications of some sources are off: see aio_poll.c */
    unsigned walking;     /* depth of loops over handlers: nothing is freed while > 0 */
    unsigned live_handlers, deleted_handlers;
    AioHandlerList handlers, ready, ready_watches, arm;
    AioHandler **by_fd;
    size_t by_fd_len;
    uint32_t next_gen;
    unsigned unpollable; /* handlers without io_poll: adaptive polling would starve them */

    AioBh *bh_first, **bh_last; /* taken over from bh_pushed, not yet run */
    AioPost *posts_first, **posts_last;

    AioTimer **heap;
    size_t heap_len, heap_cap, timers; /* timers: allocated, armed or not */
    uint64_t timer_seq;
    TAILQ_HEAD(, AioTimer) expired;

    bool has_ring;
    bool notify_armed; /* fdmon_io_uring: the multishot poll of notify_fd is running */
    struct io_uring ring;
    unsigned inflight; /* AioCqes handed out by aio_get_sqe and not yet staged */
    AioStaged *staged; /* ring buffer of AIO_STAGED_MAX */
    unsigned staged_head, staged_tail;

    unsigned batch_depth;
    bool submit_wanted;
    AioDeferred *deferred;
    size_t deferred_run, deferred_len, deferred_cap;

    AioCounter poll_max_ns, poll_grow, poll_shrink; /* [any thread] */
    AioCounter poll_ns;
    struct {
        AioCounter iterations, poll_ok, poll_miss, bh_runs, fd_runs, timer_runs, cqes, submits;
    } stats;
};

/* One writer, so a plain load and store: no locked instruction. */
static inline void aio_count(AioCounter *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

static inline uint64_t aio_counter(const AioCounter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* aio.c */
typedef int AioRingSetupFn(unsigned entries, struct io_uring *ring, struct io_uring_params *params);
/* aio_context_new() with the ring's constructor as an argument: tests pass one that fails. */
AioContext *aio_context_new_with(const AioConfig *config, AioRingSetupFn *ring_setup);
bool aio_foreign_work(AioContext *ctx);

/* aio_handler.c */
uint64_t aio_handler_key(const AioHandler *handler);
AioHandler *aio_handler_by_key(AioContext *ctx, uint64_t key);
void aio_handler_event(AioContext *ctx, AioHandler *handler, uint32_t revents);
void aio_handler_poll_ready(AioContext *ctx, AioHandler *handler);
void aio_handlers_forget_watches(AioContext *ctx);
bool aio_handlers_dispatch(AioContext *ctx);
void aio_handlers_walk_begin(AioContext *ctx);
void aio_handlers_walk_end(AioContext *ctx);
void aio_handlers_free(AioContext *ctx);

/* aio_bh.c */
void aio_bh_setup(AioContext *ctx);
bool aio_bh_run(AioContext *ctx);
bool aio_posts_run(AioContext *ctx);
void aio_posters_wait(AioContext *ctx);
void aio_bh_free_all(AioContext *ctx);

/* aio_timer.c */
int64_t aio_timers_bound(AioContext *ctx, int64_t timeout_ns);
bool aio_timers_run(AioContext *ctx);

/* aio_ring.c */
void aio_ring_setup(AioContext *ctx, AioRingSetupFn *ring_setup);
void aio_ring_teardown(AioContext *ctx);
struct io_uring_sqe *aio_ring_sqe(AioContext *ctx);
void aio_ring_flush(AioContext *ctx);
bool aio_ring_ready(AioContext *ctx);
void aio_ring_collect(AioContext *ctx);
bool aio_ring_complete(AioContext *ctx);

/* aio_poll.c */
bool aio_poll_handlers(AioContext *ctx, int64_t timeout_ns);
bool aio_poll_stop(AioContext *ctx);
void aio_poll_adjust(AioContext *ctx, int64_t waited_ns);

#endif
