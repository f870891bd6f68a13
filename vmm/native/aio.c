/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AioContext: the loop itself. One thread waits and dispatches; others reach it by three things
 * only: pushing bottom halves (or posts), aio_notify(), and the relaxed poll parameters.
 *
 *   aio_wait:      look for work without the kernel -> [poll] -> fdmon->wait -> collect CQEs
 *   aio_dispatch:  bottom halves -> posts and CQEs (one batch) -> descriptors -> timers
 *
 * No wake-up can be lost, and a busy loop costs its notifiers no system call:
 *
 *   waiter                                    notifier
 *   notify_me = true            (seq_cst)     push, notified = true   (seq_cst)
 *   work pushed or notified?    (seq_cst)     notify_me?              (seq_cst)
 *     yes: do not block                         yes: write the eventfd
 *
 * In the one order of all these operations either the waiter's load comes after the push, or the
 * notifier's load comes after notify_me was set. The eventfd is never read: epoll watches it
 * edge-triggered, io_uring by a multishot poll. A late write wakes the loop once for nothing.
 * Fences were rejected in favour of seq_cst operations: ThreadSanitizer understands the latter.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "aio_internal.h"

/*
 * AUTO is io_uring if there is a ring for block I/O, else epoll. Measured with 4 KiB O_DIRECT reads
 * on one thread: at queue depth 32 the two are equal; at depth 1 with requests that complete at
 * submission io_uring reached 1.5 times the rate for 0.65 of the CPU time, having no second system
 * call to look at the descriptors.
 */
static int fdmon_setup(AioContext *ctx, int wanted)
{
    bool try_uring = wanted == AIO_FDMON_IO_URING || wanted == AIO_FDMON_AUTO;

    ctx->fdmon = &aio_fdmon_io_uring;
    if (try_uring && ctx->fdmon->setup(ctx) == 0) {
        return 0;
    }
    ctx->fdmon = &aio_fdmon_epoll;
    return ctx->fdmon->setup(ctx);
}

static AioContext *context_alloc(const AioConfig *config)
{
    AioContext *ctx = aligned_alloc(_Alignof(AioContext), sizeof(*ctx));
    if (!ctx) {
        return NULL;
    }
    *ctx = (AioContext){.epoll_fd = -1, .next_gen = 1};
    ctx->notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ctx->notify_fd < 0) {
        free(ctx);
        return NULL;
    }
    TAILQ_INIT(&ctx->handlers);
    TAILQ_INIT(&ctx->ready);
    TAILQ_INIT(&ctx->ready_watches);
    TAILQ_INIT(&ctx->arm);
    TAILQ_INIT(&ctx->expired);
    aio_bh_setup(ctx);
    atomic_init(&ctx->poll_max_ns, config->poll_max_ns);
    atomic_init(&ctx->poll_grow, config->poll_grow);
    atomic_init(&ctx->poll_shrink, config->poll_shrink);
    return ctx;
}

AioContext *aio_context_new_with(const AioConfig *config, AioRingSetupFn *ring_setup)
{
    if (config->fdmon < AIO_FDMON_AUTO || config->fdmon > AIO_FDMON_IO_URING) {
        errno = EINVAL;
        return NULL;
    }
    AioContext *ctx = context_alloc(config);
    if (!ctx) {
        return NULL;
    }
    if (config->ring || config->fdmon == AIO_FDMON_IO_URING) {
        aio_ring_setup(ctx, ring_setup);
    }
    int ret = fdmon_setup(ctx, config->fdmon);
    if (ret < 0) {
        aio_ring_teardown(ctx);
        close(ctx->notify_fd);
        free(ctx);
        errno = -ret;
        return NULL;
    }
    return ctx;
}

AioContext *aio_context_new(const AioConfig *config)
{
    return aio_context_new_with(config, io_uring_queue_init_params);
}

void aio_context_free(AioContext *ctx)
{
    if (!ctx) {
        return;
    }
    aio_posters_wait(ctx);
    aio_bh_free_all(ctx);
    aio_handlers_free(ctx);
    ctx->fdmon->teardown(ctx);
    aio_ring_teardown(ctx);
    close(ctx->notify_fd);
    free(ctx->heap);
    free(ctx);
}

int aio_fdmon(const AioContext *ctx)
{
    return ctx->fdmon->id;
}

bool aio_has_ring(const AioContext *ctx)
{
    return ctx->has_ring;
}

void aio_set_poll_params(AioContext *ctx, uint64_t max_ns, uint64_t grow, uint64_t shrink)
{
    /* Relaxed: the three need not change together, they only steer a heuristic. */
    atomic_store_explicit(&ctx->poll_max_ns, max_ns, memory_order_relaxed);
    atomic_store_explicit(&ctx->poll_grow, grow, memory_order_relaxed);
    atomic_store_explicit(&ctx->poll_shrink, shrink, memory_order_relaxed);
    aio_notify(ctx);
}

void aio_notify(AioContext *ctx)
{
    atomic_store_explicit(&ctx->notified, true, memory_order_seq_cst);
    if (atomic_load_explicit(&ctx->notify_me, memory_order_seq_cst)) {
        uint64_t one = 1;
        /* Fails only with EAGAIN, 2^64 - 2 writes after the last read: it cannot. */
        ssize_t n = write(ctx->notify_fd, &one, sizeof(one));
        (void)n;
    }
}

/* Something that other threads gave us. Sequentially consistent: see the top of this file. */
bool aio_foreign_work(AioContext *ctx)
{
    return atomic_load_explicit(&ctx->notified, memory_order_seq_cst) ||
           atomic_load_explicit(&ctx->bh_pushed, memory_order_seq_cst) ||
           atomic_load_explicit(&ctx->posts_pushed, memory_order_seq_cst);
}

/* What dispatch or aio_take_ready() would find, timers excepted. */
static bool work_ready(AioContext *ctx)
{
    return ctx->bh_first || ctx->posts_first || !TAILQ_EMPTY(&ctx->ready) ||
           !TAILQ_EMPTY(&ctx->ready_watches) || aio_ring_ready(ctx) ||
           atomic_load_explicit(&ctx->bh_pushed, memory_order_relaxed) ||
           atomic_load_explicit(&ctx->posts_pushed, memory_order_relaxed);
}

static void own(AioContext *ctx)
{
    uintptr_t self = (uintptr_t)pthread_self();
    if (atomic_load_explicit(&ctx->owner, memory_order_relaxed) != self) {
        atomic_store_explicit(&ctx->owner, self, memory_order_relaxed);
    }
}

static void kernel_wait(AioContext *ctx, int64_t timeout_ns)
{
    if (timeout_ns != 0) {
        atomic_store_explicit(&ctx->notify_me, true, memory_order_seq_cst);
        if (aio_foreign_work(ctx)) {
            timeout_ns = 0;
        }
    }
    ctx->fdmon->wait(ctx, timeout_ns);
    atomic_store_explicit(&ctx->notify_me, false, memory_order_relaxed);
}

static bool wait_common(AioContext *ctx, int64_t timeout_ns, bool may_poll)
{
    own(ctx);
    aio_count(&ctx->stats.iterations, 1);
    aio_handlers_forget_watches(ctx);
    timeout_ns = aio_timers_bound(ctx, timeout_ns);
    if (timeout_ns != 0 && (work_ready(ctx) || aio_foreign_work(ctx))) {
        timeout_ns = 0;
    }
    bool found = may_poll ? aio_poll_handlers(ctx, timeout_ns) : aio_poll_stop(ctx);
    /* If every descriptor is polled, what was found is all there is: spare the system call. */
    if (!found || ctx->unpollable > 0) {
        kernel_wait(ctx, found ? 0 : timeout_ns);
    } else {
        aio_ring_flush(ctx);
    }
    aio_ring_collect(ctx);
    return work_ready(ctx) || aio_timers_bound(ctx, -1) == 0;
}

bool aio_wait(AioContext *ctx, int64_t timeout_ns)
{
    return wait_common(ctx, timeout_ns, false);
}

bool aio_dispatch(AioContext *ctx)
{
    bool any = false;

    own(ctx);
    /* Before the stacks are taken: a push after this is seen there or sets notified again. */
    if (atomic_load_explicit(&ctx->notified, memory_order_relaxed)) {
        atomic_store_explicit(&ctx->notified, false, memory_order_seq_cst);
    }
    aio_handlers_walk_begin(ctx);
    any |= aio_bh_run(ctx);
    aio_batch_begin(ctx);
    any |= aio_posts_run(ctx);
    any |= aio_ring_complete(ctx);
    aio_batch_end(ctx);
    any |= aio_handlers_dispatch(ctx);
    any |= aio_timers_run(ctx);
    aio_handlers_walk_end(ctx);
    return any;
}

bool aio_poll(AioContext *ctx, bool blocking)
{
    bool adaptive = blocking && aio_counter(&ctx->poll_max_ns) > 0;
    int64_t start = adaptive ? aio_now_ns() : 0;

    wait_common(ctx, blocking ? -1 : 0, blocking);
    if (adaptive) {
        aio_poll_adjust(ctx, aio_now_ns() - start);
    }
    return aio_dispatch(ctx);
}

typedef struct RunInContext {
    AioFn *fn;
    void *opaque;
    sem_t done;
} RunInContext;

static void run_in_context_bh(void *opaque)
{
    RunInContext *run = opaque;
    run->fn(run->opaque);
    sem_post(&run->done);
}

void aio_run_in_context(AioContext *ctx, AioFn *fn, void *opaque)
{
    /* Relaxed: only the owner itself can find its own name there. */
    if (atomic_load_explicit(&ctx->owner, memory_order_relaxed) == (uintptr_t)pthread_self()) {
        fn(opaque);
        return;
    }
    RunInContext run = {.fn = fn, .opaque = opaque};
    sem_init(&run.done, 0, 0);
    aio_bh_oneshot(ctx, run_in_context_bh, &run);
    while (sem_wait(&run.done) < 0 && errno == EINTR) {
    }
    sem_destroy(&run.done);
}

void aio_stats(const AioContext *ctx, AioStats *out)
{
    *out = (AioStats){
        .iterations = aio_counter(&ctx->stats.iterations),
        .poll_ok = aio_counter(&ctx->stats.poll_ok),
        .poll_miss = aio_counter(&ctx->stats.poll_miss),
        .bh_runs = aio_counter(&ctx->stats.bh_runs),
        .fd_runs = aio_counter(&ctx->stats.fd_runs),
        .timer_runs = aio_counter(&ctx->stats.timer_runs),
        .cqes = aio_counter(&ctx->stats.cqes),
        .submits = aio_counter(&ctx->stats.submits),
        .poll_ns = aio_counter(&ctx->poll_ns),
    };
}
