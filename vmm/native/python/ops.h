/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of const ops tables for Python: cffi takes a const global for a compile-time value. */
#ifndef VMM_NATIVE_PYTHON_OPS_H
#define VMM_NATIVE_PYTHON_OPS_H

#include "debug_exit.h"
#include "serial16550.h"
#include "vcpu.h"

static const VcpuOps *ops_vcpu_qtest(void)
{
    return &vcpu_qtest_ops;
}

static const IoRegionOps *ops_serial16550(void)
{
    return &serial16550_ops;
}

static const IoRegionOps *ops_debug_exit(void)
{
    return &debug_exit_ops;
}

static const IoRegionOps *ops_scratch_register(void)
{
    return &scratch_register_ops;
}

#endif
