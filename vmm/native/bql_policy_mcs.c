/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Queue lock after Mellor-Crummey and Scott, in the variant where the lock holds the owner's
 * place in the queue: a waiter's node lives on its stack only while it waits, so lock and unlock
 * need no common frame and a thread may hold any number of locks.
 *
 *   lock.tail == NULL          free
 *   lock.tail == &lock         held, nobody waits
 *   lock.tail == &node         held, node is the last in the queue that starts at lock.next
 *
 * A waiter that gets the lock takes its node out of the queue before it returns. Two short gaps
 * exist (tail swapped, link not yet stored); who meets one yields the processor until it closes.
 */
#include <sched.h>
#include <stddef.h>

#include "bql_policy.h"
#include "futex.h"

#define SPINS 100

enum { WAITS, SLEEPS, GRANTED };

/* The link behind node, which somebody is about to store. */
static BqlMcsNode *await_next(BqlMcsNode *node)
{
    BqlMcsNode *next;

    /* Acquire: partner is the release store of the link in mcs_lock(). */
    while ((next = atomic_load_explicit(&node->next, memory_order_acquire)) == NULL) {
        sched_yield();
    }
    return next;
}

static void await_grant(BqlMcsNode *node)
{
    uint32_t state = WAITS;

    for (int i = 0; i < SPINS; i++) {
        /* Acquire, here and below: partner is the exchange in mcs_unlock(). */
        if (atomic_load_explicit(&node->state, memory_order_acquire) == GRANTED) {
            return;
        }
        cpu_relax();
    }
    atomic_compare_exchange_strong_explicit(&node->state, &state, SLEEPS, memory_order_acquire,
                                            memory_order_acquire);
    while (atomic_load_explicit(&node->state, memory_order_acquire) != GRANTED) {
        futex_wait(&node->state, SLEEPS);
    }
}

/* With the lock held: the lock's own node takes the place of this one. */
static void leave_queue(BqlMcsNode *lock, BqlMcsNode *node)
{
    BqlMcsNode *next = atomic_load_explicit(&node->next, memory_order_acquire);
    BqlMcsNode *expected = node;

    if (next == NULL) {
        atomic_store_explicit(&lock->next, NULL, memory_order_relaxed);
        /* Release: lock.next is NULL for whoever queues behind the lock's node. */
        if (atomic_compare_exchange_strong_explicit(&lock->tail, &expected, lock,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            return;
        }
        next = await_next(node);
    }
    atomic_store_explicit(&lock->next, next, memory_order_relaxed);
}

static bool mcs_trylock(BqlPolicyState *state)
{
    BqlMcsNode *lock = &state->mcs;
    BqlMcsNode *expected = NULL;

    /* Acquire: partner is the exchange of tail to NULL in mcs_unlock(). */
    return atomic_compare_exchange_strong_explicit(&lock->tail, &expected, lock,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

static void mcs_lock(BqlPolicyState *state)
{
    BqlMcsNode *lock = &state->mcs;

    for (;;) {
        BqlMcsNode node = {.state = WAITS};
        BqlMcsNode *last = atomic_load_explicit(&lock->tail, memory_order_acquire);

        if (last == NULL) {
            if (mcs_trylock(state)) {
                return;
            }
            continue;
        }
        if (atomic_compare_exchange_weak_explicit(&lock->tail, &last, &node, memory_order_acq_rel,
                                                  memory_order_relaxed)) {
            /* Release: the successor's node is ready; partner: await_next(), mcs_unlock(). */
            atomic_store_explicit(&last->next, &node, memory_order_release);
            await_grant(&node);
            leave_queue(lock, &node);
            return;
        }
    }
}

static void mcs_unlock(BqlPolicyState *state)
{
    BqlMcsNode *lock = &state->mcs;
    BqlMcsNode *next = atomic_load_explicit(&lock->next, memory_order_acquire);
    BqlMcsNode *expected = lock;

    if (next == NULL) {
        if (atomic_compare_exchange_strong_explicit(&lock->tail, &expected, NULL,
                                                    memory_order_acq_rel, memory_order_relaxed)) {
            return;
        }
        next = await_next(lock);
    }
    /* The new holder owns lock.next from here on. Waking an address whose frame is gone is
     * harmless: the kernel does not read it. Release: partner is await_grant(). */
    if (atomic_exchange_explicit(&next->state, GRANTED, memory_order_acq_rel) == SLEEPS) {
        futex_wake(&next->state, 1);
    }
}

const BqlPolicyOps bql_policy_mcs = {
    .name = "mcs",
    .lock = mcs_lock,
    .trylock = mcs_trylock,
    .unlock = mcs_unlock,
};
