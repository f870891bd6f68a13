/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The debug-exit port (QEMU's isa-debug-exit): a write asks the VM to end with that code. */
#ifndef VMM_NATIVE_DEBUG_EXIT_H
#define VMM_NATIVE_DEBUG_EXIT_H

#include "iospace.h"
#include "vm_request.h"

#define DEBUG_EXIT_PORT 0xf4
#define DEBUG_EXIT_PORTS 4

extern const IoRegionOps debug_exit_ops; /* opaque: VmRequests */

/* Eight bytes of plain state behind a C handler: the cheapest possible device, for `bench exits`
 * and tests. opaque: uint64_t[1]. */
extern const IoRegionOps scratch_register_ops;

#endif
