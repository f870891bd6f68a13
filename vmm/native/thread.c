/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lockrank.h"

#define NAME_SIZE 16 /* TASK_COMM_LEN */

struct VmmThread {
    pthread_t handle;
    VmmThreadFn *fn;
    void *opaque;
    char name[NAME_SIZE];
    int role;
    BqlRec *rec;

    /* The start handshake and the end: kicks must not reach a thread that is gone. */
    RankedMutex mutex;
    pthread_cond_t started_cond;
    int tid; /* 0 until started */
    bool ended;
};

static void *run(void *opaque)
{
    VmmThread *thread = opaque;

    prctl(PR_SET_NAME, thread->name, 0, 0, 0);
    if (thread->rec != NULL) {
        bqlrec_thread_enter(thread->rec, thread->role, thread->name);
    }
    ranked_mutex_lock(&thread->mutex);
    thread->tid = (int)syscall(SYS_gettid);
    pthread_cond_signal(&thread->started_cond);
    ranked_mutex_unlock(&thread->mutex);

    thread->fn(thread->opaque);

    ranked_mutex_lock(&thread->mutex);
    thread->ended = true;
    ranked_mutex_unlock(&thread->mutex);
    return NULL;
}

/* Block all signals that are not the consequence of the thread's own instructions. */
static void block_signals(sigset_t *old)
{
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);
    sigdelset(&set, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &set, old);
}

/* 0 or an errno. A new thread inherits mask and affinity, so neither can be missed at its start. */
static int start(VmmThread *thread, int cpu)
{
    pthread_attr_t attr;
    sigset_t old;
    int error = pthread_attr_init(&attr);

    if (error != 0) {
        return error;
    }
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        if (cpu < CPU_SETSIZE) {
            CPU_SET(cpu, &set);
        }
        error = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
    }
    if (error == 0) {
        block_signals(&old);
        error = pthread_create(&thread->handle, &attr, run, thread);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    pthread_attr_destroy(&attr);
    return error;
}

VmmThread *vmm_thread_spawn(const VmmThreadSpec *spec, VmmThreadFn *fn, void *opaque)
{
    VmmThread *thread = calloc(1, sizeof(*thread));
    int error;

    if (thread == NULL) {
        return NULL;
    }
    thread->fn = fn;
    thread->opaque = opaque;
    thread->role = spec->role;
    thread->rec = spec->rec;
    strncpy(thread->name, spec->name, NAME_SIZE - 1);
    ranked_mutex_init(&thread->mutex, LOCK_RANK_LEAF, "thread");
    pthread_cond_init(&thread->started_cond, NULL);
    error = start(thread, spec->cpu);
    if (error != 0) {
        pthread_cond_destroy(&thread->started_cond);
        ranked_mutex_destroy(&thread->mutex);
        free(thread);
        errno = error;
        return NULL;
    }
    ranked_mutex_lock(&thread->mutex);
    while (thread->tid == 0) {
        ranked_cond_wait(&thread->started_cond, &thread->mutex);
    }
    ranked_mutex_unlock(&thread->mutex);
    return thread;
}

void vmm_thread_join(VmmThread *thread)
{
    if (thread == NULL) {
        return;
    }
    pthread_join(thread->handle, NULL);
    pthread_cond_destroy(&thread->started_cond);
    ranked_mutex_destroy(&thread->mutex);
    free(thread);
}

int vmm_thread_tid(const VmmThread *thread)
{
    return thread->tid;
}

bool vmm_thread_is_self(const VmmThread *thread)
{
    return pthread_equal(thread->handle, pthread_self());
}

int vmm_thread_kill(VmmThread *thread, int sig)
{
    int error = 0;

    ranked_mutex_lock(&thread->mutex);
    if (!thread->ended) {
        error = pthread_kill(thread->handle, sig);
    }
    ranked_mutex_unlock(&thread->mutex);
    return -error;
}
