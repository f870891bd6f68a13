/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QEMU's own function pointers. include/qemu/thread.h of QEMU declares them and says that they are
 * read at each use; util/qsp.c swaps them when somebody says `sync-profile on` or `off`. So a hook
 * can be taken out at any time. It is put back, in front of whatever is there then, before anybody
 * else takes the lock by it: when whoever swapped them releases the lock or starts a thread. Should
 * an acquisition come without a call site all the same, it is put back then.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "preload.h"
#include "real.h"

typedef struct Pointer {
    void *_Atomic *at;    /* QEMU's variable; NULL if it exports none */
    void *_Atomic before; /* what our hook calls */
} Pointer;

static struct {
    const char *symbol;
    Pointer lock, wait, timed_wait;
} qemu;

/* The thread's call site, from now until the call behind the hook returns. */
static void announce(const char *file, int line)
{
    bqlpre_self.file = file;
    bqlpre_self.line = line;
}

static void *before(const Pointer *pointer)
{
    return atomic_load_explicit(&pointer->before, memory_order_acquire);
}

static void lock_hook(void *mutex, const char *file, int line)
{
    BqlPreLockFunc next = (BqlPreLockFunc)before(&qemu.lock);

    if (BQLPRE_UNLIKELY(!bqlpre_is_bql(mutex))) {
        atomic_store_explicit(&bqlpre.bql, mutex, memory_order_relaxed);
    }
    announce(file, line);
    next(mutex, file, line);
    announce(NULL, 0);
}

static void wait_hook(void *cond, void *mutex, const char *file, int line)
{
    BqlPreWaitFunc next = (BqlPreWaitFunc)before(&qemu.wait);

    announce(file, line);
    next(cond, mutex, file, line);
    announce(NULL, 0);
}

static bool timed_wait_hook(void *cond, void *mutex, int ms, const char *file, int line)
{
    BqlPreTimedWaitFunc next = (BqlPreTimedWaitFunc)before(&qemu.timed_wait);
    bool woken;

    announce(file, line);
    woken = next(cond, mutex, ms, file, line);
    announce(NULL, 0);
    return woken;
}

static void put(Pointer *pointer, void *hook)
{
    void *now;

    if (pointer->at == NULL) {
        return;
    }
    now = atomic_load_explicit(pointer->at, memory_order_acquire);
    if (now == NULL || now == hook) {
        return;
    }
    /* Release: who comes in by the hook finds what is behind it; partner: before(). */
    atomic_store_explicit(&pointer->before, now, memory_order_release);
    atomic_store_explicit(pointer->at, hook, memory_order_release);
}

void bqlpre_hook(void)
{
    put(&qemu.lock, (void *)lock_hook);
    put(&qemu.wait, (void *)wait_hook);
    put(&qemu.timed_wait, (void *)timed_wait_hook);
}

static bool find(Pointer *pointer, const char *symbol)
{
    pointer->at = dlsym(RTLD_DEFAULT, symbol);
    return pointer->at != NULL;
}

bool bqlpre_find_qemu(void)
{
    static const char *const names[] = {"bql_mutex_lock_func", "qemu_bql_mutex_lock_func"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (find(&qemu.lock, names[i])) {
            qemu.symbol = names[i];
            find(&qemu.wait, "qemu_cond_wait_func");
            find(&qemu.timed_wait, "qemu_cond_timedwait_func");
            return true;
        }
    }
    return false;
}

const char *bqlpre_lock_symbol(void)
{
    return qemu.symbol;
}

BQLPRE_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                 void *(*body)(void *), void *argument)
{
    if (bqlpre_self.holds) {
        bqlpre_hook(); /* the first thing that a vCPU's thread does is to take the BQL */
    }
    return real()->create(thread, attributes, body, argument);
}
