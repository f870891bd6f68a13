/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one helper that starts native threads: name, role, affinity, recorder registration and a
 * start handshake cannot be forgotten because there is no other way to get a thread.
 */
#ifndef VMM_NATIVE_THREAD_H
#define VMM_NATIVE_THREAD_H

#include <stdbool.h>

#include "bqlrec.h"

typedef struct VmmThread VmmThread;
typedef void VmmThreadFn(void *opaque);

typedef struct VmmThreadSpec {
    const char *name; /* OS name, cut to 15 bytes; QEMU's names ("CPU 0/KVM", "IO io0") */
    int role;         /* enum BqlRecRole */
    int cpu;          /* pin to this host CPU, or -1 */
    BqlRec *rec;      /* may be NULL */
} VmmThreadSpec;

/*
 * Start a joinable thread and return once it runs under its name and is known to the recorder.
 * All signals but SIGSEGV, SIGFPE, SIGILL and SIGBUS are blocked in it. Returns NULL with errno.
 */
VmmThread *vmm_thread_spawn(const VmmThreadSpec *spec, VmmThreadFn *fn, void *opaque);
/* Wait for the end and free. Never under the BQL without bql_blocked_begin(). */
void vmm_thread_join(VmmThread *thread);
int vmm_thread_tid(const VmmThread *thread);
bool vmm_thread_is_self(const VmmThread *thread); /* is it the calling thread? */
/* Send sig to the thread (vCPU kicks). Returns 0 or -errno; harmless after the thread's end. */
int vmm_thread_kill(VmmThread *thread, int sig);

#endif
