/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * On hosts whose KVM emulates guest ring 0 (kvm_pvm), a stock kernel meets a handful of
 * instructions that the kernel's emulator lacks. With KVM_CAP_EXIT_ON_EMULATION_FAILURE their bytes
 * come along, so they can be finished here: int3 (the kernel's self test expects #BP), and
 * clac/stac (RFLAGS.AC). Hardware with VMX or SVM never gets here.
 */
#include "kvm_emulation.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "kvm_ioctl.h"
#include "vcpu.h"

#define RFLAGS_AC (1ull << 18)
#define BREAKPOINT_VECTOR 3

static int inject_breakpoint(Vcpu *vcpu, struct kvm_regs *regs)
{
    struct kvm_vcpu_events events;
    int ret = kvm_ioctl(vcpu->kvm_fd, KVM_GET_VCPU_EVENTS, &events);

    if (ret < 0)
        return ret;
    regs->rip += 1;
    events.exception.injected = 1;
    events.exception.nr = BREAKPOINT_VECTOR;
    events.exception.has_error_code = 0;
    ret = kvm_ioctl(vcpu->kvm_fd, KVM_SET_REGS, regs);
    return ret < 0 ? ret : kvm_ioctl(vcpu->kvm_fd, KVM_SET_VCPU_EVENTS, &events);
}

static int set_ac(Vcpu *vcpu, struct kvm_regs *regs, bool on)
{
    regs->rip += 3;
    regs->rflags = on ? regs->rflags | RFLAGS_AC : regs->rflags & ~RFLAGS_AC;
    return kvm_ioctl(vcpu->kvm_fd, KVM_SET_REGS, regs);
}

static int give_up(Vcpu *vcpu, const struct kvm_run *run, uint64_t rip, const uint8_t *bytes,
                   unsigned count)
{
    char text[3 * 16 + 1] = "unknown";

    for (unsigned i = 0; i < count && i < 16; i++)
        snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
    vm_request_file(
        vcpu->set->requests, VM_REQUEST_GUEST_CRASH, 0, (int)vcpu->index,
        "KVM cannot emulate an instruction on CPU %u (suberror %u, rip 0x%llx, bytes %s)",
        vcpu->index, run->internal.suberror, (unsigned long long)rip, text);
    return -EIO;
}

int kvm_handle_internal_error(Vcpu *vcpu, struct kvm_run *run)
{
    const uint8_t *bytes = run->emulation_failure.insn_bytes;
    bool have_bytes =
        run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && run->internal.ndata >= 2 &&
        (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
    unsigned count = have_bytes ? run->emulation_failure.insn_size : 0;
    struct kvm_regs regs = {0};

    kvm_ioctl(vcpu->kvm_fd, KVM_GET_REGS, &regs);
    if (count >= 1 && bytes[0] == 0xcc)
        return inject_breakpoint(vcpu, &regs);
    if (count >= 3 && bytes[0] == 0x0f && bytes[1] == 0x01 && (bytes[2] & 0xfe) == 0xca)
        return set_ac(vcpu, &regs, bytes[2] == 0xcb);
    return give_up(vcpu, run, regs.rip, bytes, count);
}
