/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kvm accelerator's vCPU thread: KVM_RUN and the dispatch of its exits. Set-up (VM, CPUID,
 * registers, memory slots) is the control plane's, over kvm_ioctl.h.
 *
 * Kick protocol (as QEMU's): the kicker sets exit_request, then signals the thread once. The
 * handler sets kvm_run->immediate_exit, so a signal that lands between the check of exit_request
 * and KVM_RUN still makes KVM_RUN return at once with EINTR. No signal mask juggling, no window.
 *
 * The loop runs without the BQL; each access takes it (or not) in iospace.c, at the region's own
 * call site. The BQL is re-taken whenever the loop is left, even if no device was touched.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm_emulation.h"
#include "kvm_ioctl.h"
#include "vcpu.h"

/* Read by the signal handler of this very thread only. */
static __thread struct kvm_run *thread_run;

static void kick_signal(int sig)
{
    (void)sig;
    if (thread_run)
        thread_run->immediate_exit = 1;
}

/* Idempotent; every vCPU thread calls it, the disposition is the process's. */
static int kick_signal_install(void)
{
    struct sigaction action = {.sa_handler = kick_signal};
    sigset_t set;

    if (sigaction(VCPU_KICK_SIGNAL, &action, NULL))
        return -errno;
    sigemptyset(&set);
    sigaddset(&set, VCPU_KICK_SIGNAL);
    return -pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int kvm_init(Vcpu *vcpu)
{
    void *run = mmap(NULL, vcpu->kvm_run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->kvm_fd, 0);

    if (run == MAP_FAILED)
        return -errno;
    vcpu->kvm_run = run;
    thread_run = run;
    return kick_signal_install();
}

static void kvm_destroy(Vcpu *vcpu)
{
    thread_run = NULL;
    if (vcpu->kvm_run)
        munmap(vcpu->kvm_run, vcpu->kvm_run_size);
    vcpu->kvm_run = NULL;
}

static void kvm_kick(Vcpu *vcpu)
{
    if (vcpu->thread)
        vmm_thread_kill(vcpu->thread, VCPU_KICK_SIGNAL);
}

static uint64_t load_le(const void *data, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, data, size > sizeof(value) ? sizeof(value) : size);
    return value;
}

/* count > 1: string instructions; each element is an access of its own, as in QEMU. */
static void handle_pio(Vcpu *vcpu, struct kvm_run *run)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    IoSpace *space = vcpu->set->iospace;

    vcpu_count_exit(vcpu, VCPU_EXIT_PIO);
    for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            iospace_write(space, IO_PIO, run->io.port, load_le(data, run->io.size), run->io.size);
        } else {
            uint64_t value = iospace_read(space, IO_PIO, run->io.port, run->io.size);
            memcpy(data, &value, run->io.size);
        }
    }
}

static void handle_mmio(Vcpu *vcpu, struct kvm_run *run)
{
    IoSpace *space = vcpu->set->iospace;

    vcpu_count_exit(vcpu, VCPU_EXIT_MMIO);
    if (run->mmio.is_write) {
        iospace_write(space, IO_MMIO, run->mmio.phys_addr, load_le(run->mmio.data, run->mmio.len),
                      run->mmio.len);
    } else {
        uint64_t value = iospace_read(space, IO_MMIO, run->mmio.phys_addr, run->mmio.len);
        memcpy(run->mmio.data, &value, run->mmio.len);
    }
}

static int handle_system_event(Vcpu *vcpu, const struct kvm_run *run)
{
    int kind = run->system_event.type == KVM_SYSTEM_EVENT_RESET   ? VM_REQUEST_RESET
               : run->system_event.type == KVM_SYSTEM_EVENT_CRASH ? VM_REQUEST_GUEST_CRASH
                                                                  : VM_REQUEST_SHUTDOWN;

    vm_request_file(vcpu->set->requests, kind, 0, (int)vcpu->index, "system event %u",
                    run->system_event.type);
    return -ECANCELED;
}

static int handle_fatal(Vcpu *vcpu, const struct kvm_run *run)
{
    VmRequests *requests = vcpu->set->requests;
    int index = (int)vcpu->index;

    switch (run->exit_reason) {
    case KVM_EXIT_SHUTDOWN:
        vm_request_file(requests, VM_REQUEST_TRIPLE_FAULT, 0, index, "triple fault on CPU %d",
                        index);
        break;
    case KVM_EXIT_FAIL_ENTRY:
        vm_request_file(requests, VM_REQUEST_GUEST_CRASH, 0, index,
                        "KVM could not enter the guest on CPU %d: hardware reason 0x%llx", index,
                        run->fail_entry.hardware_entry_failure_reason);
        break;
    default:
        vm_request_file(requests, VM_REQUEST_INTERNAL_ERROR, 0, index,
                        "unexpected KVM exit %u on CPU %d", run->exit_reason, index);
    }
    return -EIO;
}

/* 0: run on. Negative: this vCPU cannot go on, a request says why. */
static int handle_exit(Vcpu *vcpu, struct kvm_run *run)
{
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        handle_pio(vcpu, run);
        return 0;
    case KVM_EXIT_MMIO:
        handle_mmio(vcpu, run);
        return 0;
    case KVM_EXIT_INTERNAL_ERROR:
        vcpu_count_exit(vcpu, VCPU_EXIT_EMULATION);
        return kvm_handle_internal_error(vcpu, run);
    case KVM_EXIT_SYSTEM_EVENT:
        return handle_system_event(vcpu, run);
    case KVM_EXIT_HLT: /* without in-kernel irqchip only; we always have one */
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR:
        vcpu_count_exit(vcpu, VCPU_EXIT_OTHER);
        return 0;
    default:
        return handle_fatal(vcpu, run);
    }
}

/* One trip into the guest. 1: look at the events; 0: go on; negative: dead. */
static int run_once(Vcpu *vcpu, struct kvm_run *run)
{
    /* Partner: the store in vcpu_kick(). Seen here: KVM_RUN completes pending I/O and returns. */
    if (atomic_load(&vcpu->exit_request))
        run->immediate_exit = 1;
    if (ioctl(vcpu->kvm_fd, KVM_RUN, 0) < 0) {
        if (errno == EINTR || errno == EAGAIN) {
            run->immediate_exit = 0;
            vcpu_count_exit(vcpu, VCPU_EXIT_INTERRUPTED);
            return 1;
        }
        int error = errno;

        vm_request_file(vcpu->set->requests, VM_REQUEST_INTERNAL_ERROR, error, (int)vcpu->index,
                        "KVM_RUN failed on CPU %u: %s", vcpu->index, strerror(error));
        return -error;
    }
    return handle_exit(vcpu, run);
}

static int kvm_exec(Vcpu *vcpu)
{
    Bql *bql = vcpu->set->bql;
    int ret;

    bql_unlock(bql);
    do {
        ret = run_once(vcpu, vcpu->kvm_run);
    } while (ret == 0);
    bql_lock(bql);
    return ret < 0 ? ret : 0;
}

const VcpuOps vcpu_kvm_ops = {
    .name = "KVM",
    .init = kvm_init,
    .exec = kvm_exec,
    .kick = kvm_kick,
    .destroy = kvm_destroy,
};
