/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kvm_state.h"

#include "kvm_ioctl.h"

void kvm_vcpu_get_state(Vcpu *vcpu, void *opaque)
{
    KvmVcpuState *state = opaque;

    state->error = kvm_ioctl(vcpu->kvm_fd, KVM_GET_REGS, &state->regs);
    if (state->error == 0)
        state->error = kvm_ioctl(vcpu->kvm_fd, KVM_GET_SREGS, &state->sregs);
}
