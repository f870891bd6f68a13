/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The big lock (BQL): the coarsest lock of the VMM, timed at every acquisition.
 *
 * Rules
 *  1. Not recursive. Locking it twice, or unlocking it unheld, aborts with both call sites.
 *  2. Taken before every other ranked lock (lockrank.h checks this in a debug build).
 *  3. Every acquisition goes through bql_lock()/bql_trylock()/bql_cond_wait(): re-taking the
 *     lock at the end of a condition wait is an acquisition with its own call site and is timed
 *     as one.
 *  4. A holder that sleeps inside its hold says so with bql_blocked_begin()/bql_blocked_end().
 *
 * A Bql is an object, not a global, so that tests can have several; a thread may use several.
 */
#ifndef VMM_NATIVE_BQL_H
#define VMM_NATIVE_BQL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bqlrec.h" /* profiler/recorder: the only header shared with the recorder */

typedef struct Bql Bql;
typedef struct BqlCond BqlCond;

/* A C call site, interned into the recorder's site table on first use. */
typedef struct BqlSiteDef {
    const char *file;
    const char *func;
    int line;
    _Atomic uint64_t cached; /* recorder serial << 32 | site id; 0 = not yet interned */
} BqlSiteDef;

/*
 * policy: "pthread" (default when NULL; a futex mutex, unfair, as QEMU's), "ticket" (fair FIFO)
 * or "mcs". rec may be NULL (nothing is recorded). Returns NULL with errno set.
 */
Bql *bql_new(const char *policy, BqlRec *rec);
void bql_free(Bql *bql);
BqlRec *bql_recorder(Bql *bql);

/* Intern a call site. region may be NULL; else the memory region's name (a device). */
uint32_t bql_site(Bql *bql, const char *file, int line, const char *func, const char *region);
uint32_t bql_site_resolve(Bql *bql, BqlSiteDef *def);

void bql_lock_site(Bql *bql, uint32_t site);
bool bql_trylock_site(Bql *bql, uint32_t site);
void bql_unlock(Bql *bql);
/* True when the calling thread holds this lock. */
bool bql_locked(Bql *bql);
/* Abort with a message naming the caller unless the calling thread holds the lock. */
void bql_assert_held_at(Bql *bql, const char *file, int line);

#define BQL_SITE_HERE(bql)                                                                         \
    ({                                                                                             \
        static BqlSiteDef bql_site_def_ = {__FILE__, __func__, __LINE__, 0};                       \
        bql_site_resolve((bql), &bql_site_def_);                                                   \
    })
#define bql_lock(bql) bql_lock_site((bql), BQL_SITE_HERE(bql))
#define bql_trylock(bql) bql_trylock_site((bql), BQL_SITE_HERE(bql))
#define bql_assert_held(bql) bql_assert_held_at((bql), __FILE__, __LINE__)

/*
 * Condition variables whose mutex is the BQL. The predicate must be changed under the BQL.
 * Spurious wake-ups happen: always loop. Returns false on time-out (timeout_ns < 0: none).
 */
BqlCond *bql_cond_new(Bql *bql);
void bql_cond_free(BqlCond *cond);
bool bql_cond_wait_site(BqlCond *cond, uint32_t site, int64_t timeout_ns);
void bql_cond_signal(BqlCond *cond);
void bql_cond_broadcast(BqlCond *cond);
#define bql_cond_wait(bql, cond) bql_cond_wait_site((cond), BQL_SITE_HERE(bql), -1)

/* Held while blocked: reason is an enum BqlRecBlocked. Nestable; the outermost reason counts. */
void bql_blocked_begin(Bql *bql, int reason);
void bql_blocked_end(Bql *bql);
/* Ticks that the current hold spent waiting for Python's GIL (its own column). */
void bql_gil_waited(Bql *bql, uint64_t ticks);

#endif
