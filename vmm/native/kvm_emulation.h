/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM_EXIT_INTERNAL_ERROR: what the kernel's instruction emulator cannot do and we can. */
#ifndef VMM_NATIVE_KVM_EMULATION_H
#define VMM_NATIVE_KVM_EMULATION_H

struct kvm_run;
struct Vcpu;

/* 0: the instruction was completed, run on. Negative errno: a guest-crash request was filed with
 * the instruction's bytes. */
int kvm_handle_internal_error(struct Vcpu *vcpu, struct kvm_run *run);

#endif
