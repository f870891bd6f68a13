/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vCPUs and devices ask of the main loop: end, reset, stop. Any thread may file a request; the
 * first one wins and is kept until taken, later ones are dropped. Only a reset gives way: the VM
 * would live on after it, and whatever else was asked for would be forgotten. An eventfd wakes the
 * main loop.
 */
#ifndef VMM_NATIVE_VM_REQUEST_H
#define VMM_NATIVE_VM_REQUEST_H

#include <stdbool.h>

enum VmRequestKind {
    VM_REQUEST_NONE,
    VM_REQUEST_DEBUG_EXIT, /* code: the value written to the debug-exit port */
    VM_REQUEST_SHUTDOWN,
    VM_REQUEST_RESET,
    VM_REQUEST_GUEST_CRASH,    /* emulation failure, KVM cannot enter the guest */
    VM_REQUEST_INTERNAL_ERROR, /* the VMM cannot go on; message says why */
    VM_REQUEST_CALLBACK_ERROR, /* a Python device callback raised */
    VM_REQUEST_TRIPLE_FAULT,   /* a reset, but one the guest hardly wanted */
};

typedef struct VmRequest {
    int kind;
    int code;
    int vcpu; /* index, or -1 */
    char message[512];
} VmRequest;

typedef struct VmRequests VmRequests;
VmRequests *vm_requests_new(void); /* NULL with errno */
void vm_requests_free(VmRequests *requests);
int vm_requests_fd(const VmRequests *requests);
void vm_request_file(VmRequests *requests, int kind, int code, int vcpu, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* True and *out if a request was waiting; it is taken. */
bool vm_request_take(VmRequests *requests, VmRequest *out);

#endif
