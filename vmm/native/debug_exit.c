/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "debug_exit.h"

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    vm_request_file(opaque, VM_REQUEST_DEBUG_EXIT, (int)value, -1, "guest wrote %u to debug-exit",
                    (unsigned)value);
}

const IoRegionOps debug_exit_ops = {.read = debug_exit_read, .write = debug_exit_write};

static uint64_t scratch_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t *value = opaque;

    return offset < 8 ? *value >> (8 * offset) : 0;
}

static void scratch_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    uint64_t *stored = opaque;

    if (offset == 0)
        *stored = value;
}

const IoRegionOps scratch_register_ops = {.read = scratch_read, .write = scratch_write};
