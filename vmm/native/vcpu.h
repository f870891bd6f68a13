/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads. One thread per vCPU, an explicit state machine fed by typed commands, and an
 * accelerator behind a short ops table. Mirrors QEMU's system/cpus.c and kvm-accel-ops.c.
 *
 *            run                stop requested
 *   CREATED ------> RUNNING  <==================>  PAUSED
 *      |               |             run             |
 *      +---------------+------- finish --------------+----> FINISHED
 *
 * Rules
 *  1. All state of this header is protected by the BQL, but for what is marked atomic.
 *  2. The thread holds the BQL except inside ops->exec() while the guest runs, and while it waits.
 *  3. Any wish for a vCPU to look at its state is "set the flag, then vcpu_kick()".
 */
#ifndef VMM_NATIVE_VCPU_H
#define VMM_NATIVE_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "aio.h"
#include "bql.h"
#include "iospace.h"
#include "memory.h"
#include "thread.h"
#include "vm_request.h"

enum VcpuState { VCPU_CREATED, VCPU_RUNNING, VCPU_PAUSED, VCPU_FINISHED };
enum VcpuCommand { VCPU_CMD_RUN, VCPU_CMD_PAUSE, VCPU_CMD_FINISH };

typedef struct Vcpu Vcpu;
typedef void VcpuWorkFn(Vcpu *vcpu, void *opaque);

typedef struct VcpuOps {
    const char *name;
    /* MANDATORY. In the vCPU's own thread, under the BQL. 0 or -errno. */
    int (*init)(Vcpu *vcpu);
    /* MANDATORY. Run the guest until exit_request. Entered and left with the BQL held. Negative
     * errno: the vCPU cannot go on (it files a VM request first). */
    int (*exec)(Vcpu *vcpu);
    /* MANDATORY. [any thread] Make exec() notice exit_request soon. */
    void (*kick)(Vcpu *vcpu);
    /* May be NULL. In the vCPU's thread, under the BQL, at the end. */
    void (*destroy)(Vcpu *vcpu);
} VcpuOps;

/* What all vCPUs of a VM share. */
typedef struct VcpuSet {
    Bql *bql;
    IoSpace *iospace;
    GuestMemory *memory;
    VmRequests *requests;
    BqlCond *created_cond; /* a vCPU finished its start-up */
    BqlCond *pause_cond;   /* a vCPU stopped or finished */
    BqlCond *work_cond;    /* a run_on_cpu work item is done */
    AioContext *main_ctx;  /* see vcpu_set_use_main_loop(); may be NULL */
    pthread_t main_thread;
    /* Called first and last in each vCPU thread, without the BQL; may be NULL. */
    void (*thread_enter)(void *opaque);
    void (*thread_leave)(void *opaque);
    void *thread_opaque;
} VcpuSet;

typedef struct VcpuWork {
    struct VcpuWork *next;
    VcpuWorkFn *fn;
    void *opaque;
    bool done;
} VcpuWork;

/* Exit counts; written by the vCPU's thread only, read by anyone. */
enum VcpuExit {
    VCPU_EXIT_PIO,
    VCPU_EXIT_MMIO,
    VCPU_EXIT_INTERRUPTED,
    VCPU_EXIT_EMULATION,
    VCPU_EXIT_OTHER,
    VCPU_EXIT_KINDS
};

struct Vcpu {
    VcpuSet *set;
    const VcpuOps *ops;
    unsigned index;
    int host_cpu; /* pin, or -1 */
    VmmThread *thread;
    enum VcpuState state;
    bool created, stop, stopped, unplug;
    int init_error; /* -errno of ops->init() */
    BqlCond *halt_cond;
    VcpuWork *work_first, **work_last;
    _Atomic bool exit_request;
    _Atomic bool thread_kicked; /* one signal at a time is enough */
    _Atomic uint64_t exits[VCPU_EXIT_KINDS];
    /* accelerator: kvm */
    int kvm_fd;
    void *kvm_run;
    size_t kvm_run_size;
    /* accelerator: qtest */
    void *qtest;
};

VcpuSet *vcpu_set_new(Bql *bql, IoSpace *iospace, GuestMemory *memory, VmRequests *requests);
void vcpu_set_free(VcpuSet *set);
/*
 * In the thread that owns main_ctx, before the first vCPU. From now on that thread, when it waits
 * for a vCPU, goes on serving main_ctx: the vCPU may itself be waiting in a device for requests
 * that only the main loop can complete (a reset that drains), and would never come to its stop.
 */
void vcpu_set_use_main_loop(VcpuSet *set, AioContext *main_ctx);

Vcpu *vcpu_new(VcpuSet *set, const VcpuOps *ops, unsigned index, int host_cpu);
/* The accelerator's create_vcpu_thread: starts "CPU n/KVM" (or "CPU n/QTEST") and waits, under the
 * BQL, until the thread reports created. Returns 0 or -errno (ops->init()'s included). */
int vcpu_start(Vcpu *vcpu);
/* Under the BQL. 0, or -EINVAL when the command is illegal: PAUSE before the first RUN, anything
 * but FINISH after FINISH. PAUSE only asks; see vcpu_pause_all(). */
int vcpu_command(Vcpu *vcpu, int command);
/* Under the BQL; the vCPU must have been told to finish. Drops the BQL around the join. */
void vcpu_join(Vcpu *vcpu);
void vcpu_free(Vcpu *vcpu);

void vcpu_kick(Vcpu *vcpu); /* [any thread] */
/* Under the BQL: ask all to stop and wait until they did. */
void vcpu_pause_all(Vcpu **vcpus, unsigned count);
void vcpu_resume_all(Vcpu **vcpus, unsigned count);
/* Run fn in the vCPU's thread with the BQL held and wait for it (inline if called there). 0, or
 * -ESRCH when the vCPU has no thread (any more). */
int vcpu_run_on(Vcpu *vcpu, VcpuWorkFn *fn, void *opaque);

/* For accelerators: handle stop requests and queued work; waits while there is nothing to run.
 * Under the BQL. False when the vCPU must end. */
bool vcpu_process_events(Vcpu *vcpu);
void vcpu_count_exit(Vcpu *vcpu, int kind);
uint64_t vcpu_exit_count(const Vcpu *vcpu, int kind); /* [any thread] */

extern const VcpuOps vcpu_kvm_ops;
extern const VcpuOps vcpu_qtest_ops;

#endif
