/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm_request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lockrank.h"

struct VmRequests {
    RankedMutex lock;
    VmRequest pending;
    int fd;
};

VmRequests *vm_requests_new(void)
{
    VmRequests *requests = calloc(1, sizeof(*requests));

    if (!requests)
        return NULL;
    requests->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (requests->fd < 0) {
        free(requests);
        return NULL;
    }
    ranked_mutex_init(&requests->lock, LOCK_RANK_LEAF, "VM requests");
    return requests;
}

void vm_requests_free(VmRequests *requests)
{
    close(requests->fd);
    ranked_mutex_destroy(&requests->lock);
    free(requests);
}

int vm_requests_fd(const VmRequests *requests)
{
    return requests->fd;
}

static bool gives_way(int kind)
{
    return kind == VM_REQUEST_NONE || kind == VM_REQUEST_RESET || kind == VM_REQUEST_TRIPLE_FAULT;
}

void vm_request_file(VmRequests *requests, int kind, int code, int vcpu, const char *format, ...)
{
    va_list args;

    ranked_mutex_lock(&requests->lock);
    if (requests->pending.kind == VM_REQUEST_NONE ||
        (gives_way(requests->pending.kind) && !gives_way(kind))) {
        requests->pending = (VmRequest){.kind = kind, .code = code, .vcpu = vcpu};
        va_start(args, format);
        vsnprintf(requests->pending.message, sizeof(requests->pending.message), format, args);
        va_end(args);
    }
    ranked_mutex_unlock(&requests->lock);
    eventfd_write(requests->fd, 1);
}

bool vm_request_take(VmRequests *requests, VmRequest *out)
{
    eventfd_t ignored;
    bool found;

    eventfd_read(requests->fd, &ignored);
    ranked_mutex_lock(&requests->lock);
    found = requests->pending.kind != VM_REQUEST_NONE;
    *out = requests->pending;
    requests->pending.kind = VM_REQUEST_NONE;
    ranked_mutex_unlock(&requests->lock);
    return found;
}
