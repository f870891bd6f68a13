/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "iothread.h"
#include "thread.h"

struct IoThread {
    AioContext *ctx;
    VmmThread *thread;
    bool stopping; /* the iothread's own: set by a bottom half */
};

static void iothread_run(void *opaque)
{
    IoThread *iothread = opaque;

    /* Timers on the nanosecond, not on the default 50 us grid of normal threads. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    while (!iothread->stopping) {
        aio_poll(iothread->ctx, true);
    }
}

static void iothread_stop_bh(void *opaque)
{
    IoThread *iothread = opaque;
    iothread->stopping = true;
}

IoThread *iothread_new(const char *id, const AioConfig *config, int cpu, BqlRec *rec)
{
    char name[16];
    VmmThreadSpec spec = {.name = name, .role = BQLREC_ROLE_IOTHREAD, .cpu = cpu, .rec = rec};
    IoThread *iothread = calloc(1, sizeof(*iothread));
    int saved;

    if (!iothread) {
        return NULL;
    }
    iothread->ctx = aio_context_new(config);
    if (!iothread->ctx) {
        goto fail;
    }
    /* Longer ids are cut: the kernel keeps 15 bytes. */
    snprintf(name, sizeof(name), "IO %s", id);
    iothread->thread = vmm_thread_spawn(&spec, iothread_run, iothread);
    if (!iothread->thread) {
        goto fail;
    }
    return iothread;

fail:
    saved = errno;
    aio_context_free(iothread->ctx);
    free(iothread);
    errno = saved;
    return NULL;
}

AioContext *iothread_context(IoThread *iothread)
{
    return iothread->ctx;
}

int iothread_tid(const IoThread *iothread)
{
    return vmm_thread_tid(iothread->thread);
}

void iothread_free(IoThread *iothread)
{
    if (!iothread) {
        return;
    }
    aio_bh_oneshot(iothread->ctx, iothread_stop_bh, iothread);
    vmm_thread_join(iothread->thread);
    aio_context_free(iothread->ctx);
    free(iothread);
}
