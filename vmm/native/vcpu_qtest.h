/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qtest accelerator: no CPU at all. A vCPU thread runs a guest written in C (the micro-guest,
 * compiled for the host) or executes single accesses that a test asks for; both enter the same
 * dispatch as KVM exits. It needs no /dev/kvm and runs on any architecture.
 */
#ifndef VMM_NATIVE_VCPU_QTEST_H
#define VMM_NATIVE_VCPU_QTEST_H

#include "vcpu.h"

/* A native guest: runs in the vCPU's thread without the BQL until it returns. It must come by
 * qtest_read(), qtest_write() or qtest_relax() now and then, where stop requests are honoured. */
typedef void QtestGuestFn(Vcpu *vcpu, void *opaque);

/* Before vcpu_start(). fn NULL: scripted, see qtest_access(). 0 or -errno. */
int vcpu_qtest_setup(Vcpu *vcpu, QtestGuestFn *fn, void *opaque);
void vcpu_qtest_teardown(Vcpu *vcpu);
/* Under the BQL, the vCPU stopped (system reset): when it runs again the native guest starts anew,
 * and the access it was about to do does not happen. */
void vcpu_qtest_restart(Vcpu *vcpu);

/* From the native guest. */
uint64_t qtest_read(Vcpu *vcpu, int kind, uint64_t addr, unsigned size);
void qtest_write(Vcpu *vcpu, int kind, uint64_t addr, uint64_t value, unsigned size);
void qtest_relax(Vcpu *vcpu);

/* Scripted: have the vCPU do one access and wait for it, until the vCPU runs if need be. Any
 * thread that does NOT hold the BQL. Returns the value read (writes: 0). A vCPU that is told to
 * finish first does nothing and reads all ones. */
uint64_t qtest_access(Vcpu *vcpu, int kind, bool write, uint64_t addr, uint64_t value,
                      unsigned size);

#endif
