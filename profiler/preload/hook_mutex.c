/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Acquisitions and releases of the BQL, and the other mutexes that its holder waits for.
 *
 * Every mutex of the process comes through here, so what is not the BQL costs a comparison and, if
 * the calling thread holds the BQL, a trylock before the lock.
 */
#include <errno.h>

#include "preload.h"
#include "real.h"

/* The recorder, with the calling thread known to it; NULL: do not record. */
static inline BqlRec *recorder_for_self(void)
{
    BqlRec *rec;

    if (BQLPRE_UNLIKELY(atomic_load_explicit(&bqlpre.state, memory_order_relaxed) ==
                        BQLPRE_CLOSED)) {
        bqlpre_open();
    }
    rec = bqlpre_recorder();
    if (BQLPRE_UNLIKELY(rec == NULL) || !bqlrec_recording(rec)) {
        return NULL;
    }
    if (BQLPRE_UNLIKELY(bqlpre_self.known_serial != rec->serial)) {
        bqlpre_register_thread(rec, bqlpre_self.file);
    }
    return rec;
}

/* The BQL is a mutex with default attributes, so that locking it cannot fail. */
int bqlpre_lock_bql(pthread_mutex_t *bql, unsigned kind, const void *caller)
{
    BqlRec *rec = recorder_for_self();
    BqlRecSelf *self = rec != NULL ? bqlrec_self(rec) : NULL;
    int error = 0;

    if (BQLPRE_UNLIKELY(self == NULL)) {
        error = real()->mutex_lock(bql);
    } else {
        /* A condition wait is not what the exit was for. */
        BqlPreExit exit = kind == BQLREC_KIND_COND ? 0 : bqlpre_self.exit;
        uint32_t site = bqlpre_site(rec, caller, exit);

        if (BQLPRE_LIKELY(real()->mutex_trylock(bql) == 0)) {
            bqlrec_acquired(rec, self, site, kind);
        } else {
            bqlrec_wait_begin(rec, self);
            error = real()->mutex_lock(bql);
            bqlrec_wait_end(rec, self, site, kind);
        }
    }
    bqlpre_self.holds = true;
    return error;
}

int bqlpre_unlock_bql(pthread_mutex_t *bql)
{
    BqlRec *rec = bqlpre_recorder();
    BqlRecSelf *self;
    int error;

    /* QEMU swaps its pointers in the main loop, holding the BQL: whoever takes it next comes by the
     * hook again. */
    bqlpre_hook();
    bqlpre_self.holds = false;
    if (BQLPRE_UNLIKELY(rec == NULL)) {
        return real()->mutex_unlock(bql);
    }
    self = bqlrec_release_prepare(rec);
    error = real()->mutex_unlock(bql);
    bqlrec_release_finish(rec, self);
    return error;
}

/* Another mutex, while holding the BQL: a holder that has to wait for it sleeps inside its hold. */
static int lock_under_bql(pthread_mutex_t *mutex)
{
    int error = real()->mutex_trylock(mutex);
    BqlRec *rec = bqlpre_recorder();

    if (error != EBUSY) {
        return error;
    }
    if (rec == NULL) {
        return real()->mutex_lock(mutex);
    }
    bqlrec_blocked_begin(rec, BQLREC_BLOCKED_LOCK);
    error = real()->mutex_lock(mutex);
    bqlrec_blocked_end(rec);
    return error;
}

BQLPRE_EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (BQLPRE_UNLIKELY(bqlpre_is_bql(mutex))) {
        if (BQLPRE_UNLIKELY(bqlpre_self.file == NULL)) {
            bqlpre_hook(); /* somebody took the hook out: the next call site is known again */
        }
        return bqlpre_lock_bql(mutex, BQLREC_KIND_LOCK, __builtin_return_address(0));
    }
    if (BQLPRE_UNLIKELY(bqlpre_self.holds)) {
        return lock_under_bql(mutex);
    }
    return real()->mutex_lock(mutex);
}

BQLPRE_EXPORT int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    BqlRec *rec;
    BqlRecSelf *self;
    uint32_t site;
    int error;

    if (BQLPRE_LIKELY(!bqlpre_is_bql(mutex))) {
        return real()->mutex_trylock(mutex);
    }
    rec = recorder_for_self();
    self = rec != NULL ? bqlrec_self(rec) : NULL;
    site = self != NULL ? bqlpre_site(rec, __builtin_return_address(0), bqlpre_self.exit) : 0;
    error = real()->mutex_trylock(mutex);
    if (error == 0) {
        bqlpre_self.holds = true;
        if (self != NULL) {
            bqlrec_acquired(rec, self, site, BQLREC_KIND_TRYLOCK);
        }
    } else if (self != NULL && !bqlpre_self.holds) {
        bqlrec_trylock_failed(rec, self, site);
    }
    return error;
}

BQLPRE_EXPORT int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (BQLPRE_UNLIKELY(bqlpre_is_bql(mutex)) && BQLPRE_LIKELY(bqlpre_self.holds)) {
        return bqlpre_unlock_bql(mutex);
    }
    return real()->mutex_unlock(mutex);
}
