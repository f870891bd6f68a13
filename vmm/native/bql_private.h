/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the lock's own files share. */
#ifndef VMM_NATIVE_BQL_PRIVATE_H
#define VMM_NATIVE_BQL_PRIVATE_H

#include <pthread.h>

#include "bql.h"
#include "bql_policy.h"
#include "bqlrec_sites.h"

struct Bql {
    BqlRec *rec;                     /* may be NULL */
    const BqlPolicyOps *ops;         /* NULL: pthread */
    const _Atomic uint32_t *enabled; /* the recording's flag, or a constant 0 */
    BqlRecSites *sites;              /* of a lock without recorder, to name its call sites */
    BqlRecSite *site_table;          /* never NULL */
    _Atomic uint32_t sites_used, sites_lost;
    uint32_t site_serial;

    _Alignas(64) pthread_mutex_t mutex;
    /* Address of the holder's bqlrec_tls, NULL = free. Written by the holder. Relaxed: a thread
     * compares it with its own address only, which nobody else stores. */
    _Atomic(const void *) owner;
    uint32_t owner_site; /* where it was taken; read by the owner only */

    _Alignas(64) BqlPolicyState state;
};

/* Take the lock at the end of a condition wait. */
void bql_relock(Bql *bql, uint32_t site);

#endif
