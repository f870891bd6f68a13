/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Register state of a vCPU, read in its own thread (synchronize_state). */
#ifndef VMM_NATIVE_KVM_STATE_H
#define VMM_NATIVE_KVM_STATE_H

#include <linux/kvm.h>

#include "vcpu.h"

typedef struct KvmVcpuState {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int error; /* 0 or -errno */
} KvmVcpuState;

/* For vcpu_run_on(): opaque is a KvmVcpuState. */
void kvm_vcpu_get_state(Vcpu *vcpu, void *opaque);

#endif
