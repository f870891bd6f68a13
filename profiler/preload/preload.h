/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libbqlrecorder.so: records the big lock of a QEMU that knows nothing about it.
 *
 *     LD_PRELOAD=libbqlrecorder.so qemu-system-x86_64 ...
 *
 * How it sees the lock. QEMU takes the BQL through an exported function pointer that it reads anew
 * each time, bql_mutex_lock_func (qemu_bql_mutex_lock_func before 9.0). The constructor puts
 * lock_hook() there, which notes the call site and calls what was there before; that ends in
 * pthread_mutex_lock() on the BQL, which is ours (hook_mutex.c) and times it. So the hook supplies
 * file, line and the lock's address, and the interposed functions supply everything else: unlock,
 * trylock and the re-acquisition inside a condition wait (hook_cond.c).
 *
 *   file        interposes                                    to know
 *   hook_mutex  pthread_mutex_lock, trylock, unlock           acquisitions and releases
 *   hook_cond   pthread_cond_wait, timedwait, clockwait, ...  re-acquisitions
 *   hook_qemu   pthread_create, QEMU's pointers               call sites
 *   hook_kvm    ioctl, mmap                                   which access a vCPU's lock is for
 *   hook_block  ppoll, pread, fsync, futex, join, ...         what a holder sleeps for
 *
 * Rules
 *  1. QEMU comes first. What cannot be recorded is not recorded; QEMU is never ended, slowed down
 *     by waiting for a reader, or given another result, errno or signal mask than it would get.
 *  2. Nothing is written to standard output; problems are one line on standard error.
 *  3. A process that is not a QEMU only pays for the calls that pass through.
 *  4. No allocation, no file and no lock of our own while the BQL is being waited for or held,
 *     but the first time a thread or a call site is seen.
 *
 * State is process-wide and thread-wide by nature here: there is one BQL, and interposed functions
 * have no argument to carry anything. All of it is in `bqlpre` and `bqlpre_self`.
 *
 * Rejected: uprobes (10 us for each hit on the hosts this was tried on), matching every mutex by
 * address without the pointer (no call site), tracing (0.6 us a line, no wait without contention
 * events), a patched QEMU (nobody runs one where the problem is).
 */
#ifndef PROFILER_PRELOAD_PRELOAD_H
#define PROFILER_PRELOAD_PRELOAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bqlrec_steps.h"

#define BQLPRE_EXPORT __attribute__((visibility("default")))
#define BQLPRE_LIKELY(x) __builtin_expect(!!(x), true)
#define BQLPRE_UNLIKELY(x) __builtin_expect(!!(x), false)

typedef void (*BqlPreLockFunc)(void *mutex, const char *file, int line);
typedef void (*BqlPreWaitFunc)(void *cond, void *mutex, const char *file, int line);
typedef bool (*BqlPreTimedWaitFunc)(void *cond, void *mutex, int ms, const char *file, int line);

enum BqlPreState {
    BQLPRE_CLOSED = 0, /* no recording yet; the next acquisition opens one */
    BQLPRE_OPEN = 1,
    BQLPRE_FAILED = 2 /* said so once */
};

typedef struct BqlPre {
    /* The lock; NULL until its first acquisition through the hook. Read by every mutex call. */
    pthread_mutex_t *_Atomic bql;
    _Atomic uint32_t state; /* enum BqlPreState */
    BqlRec *rec;            /* set before state becomes OPEN (release) */

    /* hook_cond.c */
    _Atomic uint32_t cond_waiters; /* threads in a condition wait on the BQL */
    pthread_mutex_t gate;

    /* Configuration, fixed by the constructor. */
    bool is_qemu;
    bool window;   /* copy the recording at the guest's marks */
    char *path;    /* NULL: the default place */
    char *vm_name; /* may be NULL */

    /* The latest recording that was opened, here or by the process that forked this one. */
    char *opened_path;
    int opened_pid;
} BqlPre;

extern BqlPre bqlpre;

/* What the exit that a vCPU thread is handling was for: kind in the top 8 bits, then the port,
 * address or reason. 0: none. */
typedef uint64_t BqlPreExit;

#define BQLPRE_CACHE 64 /* power of two */

typedef struct BqlPreSelf {
    bool holds;            /* this thread holds the BQL */
    uint32_t known_serial; /* recorder in which this thread has its role */
    uint32_t role;

    /* The call site that lock_hook() or a wait hook announced; file NULL: nobody did. */
    const char *file;
    int line;

    /* vCPU threads. */
    int vcpu_fd; /* + 1 */
    int vcpu_id;
    const void *run; /* struct kvm_run */
    BqlPreExit exit;

    /* Call sites seen lately, direct mapped. */
    uint32_t cache_serial;
    struct {
        const void *file;
        int line;
        uint32_t site;
        BqlPreExit exit;
    } cache[BQLPRE_CACHE];
} BqlPreSelf;

extern _Thread_local BqlPreSelf bqlpre_self __attribute__((tls_model("initial-exec")));

static inline bool bqlpre_is_bql(const pthread_mutex_t *mutex)
{
    /* Relaxed: the address is complete in itself; who locks the BQL has announced it. */
    return mutex == atomic_load_explicit(&bqlpre.bql, memory_order_relaxed) && mutex != NULL;
}

/* The recorder, or NULL if nothing is to be recorded now. */
static inline BqlRec *bqlpre_recorder(void)
{
    /* Acquire: partner is the release store in bqlpre_open(). */
    if (BQLPRE_LIKELY(atomic_load_explicit(&bqlpre.state, memory_order_acquire) == BQLPRE_OPEN)) {
        return bqlpre.rec;
    }
    return NULL;
}

/* recording.c: [before the BQL is taken] open the recording if it is not; errno is kept. */
void bqlpre_open(void);
/* The guest wrote `mark` to the window port: copy the recording, once for each mark. */
void bqlpre_window_mark(unsigned mark);
void bqlpre_after_fork_in_child(void);
void bqlpre_end(void);
__attribute__((format(printf, 1, 2))) void bqlpre_complain(const char *format, ...);

/* role.c: give the calling thread its place in the recording, once; errno is kept. */
void bqlpre_register_thread(BqlRec *rec, const char *file);
int bqlpre_role(const char *name, bool is_main, const char *file);

/* site.c: id of the announced call site, else of the code at `caller`; errno is kept. */
uint32_t bqlpre_site(BqlRec *rec, const void *caller, BqlPreExit exit);

/* hook_mutex.c */
int bqlpre_lock_bql(pthread_mutex_t *bql, unsigned kind, const void *caller);
int bqlpre_unlock_bql(pthread_mutex_t *bql);

/* hook_qemu.c: put the hooks (back) in place; QEMU's own profiler swaps the same pointers. */
bool bqlpre_find_qemu(void);
void bqlpre_hook(void);
const char *bqlpre_lock_symbol(void); /* NULL: not found */

/* hook_kvm.c */
#define BQLPRE_EXIT(kind, value) ((uint64_t)(kind) << 56 | ((value) & ((UINT64_C(1) << 56) - 1)))
#define BQLPRE_EXIT_KIND(exit) ((unsigned)((exit) >> 56))
#define BQLPRE_EXIT_VALUE(exit) ((exit) & ((UINT64_C(1) << 56) - 1))
enum { BQLPRE_EXIT_PIO = 1, BQLPRE_EXIT_MMIO = 2, BQLPRE_EXIT_OTHER = 3 };
#define BQLPRE_REASON_INTR 0xffffu /* KVM_RUN was interrupted: there is no reason in kvm_run */

#endif
