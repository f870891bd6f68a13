/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "testing_aio.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bqlrec.h"
#include "thread.h"

static const int64_t STUCK_NS = 10000000000; /* a wake-up this late was lost */

typedef struct Source {
    TestingAio *rig;
    int fd;
    int behaviour;
    _Atomic uint64_t kicked; /* since the start, counted before the write */
    uint64_t consumed;
    bool registered;
    bool quiet; /* poll_begin called */
} Source;

typedef struct Bh {
    TestingAio *rig;
    AioBh *bh;
    _Atomic uint64_t announced;
    uint64_t answered;
} Bh;

typedef struct Timer {
    AioTimer *timer;
    bool due; /* armed for a time that comes soon */
    uint64_t fired;
} Timer;

typedef struct Watch {
    int fd;
    bool watched;
} Watch;

struct TestingAio {
    AioContext *ctx;
    bool pollable;
    Source sources[TESTING_AIO_SOURCES];
    Bh bhs[TESTING_AIO_SLOTS];
    Timer timers[TESTING_AIO_SLOTS];
    Watch watches[TESTING_AIO_SLOTS];
    _Atomic uint64_t oneshots_asked, posts_asked;
    uint64_t oneshots, posts, strays;
    AioTimer *watchdog;
    bool stuck;
};

typedef struct Post {
    AioPost post;
    TestingAio *rig;
} Post;

typedef struct Runner {
    TestingAio *rig;
    const TestingAioOp *ops;
    int count, thread;
} Runner;

static void source_remove(Source *source)
{
    if (source->registered) {
        source->registered = false;
        aio_set_fd_handler(source->rig->ctx, source->fd, NULL, NULL);
    }
}

static void source_ready(void *opaque)
{
    Source *source = opaque;
    uint64_t value;

    source->rig->strays += !source->registered;
    if (read(source->fd, &value, sizeof(value)) == sizeof(value)) {
        source->consumed += value;
    }
    if (source->behaviour == TESTING_AIO_REMOVE_SELF) {
        source_remove(source);
    } else if (source->behaviour >= TESTING_AIO_REMOVE_VICTIM) {
        int victim = source->behaviour - TESTING_AIO_REMOVE_VICTIM + TESTING_AIO_VICTIM;
        source_remove(&source->rig->sources[victim]);
    }
}

static bool source_poll(void *opaque)
{
    Source *source = opaque;
    source->rig->strays += !source->registered || !source->quiet;
    return atomic_load(&source->kicked) > source->consumed;
}

static void source_poll_begin(void *opaque)
{
    Source *source = opaque;
    source->quiet = true;
}

static bool source_poll_end(void *opaque)
{
    Source *source = opaque;
    source->quiet = false;
    return atomic_load(&source->kicked) > source->consumed;
}

static void source_add(Source *source, int behaviour)
{
    static const AioHandlerOps plain = {.io_read = source_ready};
    static const AioHandlerOps pollable = {
        .io_read = source_ready,
        .io_poll = source_poll,
        .io_poll_ready = source_ready,
        .poll_begin = source_poll_begin,
        .poll_end = source_poll_end,
    };
    const AioHandlerOps *ops = source->rig->pollable ? &pollable : &plain;

    source->behaviour = behaviour;
    source->registered = aio_set_fd_handler(source->rig->ctx, source->fd, ops, source) == 0;
}

static void bh_run(void *opaque)
{
    Bh *bh = opaque;
    bh->answered += atomic_exchange(&bh->announced, 0);
}

static void bh_renew(Bh *bh)
{
    aio_bh_delete(bh->bh);
    atomic_store(&bh->announced, 0);
    bh->bh = aio_bh_new(bh->rig->ctx, bh_run, bh);
}

static void oneshot_run(void *opaque)
{
    ((TestingAio *)opaque)->oneshots++;
}

static void post_complete(AioPost *opaque)
{
    Post *post = (Post *)opaque;
    post->rig->posts++;
    free(post);
}

static void post_new(TestingAio *rig)
{
    Post *post = malloc(sizeof(*post));
    if (post) {
        *post = (Post){.post.complete = post_complete, .rig = rig};
        atomic_fetch_add(&rig->posts_asked, 1);
        aio_post(rig->ctx, &post->post);
    }
}

static void timer_fire(void *opaque)
{
    Timer *timer = opaque;
    timer->due = false;
    timer->fired++;
}

static void timer_arm(Timer *timer, int64_t delay_ns)
{
    timer->due = delay_ns >= 0;
    aio_timer_mod(timer->timer, delay_ns < 0 ? INT64_MAX : aio_now_ns() + delay_ns);
}

static void fd_add(int fd, uint64_t value)
{
    ssize_t n = write(fd, &value, sizeof(value));
    (void)n; /* the counter cannot overflow on the values that tests use */
}

static void watch_fill(Watch *watch, bool full)
{
    uint64_t value;
    while (read(watch->fd, &value, sizeof(value)) == sizeof(value)) {
    }
    if (full) {
        fd_add(watch->fd, 1);
    }
}

static void watchdog_bark(void *opaque)
{
    ((TestingAio *)opaque)->stuck = true;
}

static void run_shared(TestingAio *rig, const TestingAioOp *op)
{
    switch (op->kind) {
    case TESTING_AIO_KICK:
        atomic_fetch_add(&rig->sources[op->index].kicked, (uint64_t)op->value);
        fd_add(rig->sources[op->index].fd, (uint64_t)op->value);
        break;
    case TESTING_AIO_SCHEDULE:
        atomic_fetch_add(&rig->bhs[op->index].announced, 1);
        aio_bh_schedule(rig->bhs[op->index].bh);
        break;
    case TESTING_AIO_ONESHOT:
        atomic_fetch_add(&rig->oneshots_asked, 1);
        aio_bh_oneshot(rig->ctx, oneshot_run, rig);
        break;
    case TESTING_AIO_POST:
        post_new(rig);
        break;
    case TESTING_AIO_NOTIFY:
        aio_notify(rig->ctx);
        break;
    }
}

static void run_owned(TestingAio *rig, const TestingAioOp *op)
{
    switch (op->kind) {
    case TESTING_AIO_ADD:
        source_add(&rig->sources[op->index], (int)op->value);
        break;
    case TESTING_AIO_REMOVE:
        source_remove(&rig->sources[op->index]);
        break;
    case TESTING_AIO_RENEW:
        bh_renew(&rig->bhs[op->index]);
        break;
    case TESTING_AIO_ARM:
        timer_arm(&rig->timers[op->index], op->value);
        break;
    case TESTING_AIO_DISARM:
        rig->timers[op->index].due = false;
        aio_timer_del(rig->timers[op->index].timer);
        break;
    case TESTING_AIO_WATCH:
        rig->watches[op->index].watched = op->value;
        aio_watch_fd(rig->ctx, rig->watches[op->index].fd, op->value ? 1 : 0);
        break;
    case TESTING_AIO_FILL:
        watch_fill(&rig->watches[op->index], op->value);
        break;
    default:
        run_shared(rig, op);
    }
}

static void runner_main(void *opaque)
{
    Runner *runner = opaque;
    for (int i = 0; i < runner->count; i++) {
        if (runner->ops[i].thread == runner->thread) {
            run_shared(runner->rig, &runner->ops[i]);
        }
    }
}

/* What must happen without further events from outside. */
static bool work_outstanding(TestingAio *rig)
{
    bool outstanding = rig->oneshots < atomic_load(&rig->oneshots_asked) ||
                       rig->posts < atomic_load(&rig->posts_asked);
    for (int i = 0; i < TESTING_AIO_SOURCES; i++) {
        Source *source = &rig->sources[i];
        outstanding |= source->registered && source->consumed < atomic_load(&source->kicked);
    }
    for (int i = 0; i < TESTING_AIO_SLOTS; i++) {
        outstanding |= atomic_load(&rig->bhs[i].announced) > 0 || rig->timers[i].due;
    }
    return outstanding;
}

static void run_threads(TestingAio *rig, const TestingAioOp *ops, int count)
{
    VmmThread *threads[TESTING_AIO_THREADS];
    Runner runners[TESTING_AIO_THREADS];
    VmmThreadSpec spec = {.name = "testing", .role = BQLREC_ROLE_OTHER, .cpu = -1};

    for (int i = 0; i < TESTING_AIO_THREADS; i++) {
        runners[i] = (Runner){rig, ops, count, i + 1};
        threads[i] = vmm_thread_spawn(&spec, runner_main, &runners[i]);
    }
    /* Blocks: an event that does not wake the loop is found by the watchdog alone. */
    while (work_outstanding(rig) && !rig->stuck) {
        aio_poll(rig->ctx, true);
    }
    for (int i = 0; i < TESTING_AIO_THREADS; i++) {
        if (threads[i]) {
            vmm_thread_join(threads[i]);
        }
    }
    while (work_outstanding(rig) && !rig->stuck) {
        aio_poll(rig->ctx, true);
    }
}

static void report_watches(TestingAio *rig, TestingAioState *out)
{
    int fds[TESTING_AIO_SLOTS], events[TESTING_AIO_SLOTS];

    aio_wait(rig->ctx, 0);
    int n = aio_take_ready(rig->ctx, fds, events, TESTING_AIO_SLOTS);
    for (int i = 0; i < n; i++) {
        for (int slot = 0; slot < TESTING_AIO_SLOTS; slot++) {
            out->ready[slot] |= rig->watches[slot].fd == fds[i] && events[i] == 1;
        }
    }
}

static void report(TestingAio *rig, TestingAioState *out)
{
    *out = (TestingAioState){
        .oneshots = rig->oneshots,
        .posts = rig->posts,
        .strays = rig->strays,
        .stuck = rig->stuck,
    };
    for (int i = 0; i < TESTING_AIO_SOURCES; i++) {
        out->consumed[i] = rig->sources[i].consumed;
        out->registered[i] = rig->sources[i].registered;
    }
    for (int i = 0; i < TESTING_AIO_SLOTS; i++) {
        out->scheduled[i] = rig->bhs[i].answered;
        out->fired[i] = rig->timers[i].fired;
    }
    report_watches(rig, out);
}

void testing_aio_round(TestingAio *rig, const TestingAioOp *ops, int count, TestingAioState *out)
{
    aio_timer_mod(rig->watchdog, aio_now_ns() + STUCK_NS);
    for (int i = 0; i < count; i++) {
        if (ops[i].thread == 0) {
            run_owned(rig, &ops[i]);
        }
    }
    run_threads(rig, ops, count);
    /* Readable watches keep it from ever being idle: what is left takes few iterations. */
    for (int i = 0; i < 16 && aio_poll(rig->ctx, false); i++) {
    }
    report(rig, out);
}

static int eventfd_new(void)
{
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

TestingAio *testing_aio_new(int fdmon, uint64_t poll_max_ns)
{
    AioConfig config = {.fdmon = fdmon, .poll_max_ns = poll_max_ns};
    TestingAio *rig = calloc(1, sizeof(*rig));

    if (!rig || !(rig->ctx = aio_context_new(&config)) || aio_fdmon(rig->ctx) != fdmon) {
        aio_context_free(rig ? rig->ctx : NULL);
        free(rig);
        return NULL;
    }
    rig->pollable = poll_max_ns > 0;
    rig->watchdog = aio_timer_new(rig->ctx, watchdog_bark, rig);
    for (int i = 0; i < TESTING_AIO_SOURCES; i++) {
        rig->sources[i].rig = rig;
        rig->sources[i].fd = eventfd_new();
    }
    for (int i = 0; i < TESTING_AIO_SLOTS; i++) {
        rig->bhs[i].rig = rig;
        rig->bhs[i].bh = aio_bh_new(rig->ctx, bh_run, &rig->bhs[i]);
        rig->timers[i].timer = aio_timer_new(rig->ctx, timer_fire, &rig->timers[i]);
        rig->watches[i].fd = eventfd_new();
    }
    return rig;
}

void testing_aio_free(TestingAio *rig)
{
    if (!rig) {
        return;
    }
    for (int i = 0; i < TESTING_AIO_SOURCES; i++) {
        source_remove(&rig->sources[i]);
        close(rig->sources[i].fd);
    }
    for (int i = 0; i < TESTING_AIO_SLOTS; i++) {
        if (rig->watches[i].watched) {
            aio_watch_fd(rig->ctx, rig->watches[i].fd, 0);
        }
        close(rig->watches[i].fd);
        aio_bh_delete(rig->bhs[i].bh);
        aio_timer_free(rig->timers[i].timer);
    }
    aio_timer_free(rig->watchdog);
    aio_context_free(rig->ctx);
    free(rig);
}
