/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System reset under KVM: the state that the kernel gave a vCPU and the in-kernel interrupt
 * controllers when it made them is kept and put back. Nothing here knows what that state is, so it
 * is right for every kernel; QEMU's kvm_arch_put_registers(KVM_PUT_RESET_STATE) writes its own idea
 * of it.
 *
 * Not put back: the TSC, which goes on as over an INIT (a vCPU alone with a new one would be out
 * of step with the others), and kvmclock's time; the MSRs that switch kvmclock on are.
 */
#ifndef VMM_NATIVE_KVM_RESET_H
#define VMM_NATIVE_KVM_RESET_H

#include "vcpu.h"

typedef struct KvmVcpuImage KvmVcpuImage;
/* Right after KVM_CREATE_VCPU and KVM_SET_CPUID2, before the first KVM_RUN. kvm_fd: /dev/kvm. NULL
 * with errno set. */
KvmVcpuImage *kvm_vcpu_image_new(int kvm_fd, int vcpu_fd);
void kvm_vcpu_image_free(KvmVcpuImage *image);
/* For vcpu_run_on(): put the image (opaque) back. kvm_vcpu_image_error() then tells how it went. */
void kvm_vcpu_image_put(Vcpu *vcpu, void *opaque);
int kvm_vcpu_image_error(const KvmVcpuImage *image); /* 0 or -errno of the latest put */

typedef struct KvmVmImage KvmVmImage;
/* PICs, IOAPIC and PIT of a new VM. NULL with errno set. */
KvmVmImage *kvm_vm_image_new(int vm_fd);
void kvm_vm_image_free(KvmVmImage *image);
/* No vCPU runs. 0 or -errno. */
int kvm_vm_image_put(const KvmVmImage *image, int vm_fd);

#endif
