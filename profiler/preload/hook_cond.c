/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Condition waits. On the BQL: a release, a sleep and an acquisition of its own, which happens
 * inside the C library where nobody can time it. Under the BQL on another mutex: a hold that
 * sleeps.
 *
 * To time the re-acquisition the sleep is moved to another mutex, the gate:
 *
 *     waiter, holding the BQL              who wakes it
 *     lock(gate)                           changes the predicate, holding the BQL
 *     unlock(BQL)          [recorded]      lock(gate), unlock(gate)
 *     cond_wait(cond, gate)                cond_signal(cond)
 *     unlock(gate)
 *     lock(BQL)            [recorded]
 *
 * No wake-up is lost: the waker's change comes after the waiter's unlock of the BQL, the waiter
 * has the gate by then and gives it up only inside cond_wait, so the waker, passing the gate, finds
 * it asleep. A waker that does not hold the BQL could lose its wake-up before, too. All threads
 * that wait on one condition with the BQL use the same gate, as POSIX demands of mutexes. The gate
 * comes after the BQL in the lock order and nothing is taken while it is held.
 *
 * Rejected: calling cond_wait with the BQL and taking the time after it, because nobody knows when
 * the sleep ended and the wait for the lock began.
 */
#include "preload.h"
#include "real.h"

typedef struct Wait {
    pthread_cond_t *cond;
    const struct timespec *until; /* NULL: for ever */
    clockid_t clock;
    bool with_clock;
} Wait;

static int sleep_on(const Wait *wait, pthread_mutex_t *mutex)
{
    if (wait->until == NULL) {
        return real()->cond_wait(wait->cond, mutex);
    }
    if (wait->with_clock) {
        return real()->cond_clockwait(wait->cond, mutex, wait->clock, wait->until);
    }
    return real()->cond_timedwait(wait->cond, mutex, wait->until);
}

static int wait_with_bql(const Wait *wait, pthread_mutex_t *bql, const void *caller)
{
    int error;

    /* Counted while the BQL is held: partner is pass_gate(). */
    atomic_fetch_add_explicit(&bqlpre.cond_waiters, 1, memory_order_seq_cst);
    real()->mutex_lock(&bqlpre.gate);
    bqlpre_unlock_bql(bql);
    error = sleep_on(wait, &bqlpre.gate);
    real()->mutex_unlock(&bqlpre.gate);
    bqlpre_lock_bql(bql, BQLREC_KIND_COND, caller);
    atomic_fetch_sub_explicit(&bqlpre.cond_waiters, 1, memory_order_relaxed);
    return error;
}

static int wait_under_bql(const Wait *wait, pthread_mutex_t *mutex)
{
    BqlRec *rec = bqlpre_recorder();
    int error;

    if (rec == NULL) {
        return sleep_on(wait, mutex);
    }
    bqlrec_blocked_begin(rec, BQLREC_BLOCKED_COND);
    error = sleep_on(wait, mutex);
    bqlrec_blocked_end(rec);
    return error;
}

static int wait_on(const Wait *wait, pthread_mutex_t *mutex, const void *caller)
{
    if (BQLPRE_LIKELY(!bqlpre_self.holds)) {
        return sleep_on(wait, mutex);
    }
    return bqlpre_is_bql(mutex) ? wait_with_bql(wait, mutex, caller) : wait_under_bql(wait, mutex);
}

/* A waker waits until nobody is between its release of the BQL and its sleep. */
static void pass_gate(void)
{
    /* Who changed the predicate under the BQL after a waiter released it sees the waiter's count;
     * partner: wait_with_bql(). */
    if (atomic_load_explicit(&bqlpre.cond_waiters, memory_order_seq_cst) != 0) {
        real()->mutex_lock(&bqlpre.gate);
        real()->mutex_unlock(&bqlpre.gate);
    }
}

BQLPRE_EXPORT int pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    const Wait wait = {.cond = cond};

    return wait_on(&wait, mutex, __builtin_return_address(0));
}

BQLPRE_EXPORT int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                         const struct timespec *until)
{
    const Wait wait = {.cond = cond, .until = until};

    return wait_on(&wait, mutex, __builtin_return_address(0));
}

BQLPRE_EXPORT int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                         clockid_t clock, const struct timespec *until)
{
    const Wait wait = {.cond = cond, .until = until, .clock = clock, .with_clock = true};

    return wait_on(&wait, mutex, __builtin_return_address(0));
}

BQLPRE_EXPORT int pthread_cond_signal(pthread_cond_t *cond)
{
    pass_gate();
    return real()->cond_signal(cond);
}

BQLPRE_EXPORT int pthread_cond_broadcast(pthread_cond_t *cond)
{
    pass_gate();
    return real()->cond_broadcast(cond);
}
