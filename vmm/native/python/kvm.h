/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kvm accelerator for Python; part of the extension on x86-64 only, see build.py. */
#ifndef VMM_NATIVE_PYTHON_KVM_H
#define VMM_NATIVE_PYTHON_KVM_H

#include <linux/kvm.h>

#include "kvm_reset.h"
#include "kvm_state.h"
#include "vcpu.h"

static const VcpuOps *ops_vcpu_kvm(void)
{
    return &vcpu_kvm_ops;
}

#endif
