/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vCPU thread takes the lock for: the exit that KVM_RUN came back with, as the shared page
 * of the vCPU tells it (struct kvm_run, Documentation/virt/kvm/api.rst). The page is found by
 * watching the vCPU's descriptor being made and mapped.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "bqlrec_queue.h"
#include "preload.h"
#include "real.h"

#define VCPUS 1024 /* further ones are recorded without their exits */
#define MARK_PORT 0x5f0

typedef struct Vcpu {
    _Atomic int fd; /* + 1; 0: free */
    int id;
    void *_Atomic run;
} Vcpu;

static Vcpu vcpus[VCPUS];

static void note_vcpu(int fd, int id)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        int expected = 0;
        if (atomic_load_explicit(&vcpus[i].fd, memory_order_relaxed) == fd + 1) {
            vcpus[i].id = id; /* the number was closed and is another vCPU's now */
            return;
        }
        if (atomic_compare_exchange_strong(&vcpus[i].fd, &expected, fd + 1)) {
            vcpus[i].id = id;
            return;
        }
    }
}

static Vcpu *find_vcpu(int fd)
{
    for (unsigned i = 0; i < VCPUS; i++) {
        int at = atomic_load_explicit(&vcpus[i].fd, memory_order_acquire);
        if (at == fd + 1) {
            return &vcpus[i];
        }
        if (at == 0) {
            return NULL;
        }
    }
    return NULL;
}

/* First KVM_RUN of a thread on this descriptor. */
static __attribute__((noinline)) void learn_vcpu(int fd)
{
    Vcpu *vcpu = find_vcpu(fd);

    bqlpre_self.vcpu_fd = fd + 1;
    bqlpre_self.run = NULL;
    if (vcpu != NULL) {
        bqlpre_self.vcpu_id = vcpu->id;
        bqlpre_self.run = atomic_load_explicit(&vcpu->run, memory_order_acquire);
    }
    bqlpre_self.known_serial = 0; /* role and number are certain now: register again */
}

static BqlPreExit exit_of(const struct kvm_run *run, int result)
{
    if (result < 0) {
        return BQLPRE_EXIT(BQLPRE_EXIT_OTHER, BQLPRE_REASON_INTR);
    }
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        return BQLPRE_EXIT(BQLPRE_EXIT_PIO, run->io.port);
    case KVM_EXIT_MMIO:
        return BQLPRE_EXIT(BQLPRE_EXIT_MMIO, run->mmio.phys_addr);
    default:
        return BQLPRE_EXIT(BQLPRE_EXIT_OTHER, run->exit_reason);
    }
}

/* How the exit is counted. */
static unsigned counted_as(const struct kvm_run *run, int result)
{
    if (result < 0) {
        return BQLREC_EXIT_INTERRUPTED;
    }
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        return BQLREC_EXIT_PIO;
    case KVM_EXIT_MMIO:
        return BQLREC_EXIT_MMIO;
    case KVM_EXIT_INTR:
        return BQLREC_EXIT_INTERRUPTED;
    case KVM_EXIT_INTERNAL_ERROR:
        return BQLREC_EXIT_EMULATION;
    case KVM_EXIT_HLT:
        return BQLREC_EXIT_HLT;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return BQLREC_EXIT_IRQ_WINDOW;
    case KVM_EXIT_SHUTDOWN:
        return BQLREC_EXIT_SHUTDOWN;
    default:
        return BQLREC_EXIT_OTHER;
    }
}

static void count_exit(const struct kvm_run *run, int result)
{
    BqlRec *rec = bqlpre_recorder();

    /* A thread that the recorder does not know yet has not taken the BQL: soon it will. */
    if (rec != NULL && bqlpre_self.known_serial == rec->serial && bqlrec_recording(rec)) {
        bqlrec_count_exit(rec, counted_as(run, result));
    }
}

static void look_for_mark(const struct kvm_run *run)
{
    if (run->exit_reason == KVM_EXIT_IO && run->io.port == MARK_PORT &&
        run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 1) {
        bqlpre_window_mark(*((const uint8_t *)run + run->io.data_offset));
    }
}

static int run_vcpu(int fd)
{
    const struct kvm_run *run;
    int result;

    bqlpre_self.exit = 0;
    result = real()->ioctl(fd, KVM_RUN, NULL);
    if (BQLPRE_UNLIKELY(bqlpre_self.vcpu_fd != fd + 1)) {
        int saved = errno;
        learn_vcpu(fd);
        errno = saved;
    }
    run = bqlpre_self.run;
    if (run != NULL) {
        bqlpre_self.exit = exit_of(run, result);
        count_exit(run, result);
        if (BQLPRE_UNLIKELY(bqlpre.window) && result >= 0) {
            look_for_mark(run);
        }
    }
    return result;
}

BQLPRE_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;
    int result;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (request == KVM_RUN && bqlpre.is_qemu) {
        return run_vcpu(fd);
    }
    result = real()->ioctl(fd, request, argument);
    if (request == KVM_CREATE_VCPU && result >= 0 && bqlpre.is_qemu) {
        note_vcpu(result, (int)(intptr_t)argument);
    }
    return result;
}

static void *map(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    void *at = real()->mmap(addr, length, prot, flags, fd, offset);

    if (BQLPRE_UNLIKELY(bqlpre.is_qemu && fd >= 0 && offset == 0 && at != MAP_FAILED)) {
        Vcpu *vcpu = find_vcpu(fd);
        if (vcpu != NULL) {
            /* Release: partner is the load in learn_vcpu(). */
            atomic_store_explicit(&vcpu->run, at, memory_order_release);
        }
    }
    return at;
}

BQLPRE_EXPORT void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
    return map(addr, length, prot, flags, fd, offset);
}

BQLPRE_EXPORT void *mmap64(void *addr, size_t length, int prot, int flags, int fd, off64_t offset)
{
    return map(addr, length, prot, flags, fd, offset);
}
