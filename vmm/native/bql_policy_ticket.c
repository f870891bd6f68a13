/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ticket lock. Waiters sleep on one of many words chosen by their ticket, so that an unlock wakes
 * the next in line and not the whole queue; with more waiters than words a few wake in vain.
 */
#include "bql_policy.h"
#include "futex.h"

#define SPINS 100

static void ticket_lock(BqlPolicyState *state)
{
    BqlTicket *lock = &state->ticket;
    /* seq_cst, as the load of serving below: partner is ticket_unlock(), where serving is stored
     * before next is loaded. One of the two sides sees the other. */
    uint32_t mine = atomic_fetch_add_explicit(&lock->next, 1, memory_order_seq_cst);
    _Atomic uint32_t *slot = &lock->slots[mine % BQL_TICKET_SLOTS];

    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&lock->serving, memory_order_seq_cst) == mine) {
            return;
        }
        cpu_relax();
    }
    for (;;) {
        /* The slot first: a wake-up between the two loads changes it and the wait returns. */
        uint32_t seen = atomic_load_explicit(slot, memory_order_acquire);
        if (atomic_load_explicit(&lock->serving, memory_order_seq_cst) == mine) {
            return;
        }
        futex_wait(slot, seen);
    }
}

static bool ticket_trylock(BqlPolicyState *state)
{
    BqlTicket *lock = &state->ticket;
    /* Acquire: partner is the store of serving in ticket_unlock(). */
    uint32_t serving = atomic_load_explicit(&lock->serving, memory_order_acquire);
    uint32_t expected = serving;

    return atomic_compare_exchange_strong_explicit(&lock->next, &expected, serving + 1,
                                                   memory_order_seq_cst, memory_order_relaxed);
}

static void ticket_unlock(BqlPolicyState *state)
{
    BqlTicket *lock = &state->ticket;
    uint32_t following = atomic_load_explicit(&lock->serving, memory_order_relaxed) + 1;

    /* seq_cst store before load: partner is ticket_lock(). */
    atomic_store_explicit(&lock->serving, following, memory_order_seq_cst);
    if (atomic_load_explicit(&lock->next, memory_order_seq_cst) != following) {
        _Atomic uint32_t *slot = &lock->slots[following % BQL_TICKET_SLOTS];
        atomic_fetch_add_explicit(slot, 1, memory_order_release);
        futex_wake(slot, INT_MAX);
    }
}

const BqlPolicyOps bql_policy_ticket = {
    .name = "ticket",
    .lock = ticket_lock,
    .trylock = ticket_trylock,
    .unlock = ticket_unlock,
};
