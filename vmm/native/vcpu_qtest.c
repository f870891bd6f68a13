/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vcpu_qtest.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>

#include "lockrank.h"

typedef struct QtestAccess {
    int kind;
    bool write, done;
    uint64_t addr, value;
    unsigned size;
} QtestAccess;

typedef struct QtestVcpu {
    QtestGuestFn *fn;
    void *opaque;
    bool in_guest, guest_ended;
    bool restart;       /* under the BQL: a native guest is to be left for its new start */
    jmp_buf guest_exit; /* the way out of a native guest whose vCPU is finished or reset */
    RankedMutex lock;   /* the BQL is never taken under it */
    pthread_cond_t cond;
    QtestAccess *pending; /* the one access asked for and not yet done */
    bool ended;           /* nobody will serve accesses any more */
    unsigned callers;     /* inside qtest_access() */
} QtestVcpu;

int vcpu_qtest_setup(Vcpu *vcpu, QtestGuestFn *fn, void *opaque)
{
    QtestVcpu *qtest = calloc(1, sizeof(*qtest));

    if (!qtest)
        return -ENOMEM;
    qtest->fn = fn;
    qtest->opaque = opaque;
    ranked_mutex_init(&qtest->lock, LOCK_RANK_VCPU, "qtest accesses");
    pthread_cond_init(&qtest->cond, NULL);
    vcpu->qtest = qtest;
    return 0;
}

void vcpu_qtest_teardown(Vcpu *vcpu)
{
    QtestVcpu *qtest = vcpu->qtest;

    if (!qtest)
        return;
    /* Those whom qtest_destroy() let go may still be on their way out. */
    ranked_mutex_lock(&qtest->lock);
    qtest->ended = true;
    pthread_cond_broadcast(&qtest->cond);
    while (qtest->callers > 0)
        ranked_cond_wait(&qtest->cond, &qtest->lock);
    ranked_mutex_unlock(&qtest->lock);
    pthread_cond_destroy(&qtest->cond);
    ranked_mutex_destroy(&qtest->lock);
    free(qtest);
    vcpu->qtest = NULL;
}

void vcpu_qtest_restart(Vcpu *vcpu)
{
    QtestVcpu *qtest = vcpu->qtest;

    bql_assert_held(vcpu->set->bql);
    qtest->guest_ended = false;
    qtest->restart = qtest->in_guest;
}

/* The counterpart of leaving KVM_RUN: stop, queued work, and on again. False: the vCPU must end
 * and the access at hand must not happen any more, its device may be gone. Does not return then,
 * nor after a reset, if a native guest is running. */
static bool honour_exit_request(Vcpu *vcpu)
{
    Bql *bql = vcpu->set->bql;

    /* Partner: the store in vcpu_kick(). */
    if (!atomic_load_explicit(&vcpu->exit_request, memory_order_acquire))
        return true;
    vcpu_count_exit(vcpu, VCPU_EXIT_INTERRUPTED);
    bql_lock(bql);
    QtestVcpu *qtest = vcpu->qtest;
    bool go_on = vcpu_process_events(vcpu);
    bool restart = qtest->restart;
    qtest->restart = false;
    bql_unlock(bql);
    if ((!go_on || restart) && qtest->in_guest)
        longjmp(qtest->guest_exit, 1);
    return go_on;
}

uint64_t qtest_read(Vcpu *vcpu, int kind, uint64_t addr, unsigned size)
{
    if (!honour_exit_request(vcpu))
        return iospace_all_ones(size);
    vcpu_count_exit(vcpu, kind == IO_PIO ? VCPU_EXIT_PIO : VCPU_EXIT_MMIO);
    return iospace_read(vcpu->set->iospace, kind, addr, size);
}

void qtest_write(Vcpu *vcpu, int kind, uint64_t addr, uint64_t value, unsigned size)
{
    if (!honour_exit_request(vcpu))
        return;
    vcpu_count_exit(vcpu, kind == IO_PIO ? VCPU_EXIT_PIO : VCPU_EXIT_MMIO);
    iospace_write(vcpu->set->iospace, kind, addr, value, size);
}

void qtest_relax(Vcpu *vcpu)
{
    honour_exit_request(vcpu);
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void run_access(Vcpu *vcpu, QtestAccess *access)
{
    if (access->write)
        qtest_write(vcpu, access->kind, access->addr, access->value, access->size);
    else
        access->value = qtest_read(vcpu, access->kind, access->addr, access->size);
}

/* Waits for an access or an exit request; runs at most one access. */
static void run_script(Vcpu *vcpu, QtestVcpu *qtest)
{
    QtestAccess *access;

    ranked_mutex_lock(&qtest->lock);
    while (!qtest->pending && !atomic_load(&vcpu->exit_request))
        ranked_cond_wait(&qtest->cond, &qtest->lock);
    access = qtest->pending;
    ranked_mutex_unlock(&qtest->lock);
    if (!access)
        return;
    run_access(vcpu, access);
    ranked_mutex_lock(&qtest->lock);
    qtest->pending = NULL;
    access->done = true;
    pthread_cond_broadcast(&qtest->cond);
    ranked_mutex_unlock(&qtest->lock);
}

uint64_t qtest_access(Vcpu *vcpu, int kind, bool write, uint64_t addr, uint64_t value,
                      unsigned size)
{
    QtestVcpu *qtest = vcpu->qtest;
    QtestAccess access = {
        .kind = kind, .write = write, .addr = addr, .value = write ? value : 0, .size = size};

    ranked_mutex_lock(&qtest->lock);
    qtest->callers++;
    while (qtest->pending && !qtest->ended)
        ranked_cond_wait(&qtest->cond, &qtest->lock);
    if (!qtest->ended) {
        qtest->pending = &access;
        pthread_cond_broadcast(&qtest->cond);
    }
    while (!access.done && !qtest->ended)
        ranked_cond_wait(&qtest->cond, &qtest->lock);
    if (--qtest->callers == 0 && qtest->ended)
        pthread_cond_broadcast(&qtest->cond);
    ranked_mutex_unlock(&qtest->lock);
    if (write)
        return 0;
    return access.done ? access.value : iospace_all_ones(size);
}

static int qtest_init(Vcpu *vcpu)
{
    return vcpu->qtest ? 0 : -EINVAL;
}

static void run_guest(Vcpu *vcpu, QtestVcpu *qtest)
{
    qtest->guest_ended = true;
    qtest->in_guest = true;
    if (setjmp(qtest->guest_exit) == 0)
        qtest->fn(vcpu, qtest->opaque);
    qtest->in_guest = false;
}

/* A native guest runs once a reset, to its end; afterwards (and for scripts) accesses are served.
 */
static int qtest_exec(Vcpu *vcpu)
{
    QtestVcpu *qtest = vcpu->qtest;
    Bql *bql = vcpu->set->bql;

    bql_unlock(bql);
    if (qtest->fn && !qtest->guest_ended)
        run_guest(vcpu, qtest);
    else
        run_script(vcpu, qtest);
    bql_lock(bql);
    return 0;
}

/* In the vCPU's own thread: no access is being run. Those who wait for one are let go. */
static void qtest_destroy(Vcpu *vcpu)
{
    QtestVcpu *qtest = vcpu->qtest;

    if (!qtest)
        return;
    ranked_mutex_lock(&qtest->lock);
    qtest->ended = true;
    qtest->pending = NULL;
    pthread_cond_broadcast(&qtest->cond);
    ranked_mutex_unlock(&qtest->lock);
}

static void qtest_kick(Vcpu *vcpu)
{
    QtestVcpu *qtest = vcpu->qtest;

    ranked_mutex_lock(&qtest->lock);
    pthread_cond_broadcast(&qtest->cond);
    ranked_mutex_unlock(&qtest->lock);
}

const VcpuOps vcpu_qtest_ops = {
    .name = "QTEST",
    .init = qtest_init,
    .exec = qtest_exec,
    .kick = qtest_kick,
    .destroy = qtest_destroy,
};
