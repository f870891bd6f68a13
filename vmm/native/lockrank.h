/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranked locks: lockdep in miniature. A thread takes locks in strictly rising rank, so no cycle
 * can exist. With BQL_DEBUG every acquisition is checked and a violation reports the cycle with
 * both stacks and aborts; without it a RankedMutex is a plain pthread mutex.
 *
 * Rule 1  The BQL has the lowest rank: it is taken before every other lock.
 * Rule 2  Two locks of one rank are never held together (Bql objects are exempt: tests hold two).
 * Rule 3  A trylock cannot deadlock and is not checked, but what it took counts as held.
 */
#ifndef VMM_NATIVE_LOCKRANK_H
#define VMM_NATIVE_LOCKRANK_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

enum LockRank {
    LOCK_RANK_BQL = 0,
    LOCK_RANK_MACHINE = 10, /* tables of a machine */
    LOCK_RANK_VCPU = 20,    /* one vCPU's command queue */
    LOCK_RANK_DEVICE = 30,  /* a device that runs outside the BQL */
    LOCK_RANK_BACKEND = 40, /* block and display back ends */
    LOCK_RANK_AIO = 50,     /* an event loop's lists */
    LOCK_RANK_POOL = 60,    /* worker pools */
    LOCK_RANK_LEAF = 100    /* nothing is taken under it */
};

/* The checks themselves, for lock types other than RankedMutex. lock identifies it. */
void lockrank_check(const void *lock, int rank, const char *name); /* before a blocking lock */
void lockrank_taken(const void *lock, int rank, const char *name); /* after any success */
void lockrank_released(const void *lock);                          /* before the unlock */

typedef struct RankedMutex {
    pthread_mutex_t mutex;
    int rank; /* enum LockRank */
    const char *name;
} RankedMutex;

static inline void ranked_mutex_init(RankedMutex *m, int rank, const char *name)
{
    pthread_mutex_init(&m->mutex, NULL);
    m->rank = rank;
    m->name = name;
}

static inline void ranked_mutex_destroy(RankedMutex *m)
{
    pthread_mutex_destroy(&m->mutex);
}

static inline void ranked_mutex_lock(RankedMutex *m)
{
#ifdef BQL_DEBUG
    lockrank_check(m, m->rank, m->name);
#endif
    pthread_mutex_lock(&m->mutex);
#ifdef BQL_DEBUG
    lockrank_taken(m, m->rank, m->name);
#endif
}

static inline bool ranked_mutex_trylock(RankedMutex *m)
{
    if (pthread_mutex_trylock(&m->mutex) != 0) {
        return false;
    }
#ifdef BQL_DEBUG
    lockrank_taken(m, m->rank, m->name);
#endif
    return true;
}

static inline void ranked_mutex_unlock(RankedMutex *m)
{
#ifdef BQL_DEBUG
    lockrank_released(m);
#endif
    pthread_mutex_unlock(&m->mutex);
}

/* The wait re-takes the mutex, so it must still be in order: anything taken later is a violation.
 */
static inline void ranked_cond_wait(pthread_cond_t *cond, RankedMutex *m)
{
#ifdef BQL_DEBUG
    lockrank_released(m);
    lockrank_check(m, m->rank, m->name);
#endif
    pthread_cond_wait(cond, &m->mutex);
#ifdef BQL_DEBUG
    lockrank_taken(m, m->rank, m->name);
#endif
}

/* Returns 0 or ETIMEDOUT. deadline is on the clock the condition was made for. */
static inline int ranked_cond_timedwait(pthread_cond_t *cond, RankedMutex *m,
                                        const struct timespec *deadline)
{
    int ret;

#ifdef BQL_DEBUG
    lockrank_released(m);
    lockrank_check(m, m->rank, m->name);
#endif
    ret = pthread_cond_timedwait(cond, &m->mutex, deadline);
#ifdef BQL_DEBUG
    lockrank_taken(m, m->rank, m->name);
#endif
    return ret;
}

#endif
