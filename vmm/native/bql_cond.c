/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Condition waits do not use pthread conditions: these re-take the mutex inside the C library,
 * where nobody can time it. A futex word that counts signals does the same with the re-taking in
 * our hands.
 */
#include <stdlib.h>

#include "bql_private.h"
#include "futex.h"

struct BqlCond {
    Bql *bql;
    _Atomic uint32_t signals; /* futex word */
    _Atomic uint32_t waiters; /* written under the BQL */
};

BqlCond *bql_cond_new(Bql *bql)
{
    BqlCond *cond = calloc(1, sizeof(*cond));

    if (cond != NULL) {
        cond->bql = bql;
    }
    return cond;
}

void bql_cond_free(BqlCond *cond)
{
    free(cond);
}

static struct timespec deadline_after(int64_t timeout_ns)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += timeout_ns / 1000000000;
    ts.tv_nsec += timeout_ns % 1000000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

bool bql_cond_wait_site(BqlCond *cond, uint32_t site, int64_t timeout_ns)
{
    Bql *bql = cond->bql;
    struct timespec deadline;
    uint32_t signals;
    bool woken = true;

    /* Under the BQL: who changes the predicate after this sees the waiter, and a signal after this
     * changes the word. */
    signals = atomic_load_explicit(&cond->signals, memory_order_relaxed);
    atomic_fetch_add_explicit(&cond->waiters, 1, memory_order_relaxed);
    if (timeout_ns >= 0) {
        deadline = deadline_after(timeout_ns);
    }
    bql_unlock(bql);
    if (timeout_ns >= 0) {
        woken = futex_wait_until(&cond->signals, signals, &deadline);
    } else {
        futex_wait(&cond->signals, signals);
    }
    bql_relock(bql, site);
    atomic_fetch_sub_explicit(&cond->waiters, 1, memory_order_relaxed);
    return woken;
}

static void wake(BqlCond *cond, int count)
{
    if (atomic_load_explicit(&cond->waiters, memory_order_relaxed) == 0) {
        return;
    }
    /* Release: the predicate, changed under the BQL, was changed before. */
    atomic_fetch_add_explicit(&cond->signals, 1, memory_order_release);
    futex_wake(&cond->signals, count);
}

void bql_cond_signal(BqlCond *cond)
{
    /* Without the BQL a new waiter may queue between the count and the wake-up and take it from
     * the one it was for. */
    wake(cond, bql_locked(cond->bql) ? 1 : INT_MAX);
}

void bql_cond_broadcast(BqlCond *cond)
{
    wake(cond, INT_MAX);
}
