/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A UART (National Semiconductor PC16550D). Output goes to a file descriptor through a
 * buffer that the main loop empties, so a slow reader never stalls the guest: when the buffer is
 * full, bytes are dropped and counted. Input is pushed in from the main loop.
 * Registers are read and written under the BQL.
 */
#ifndef VMM_NATIVE_SERIAL16550_H
#define VMM_NATIVE_SERIAL16550_H

#include <stddef.h>
#include <stdint.h>

#include "aio.h"
#include "iospace.h"
#include "kvm_ioctl.h"

#define SERIAL16550_PORTS 8

typedef struct Serial16550 Serial16550;

/* Output is written to out_fd (not owned; made non-blocking by the caller). irq may be NULL. */
Serial16550 *serial16550_new(AioContext *main_ctx, int out_fd, IrqLine *irq);
void serial16550_free(Serial16550 *serial);
extern const IoRegionOps serial16550_ops; /* opaque: a Serial16550 */
/* Under the BQL. Returns how many bytes fitted into the receive FIFO. */
size_t serial16550_receive(Serial16550 *serial, const uint8_t *data, size_t len);
/* Under the BQL. Write out what is buffered; 0 when all is out, else bytes left. */
size_t serial16550_flush(Serial16550 *serial);
uint64_t serial16550_dropped(const Serial16550 *serial);
void serial16550_reset(Serial16550 *serial);

#endif
