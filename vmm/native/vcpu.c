/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bqlrec_queue.h"

VcpuSet *vcpu_set_new(Bql *bql, IoSpace *iospace, GuestMemory *memory, VmRequests *requests)
{
    VcpuSet *set = calloc(1, sizeof(*set));

    if (!set)
        return NULL;
    set->bql = bql;
    set->iospace = iospace;
    set->memory = memory;
    set->requests = requests;
    set->created_cond = bql_cond_new(bql);
    set->pause_cond = bql_cond_new(bql);
    set->work_cond = bql_cond_new(bql);
    return set;
}

void vcpu_set_free(VcpuSet *set)
{
    bql_cond_free(set->created_cond);
    bql_cond_free(set->pause_cond);
    bql_cond_free(set->work_cond);
    free(set);
}

void vcpu_set_use_main_loop(VcpuSet *set, AioContext *main_ctx)
{
    set->main_ctx = main_ctx;
    set->main_thread = pthread_self();
}

/* Wait for a vCPU, the BQL released. Wakes up for other reasons too. */
static void vcpu_set_wait(VcpuSet *set, BqlCond *cond)
{
    if (!set->main_ctx || !pthread_equal(set->main_thread, pthread_self())) {
        bql_cond_wait(set->bql, cond);
        return;
    }
    bql_unlock(set->bql);
    aio_wait(set->main_ctx, -1);
    bql_lock(set->bql);
    aio_dispatch(set->main_ctx);
}

/* The counterpart, under the BQL. */
static void vcpu_set_wake(VcpuSet *set, BqlCond *cond)
{
    bql_cond_broadcast(cond);
    if (set->main_ctx)
        aio_notify(set->main_ctx);
}

Vcpu *vcpu_new(VcpuSet *set, const VcpuOps *ops, unsigned index, int host_cpu)
{
    Vcpu *vcpu = calloc(1, sizeof(*vcpu));

    if (!vcpu)
        return NULL;
    vcpu->set = set;
    vcpu->ops = ops;
    vcpu->index = index;
    vcpu->host_cpu = host_cpu;
    vcpu->kvm_fd = -1;
    vcpu->stop = true; /* realized stopped, as qemu_init_vcpu() leaves it */
    vcpu->halt_cond = bql_cond_new(set->bql);
    vcpu->work_last = &vcpu->work_first;
    return vcpu;
}

void vcpu_free(Vcpu *vcpu)
{
    bql_cond_free(vcpu->halt_cond);
    free(vcpu);
}

/* Work items */

static void vcpu_run_queued_work(Vcpu *vcpu)
{
    while (vcpu->work_first) {
        VcpuWork *work = vcpu->work_first;

        vcpu->work_first = work->next;
        if (!vcpu->work_first)
            vcpu->work_last = &vcpu->work_first;
        work->fn(vcpu, work->opaque);
        work->done = true; /* the caller's stack frame: gone once it sees this */
        vcpu_set_wake(vcpu->set, vcpu->set->work_cond);
    }
}

static bool vcpu_is_self(const Vcpu *vcpu)
{
    return vcpu->thread && vmm_thread_is_self(vcpu->thread);
}

int vcpu_run_on(Vcpu *vcpu, VcpuWorkFn *fn, void *opaque)
{
    VcpuWork work = {.fn = fn, .opaque = opaque};
    Bql *bql = vcpu->set->bql;

    bql_assert_held(bql);
    if (vcpu_is_self(vcpu)) {
        fn(vcpu, opaque);
        return 0;
    }
    if (!vcpu->thread || vcpu->state == VCPU_FINISHED)
        return -ESRCH;
    *vcpu->work_last = &work;
    vcpu->work_last = &work.next;
    vcpu_kick(vcpu);
    while (!work.done)
        vcpu_set_wait(vcpu->set, vcpu->set->work_cond);
    return 0;
}

/* The thread */

static bool vcpu_is_idle(const Vcpu *vcpu)
{
    if (vcpu->unplug || vcpu->work_first)
        return false;
    if (vcpu->stop && !vcpu->stopped)
        return false;
    return vcpu->stopped;
}

bool vcpu_process_events(Vcpu *vcpu)
{
    Bql *bql = vcpu->set->bql;

    /* Cleared before the state is read: a wish filed after this line sets it again and kicks. */
    atomic_store(&vcpu->exit_request, false);
    for (;;) {
        atomic_store(&vcpu->thread_kicked, false);
        vcpu_run_queued_work(vcpu);
        if (vcpu->stop && !vcpu->stopped) {
            vcpu->stopped = true;
            if (vcpu->state == VCPU_RUNNING)
                vcpu->state = VCPU_PAUSED;
            vcpu_set_wake(vcpu->set, vcpu->set->pause_cond);
        }
        if (!vcpu_is_idle(vcpu))
            break;
        bql_cond_wait(bql, vcpu->halt_cond);
    }
    return !vcpu->unplug;
}

static void vcpu_thread_end(Vcpu *vcpu)
{
    if (vcpu->ops->destroy)
        vcpu->ops->destroy(vcpu);
    vcpu->state = VCPU_FINISHED;
    vcpu->stopped = true;
    vcpu_run_queued_work(vcpu); /* nobody may wait for ever on a vCPU that ended */
    vcpu_set_wake(vcpu->set, vcpu->set->pause_cond);
}

static void vcpu_thread_fn(void *opaque)
{
    Vcpu *vcpu = opaque;
    VcpuSet *set = vcpu->set;

    if (set->thread_enter)
        set->thread_enter(set->thread_opaque);
    bql_lock(set->bql);
    vcpu->init_error = vcpu->ops->init(vcpu);
    vcpu->created = true;
    bql_cond_broadcast(set->created_cond);
    while (vcpu->init_error == 0 && vcpu_process_events(vcpu)) {
        if (vcpu->ops->exec(vcpu) < 0)
            vcpu->stop = true; /* it filed a request; wait to be finished */
    }
    vcpu_thread_end(vcpu);
    bql_unlock(set->bql);
    if (set->thread_leave)
        set->thread_leave(set->thread_opaque);
}

int vcpu_start(Vcpu *vcpu)
{
    Bql *bql = vcpu->set->bql;
    char name[16];
    VmmThreadSpec spec = {
        .name = name, .role = BQLREC_ROLE_VCPU, .cpu = vcpu->host_cpu, .rec = bql_recorder(bql)};

    bql_assert_held(bql);
    snprintf(name, sizeof(name), "CPU %u/%s", vcpu->index, vcpu->ops->name);
    vcpu->thread = vmm_thread_spawn(&spec, vcpu_thread_fn, vcpu);
    if (!vcpu->thread)
        return -errno;
    while (!vcpu->created)
        bql_cond_wait(bql, vcpu->set->created_cond);
    return vcpu->init_error;
}

int vcpu_command(Vcpu *vcpu, int command)
{
    bql_assert_held(vcpu->set->bql);
    /* Once told to finish it never runs again, whether its thread has noticed or not. */
    if ((vcpu->unplug || vcpu->state == VCPU_FINISHED) && command != VCPU_CMD_FINISH)
        return -EINVAL;
    switch (command) {
    case VCPU_CMD_RUN:
        vcpu->stop = vcpu->stopped = false;
        vcpu->state = VCPU_RUNNING;
        break;
    case VCPU_CMD_PAUSE:
        if (vcpu->state == VCPU_CREATED)
            return -EINVAL;
        vcpu->stop = true;
        break;
    case VCPU_CMD_FINISH:
        vcpu->stop = vcpu->unplug = true;
        break;
    default:
        return -EINVAL;
    }
    vcpu_kick(vcpu);
    return 0;
}

void vcpu_kick(Vcpu *vcpu)
{
    /* Partner: the loads in exec(); the flag must be seen by whoever the kick makes look. */
    atomic_store(&vcpu->exit_request, true);
    bql_cond_broadcast(vcpu->halt_cond);
    if (!atomic_exchange(&vcpu->thread_kicked, true) && !vcpu_is_self(vcpu))
        vcpu->ops->kick(vcpu);
}

void vcpu_pause_all(Vcpu **vcpus, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!vcpus[i]->stopped)
            vcpu_command(vcpus[i], VCPU_CMD_PAUSE);
    for (unsigned i = 0; i < count; i++)
        while (vcpus[i]->created && !vcpus[i]->stopped && !vcpu_is_self(vcpus[i]))
            vcpu_set_wait(vcpus[i]->set, vcpus[i]->set->pause_cond);
}

void vcpu_resume_all(Vcpu **vcpus, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        vcpu_command(vcpus[i], VCPU_CMD_RUN);
}

void vcpu_join(Vcpu *vcpu)
{
    Bql *bql = vcpu->set->bql;
    VmmThread *thread = vcpu->thread;

    bql_assert_held(bql);
    if (!thread)
        return;
    while (vcpu->state != VCPU_FINISHED)
        vcpu_set_wait(vcpu->set, vcpu->set->pause_cond);
    vcpu->thread = NULL; /* before the lock is dropped: nobody may kick a thread that is freed */
    bql_unlock(bql);
    vmm_thread_join(thread);
    bql_lock(bql);
}

/* Only the vCPU's own thread adds, so a load and a store do. */
void vcpu_count_exit(Vcpu *vcpu, int kind)
{
    static const unsigned recorded_as[VCPU_EXIT_KINDS] = {
        [VCPU_EXIT_PIO] = BQLREC_EXIT_PIO,
        [VCPU_EXIT_MMIO] = BQLREC_EXIT_MMIO,
        [VCPU_EXIT_INTERRUPTED] = BQLREC_EXIT_INTERRUPTED,
        [VCPU_EXIT_EMULATION] = BQLREC_EXIT_EMULATION,
        [VCPU_EXIT_OTHER] = BQLREC_EXIT_OTHER,
    };
    uint64_t n = atomic_load_explicit(&vcpu->exits[kind], memory_order_relaxed);
    BqlRec *rec = bql_recorder(vcpu->set->bql);

    atomic_store_explicit(&vcpu->exits[kind], n + 1, memory_order_relaxed);
    if (rec != NULL) {
        bqlrec_count_exit(rec, recorded_as[kind]);
    }
}

uint64_t vcpu_exit_count(const Vcpu *vcpu, int kind)
{
    return atomic_load_explicit(&vcpu->exits[kind], memory_order_relaxed);
}
