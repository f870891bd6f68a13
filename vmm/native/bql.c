/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The big lock: rules in bql.h, policies in bql_policy.h, timing in the recorder.
 *
 * The path of an uncontended lock and unlock is what every guest device access pays, so it is
 * short: who holds the lock is one word compared with the address of a thread's own variable,
 * recording on or off is one load, the default policy is a direct call.
 */
#include "bql.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bql_private.h"
#include "bqlrec_sites.h"
#include "bqlrec_steps.h"
#include "lockrank.h"

/* The lock and unlock paths are one function each, but for what is rare. */
#define BQL_INLINE inline __attribute__((always_inline))

static BQL_INLINE const void *self_address(void)
{
    return &bqlrec_tls;
}

static BQL_INLINE bool holds(Bql *bql)
{
    return atomic_load_explicit(&bql->owner, memory_order_relaxed) == self_address();
}

static void print_site(const Bql *bql, const char *what, uint32_t id)
{
    const BqlRecSite *site = &bql->site_table[id < BQLREC_SITES ? id : 0];

    fprintf(stderr, "  %s at %s:%u %s%s%s\n", what, site->file, site->line, site->func,
            site->region[0] != '\0' ? " for " : "", site->region);
}

static __attribute__((noreturn, noinline, cold)) void die_recursive(const Bql *bql, uint32_t site)
{
    fprintf(stderr, "BQL locked twice by one thread\n");
    print_site(bql, "held since the lock", bql->owner_site);
    print_site(bql, "locked again", site);
    abort();
}

static __attribute__((noreturn, noinline, cold)) void die_unheld(const Bql *bql, void *caller)
{
    const BqlRecLive *live = bql->rec != NULL ? bql->rec->live : NULL;
    uint32_t holder = live != NULL ? bqlrec_get(live->holder) : 0;

    fprintf(stderr, "BQL unlocked by a thread that does not hold it\n");
    if (holder != 0) {
        print_site(bql, "held by another thread, locked", BQLREC_WHO_SITE(holder));
    } else {
        print_site(bql, "last locked", bql->owner_site);
    }
    fprintf(stderr, "  unlocked at ");
    fflush(stderr);
    backtrace_symbols_fd(&caller, 1, STDERR_FILENO);
    abort();
}

static void free_bql(Bql *bql)
{
    if (bql->rec == NULL) {
        bqlrec_sites_free(bql->sites);
        free(bql->site_table);
    }
    free(bql);
}

static const BqlPolicyOps *find_policy(const char *name, bool *known)
{
    static const BqlPolicyOps *const fair[] = {&bql_policy_ticket, &bql_policy_mcs};

    *known = name == NULL || strcmp(name, "pthread") == 0;
    for (size_t i = 0; !*known && i < sizeof(fair) / sizeof(fair[0]); i++) {
        if (strcmp(name, fair[i]->name) == 0) {
            *known = true;
            return fair[i];
        }
    }
    return NULL;
}

/* 0 or an errno. */
static int set_up_sites(Bql *bql)
{
    if (bql->rec != NULL) {
        bql->site_table = bql->rec->site_table;
        bql->site_serial = bql->rec->serial;
        return bqlrec_claim(bql->rec) ? 0 : EBUSY;
    }
    bql->site_serial = bqlrec_unique_serial();
    bql->site_table = calloc(BQLREC_SITES, sizeof(BqlRecSite));
    if (bql->site_table != NULL) {
        bql->sites = bqlrec_sites_new(bql->site_table, &bql->sites_used, &bql->sites_lost);
    }
    return bql->sites != NULL ? 0 : ENOMEM;
}

Bql *bql_new(const char *policy, BqlRec *rec)
{
    static const _Atomic uint32_t never = 0;
    bool known;
    const BqlPolicyOps *ops = find_policy(policy, &known);
    Bql *bql;
    int error;

    if (!known) {
        errno = EINVAL;
        return NULL;
    }
    bql = aligned_alloc(_Alignof(Bql), sizeof(*bql));
    if (bql == NULL) {
        return NULL;
    }
    memset(bql, 0, sizeof(*bql));
    bql->rec = rec;
    bql->ops = ops;
    bql->enabled = rec != NULL ? &rec->header->enabled : &never;
    error = set_up_sites(bql);
    if (error != 0) {
        free_bql(bql);
        errno = error;
        return NULL;
    }
    pthread_mutex_init(&bql->mutex, NULL);
    return bql;
}

void bql_free(Bql *bql)
{
    if (bql == NULL) {
        return;
    }
    pthread_mutex_destroy(&bql->mutex);
    if (bql->rec != NULL) {
        bqlrec_unclaim(bql->rec);
    }
    free_bql(bql);
}

BqlRec *bql_recorder(Bql *bql)
{
    return bql->rec;
}

uint32_t bql_site(Bql *bql, const char *file, int line, const char *func, const char *region)
{
    return bql->rec != NULL ? bqlrec_site(bql->rec, file, (uint32_t)line, func, region)
                            : bqlrec_sites_intern(bql->sites, file, (uint32_t)line, func, region);
}

uint32_t bql_site_resolve(Bql *bql, BqlSiteDef *def)
{
    /* Relaxed: the value is complete in itself; whoever misses it interns the same id again. */
    uint64_t cached = atomic_load_explicit(&def->cached, memory_order_relaxed);
    uint32_t site;

    if (__builtin_expect(cached >> 32 == bql->site_serial, true)) {
        return (uint32_t)cached;
    }
    site = bql_site(bql, def->file, def->line, def->func, NULL);
    atomic_store_explicit(&def->cached, (uint64_t)bql->site_serial << 32 | site,
                          memory_order_relaxed);
    return site;
}

static BQL_INLINE void raw_lock(Bql *bql)
{
    if (__builtin_expect(bql->ops == NULL, true)) {
        pthread_mutex_lock(&bql->mutex);
    } else {
        bql->ops->lock(&bql->state);
    }
}

static BQL_INLINE bool raw_trylock(Bql *bql)
{
    if (__builtin_expect(bql->ops == NULL, true)) {
        return pthread_mutex_trylock(&bql->mutex) == 0;
    }
    return bql->ops->trylock(&bql->state);
}

static BQL_INLINE void raw_unlock(Bql *bql)
{
    if (__builtin_expect(bql->ops == NULL, true)) {
        pthread_mutex_unlock(&bql->mutex);
    } else {
        bql->ops->unlock(&bql->state);
    }
}

static BQL_INLINE void set_owner(Bql *bql, uint32_t site)
{
    atomic_store_explicit(&bql->owner, self_address(), memory_order_relaxed);
    bql->owner_site = site;
#ifdef BQL_DEBUG
    lockrank_taken(bql, LOCK_RANK_BQL, "BQL");
#endif
}

static BQL_INLINE void check_order(Bql *bql, uint32_t site)
{
    if (__builtin_expect(holds(bql), false)) {
        die_recursive(bql, site);
    }
#ifdef BQL_DEBUG
    lockrank_check(bql, LOCK_RANK_BQL, "BQL");
#endif
}

static BQL_INLINE bool recording(Bql *bql)
{
    /* Acquire, as in bqlrec_recording(). */
    return atomic_load_explicit(bql->enabled, memory_order_acquire) != 0;
}

static __attribute__((noinline)) void lock_contended(Bql *bql, BqlRecSelf *self, uint32_t site,
                                                     unsigned kind)
{
    bqlrec_wait_begin(bql->rec, self);
    raw_lock(bql);
    bqlrec_wait_end(bql->rec, self, site, kind);
}

static __attribute__((noinline)) void lock_recorded(Bql *bql, uint32_t site, unsigned kind)
{
    BqlRecSelf *self = bqlrec_self(bql->rec);

    if (__builtin_expect(self == NULL, false)) {
        raw_lock(bql);
    } else if (__builtin_expect(raw_trylock(bql), true)) {
        bqlrec_acquired(bql->rec, self, site, kind);
    } else {
        lock_contended(bql, self, site, kind);
    }
    set_owner(bql, site);
}

/* Two functions, so that the one that records nothing saves no registers for the other. */
static BQL_INLINE void lock_as(Bql *bql, uint32_t site, unsigned kind)
{
    check_order(bql, site);
    if (recording(bql)) {
        lock_recorded(bql, site, kind);
    } else {
        raw_lock(bql);
        set_owner(bql, site);
    }
}

static __attribute__((noinline)) void unlock_recorded(Bql *bql)
{
    BqlRec *rec = bql->rec;
    BqlRecSelf *self = bqlrec_release_prepare(rec);

    raw_unlock(bql);
    bqlrec_release_finish(rec, self);
}

static BQL_INLINE void unlock(Bql *bql)
{
#ifdef BQL_DEBUG
    lockrank_released(bql);
#endif
    atomic_store_explicit(&bql->owner, NULL, memory_order_relaxed);
    if (recording(bql) || (bql->rec != NULL && bql->rec->holder != NULL)) {
        unlock_recorded(bql);
    } else {
        raw_unlock(bql);
    }
}

void bql_lock_site(Bql *bql, uint32_t site)
{
    lock_as(bql, site, BQLREC_KIND_LOCK);
}

bool bql_trylock_site(Bql *bql, uint32_t site)
{
    BqlRecSelf *self;

    if (holds(bql)) {
        die_recursive(bql, site);
    }
    self = recording(bql) ? bqlrec_self(bql->rec) : NULL;
    if (!raw_trylock(bql)) {
        if (self != NULL) {
            bqlrec_trylock_failed(bql->rec, self, site);
        }
        return false;
    }
    if (self != NULL) {
        bqlrec_acquired(bql->rec, self, site, BQLREC_KIND_TRYLOCK);
    }
    set_owner(bql, site);
    return true;
}

void bql_unlock(Bql *bql)
{
    if (__builtin_expect(!holds(bql), false)) {
        die_unheld(bql, __builtin_return_address(0));
    }
    unlock(bql);
}

bool bql_locked(Bql *bql)
{
    return holds(bql);
}

void bql_assert_held_at(Bql *bql, const char *file, int line)
{
    if (!bql_locked(bql)) {
        fprintf(stderr, "%s:%d: the BQL must be held here\n", file, line);
        abort();
    }
}

void bql_relock(Bql *bql, uint32_t site)
{
    lock_as(bql, site, BQLREC_KIND_COND);
}

void bql_blocked_begin(Bql *bql, int reason)
{
    if (bql->rec != NULL) {
        bqlrec_blocked_begin(bql->rec, reason);
    }
}

void bql_blocked_end(Bql *bql)
{
    if (bql->rec != NULL) {
        bqlrec_blocked_end(bql->rec);
    }
}

void bql_gil_waited(Bql *bql, uint64_t ticks)
{
    if (bql->rec != NULL) {
        bqlrec_gil_waited(bql->rec, ticks);
    }
}
