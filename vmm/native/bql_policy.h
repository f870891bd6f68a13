/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lock policies of the BQL. The default, a pthread mutex, is called directly by bql.c; the fair
 * ones are called through this table, so that all can be compared under the same workload.
 * Both fair locks are FIFO and sleep in the kernel after a short spin: with more waiters than
 * processors a fair spin lock would wait for threads that do not run.
 */
#ifndef VMM_NATIVE_BQL_POLICY_H
#define VMM_NATIVE_BQL_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BQL_TICKET_SLOTS 64u /* power of two */

typedef struct BqlTicket {
    _Alignas(64) _Atomic uint32_t next;
    _Alignas(64) _Atomic uint32_t serving;
    /* Waiter of ticket t sleeps on slot t % BQL_TICKET_SLOTS. */
    _Alignas(64) _Atomic uint32_t slots[BQL_TICKET_SLOTS];
} BqlTicket;

typedef struct BqlMcsNode BqlMcsNode;
struct BqlMcsNode {
    _Atomic(BqlMcsNode *) next;
    _Atomic(BqlMcsNode *) tail; /* used in the lock's own node only */
    _Atomic uint32_t state;     /* of a waiter: 0 waits, 1 sleeps, 2 has the lock */
};

typedef union BqlPolicyState {
    BqlTicket ticket;
    BqlMcsNode mcs;
} BqlPolicyState;

typedef struct BqlPolicyOps {
    const char *name;
    void (*lock)(BqlPolicyState *state);
    bool (*trylock)(BqlPolicyState *state);
    void (*unlock)(BqlPolicyState *state);
} BqlPolicyOps;

extern const BqlPolicyOps bql_policy_ticket;
extern const BqlPolicyOps bql_policy_mcs;

#endif
