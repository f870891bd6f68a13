/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: devices (serial16550, debug_exit) and irq lines. See the headers. */
typedef struct IrqLine {
    int vm_fd;
    uint32_t gsi;
    ...;
} IrqLine;
void irq_line_set(IrqLine *line, int level);
int irq_line_level(const IrqLine *line);
uint64_t irq_line_raised(const IrqLine *line);
void irq_line_pulse(void *opaque);

typedef struct Serial16550 Serial16550;
Serial16550 *serial16550_new(AioContext *main_ctx, int out_fd, IrqLine *irq);
void serial16550_free(Serial16550 *serial);
const IoRegionOps *ops_serial16550(void);
size_t serial16550_receive(Serial16550 *serial, const uint8_t *data, size_t len);
size_t serial16550_flush(Serial16550 *serial);
uint64_t serial16550_dropped(const Serial16550 *serial);
void serial16550_reset(Serial16550 *serial);

#define DEBUG_EXIT_PORT ...
#define DEBUG_EXIT_PORTS ...
const IoRegionOps *ops_debug_exit(void);
const IoRegionOps *ops_scratch_register(void);
