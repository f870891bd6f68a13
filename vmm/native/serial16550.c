/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "serial16550.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Register offsets; some have two faces (DLAB, read or write). */
enum {
    REG_DATA = 0,
    REG_IER = 1,
    REG_IIR_FCR = 2,
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7
};

#define IER_RX 0x01
#define IER_TX 0x02
#define IIR_NONE 0x01
#define IIR_TX 0x02
#define IIR_RX 0x04
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define LCR_DLAB 0x80
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define LSR_DATA_READY 0x01
#define LSR_TX_EMPTY 0x60 /* holding register and shifter */
#define MSR_IDLE 0xb0     /* carrier, ring off, data set ready, clear to send */

#define RX_FIFO 16
#define OUT_BUFFER 65536

struct Serial16550 {
    AioContext *ctx;
    AioBh *flush_bh;
    int out_fd;
    bool waiting; /* for out_fd to take more */
    IrqLine *irq;
    uint8_t ier, fcr, lcr, mcr, scr;
    uint16_t divisor;
    bool tx_interrupt; /* transmitter became empty since IIR was read */
    uint8_t rx[RX_FIFO];
    unsigned rx_first, rx_count;
    uint64_t dropped;
    size_t out_first, out_count;
    uint8_t out[OUT_BUFFER];
};

static void flush_bh(void *opaque)
{
    serial16550_flush(opaque);
}

/* A handler only while the reader is slow: an idle pipe is always writable. */
static void wait_for_reader(Serial16550 *serial, bool wait)
{
    static const AioHandlerOps writable = {.io_write = flush_bh};

    if (wait != serial->waiting)
        aio_set_fd_handler(serial->ctx, serial->out_fd, wait ? &writable : NULL, serial);
    serial->waiting = wait;
}

static uint8_t pending_interrupt(const Serial16550 *serial)
{
    if ((serial->ier & IER_RX) && serial->rx_count)
        return IIR_RX;
    if ((serial->ier & IER_TX) && serial->tx_interrupt)
        return IIR_TX;
    return IIR_NONE;
}

static void update_irq(Serial16550 *serial)
{
    if (serial->irq)
        irq_line_set(serial->irq, pending_interrupt(serial) != IIR_NONE);
}

void serial16550_reset(Serial16550 *serial)
{
    serial->ier = serial->fcr = serial->lcr = serial->scr = 0;
    serial->mcr = MCR_OUT2;
    serial->divisor = 12; /* 9600 baud */
    serial->rx_count = 0;
    serial->tx_interrupt = false;
    update_irq(serial);
}

Serial16550 *serial16550_new(AioContext *main_ctx, int out_fd, IrqLine *irq)
{
    Serial16550 *serial = calloc(1, sizeof(*serial));

    if (!serial)
        return NULL;
    serial->ctx = main_ctx;
    serial->out_fd = out_fd;
    serial->irq = irq;
    serial->flush_bh = aio_bh_new(main_ctx, flush_bh, serial);
    if (!serial->flush_bh) {
        free(serial);
        return NULL;
    }
    serial16550_reset(serial);
    return serial;
}

void serial16550_free(Serial16550 *serial)
{
    wait_for_reader(serial, false);
    aio_bh_delete(serial->flush_bh);
    free(serial);
}

/* Writes what the descriptor takes. Returns 0, or the errno it stopped with. */
static int write_out(Serial16550 *serial)
{
    while (serial->out_count) {
        size_t run = OUT_BUFFER - serial->out_first;
        ssize_t n;

        if (run > serial->out_count)
            run = serial->out_count;
        n = write(serial->out_fd, serial->out + serial->out_first, run);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        serial->out_first = (serial->out_first + (size_t)n) % OUT_BUFFER;
        serial->out_count -= (size_t)n;
    }
    return 0;
}

size_t serial16550_flush(Serial16550 *serial)
{
    int error = write_out(serial);

    if (error && error != EAGAIN) { /* the reader is gone: waiting for it would never end */
        serial->dropped += serial->out_count;
        serial->out_count = 0;
    }
    wait_for_reader(serial, serial->out_count > 0);
    return serial->out_count;
}

static void transmit(Serial16550 *serial, uint8_t byte)
{
    if (serial->mcr & MCR_LOOP) {
        serial16550_receive(serial, &byte, 1);
    } else if (serial->out_count == OUT_BUFFER) {
        serial->dropped++;
    } else {
        serial->out[(serial->out_first + serial->out_count) % OUT_BUFFER] = byte;
        /* One wake-up for the first byte, then one a line or a full page: a wake-up a byte would
         * make the main loop contend with the very vCPU that prints. */
        if (serial->out_count++ == 0 || byte == '\n' || serial->out_count % 4096 == 0)
            aio_bh_schedule(serial->flush_bh);
    }
    serial->tx_interrupt = true;
    update_irq(serial);
}

size_t serial16550_receive(Serial16550 *serial, const uint8_t *data, size_t len)
{
    size_t taken = 0;

    while (taken < len && serial->rx_count < RX_FIFO)
        serial->rx[(serial->rx_first + serial->rx_count++) % RX_FIFO] = data[taken++];
    update_irq(serial);
    return taken;
}

static uint8_t receive_byte(Serial16550 *serial)
{
    uint8_t byte;

    if (!serial->rx_count)
        return 0;
    byte = serial->rx[serial->rx_first];
    serial->rx_first = (serial->rx_first + 1) % RX_FIFO;
    serial->rx_count--;
    update_irq(serial);
    return byte;
}

static uint8_t read_iir(Serial16550 *serial)
{
    uint8_t iir = pending_interrupt(serial);

    if (iir == IIR_TX) {
        serial->tx_interrupt = false;
        update_irq(serial);
    }
    return iir | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_msr(const Serial16550 *serial)
{
    uint8_t mcr = serial->mcr;

    if (!(mcr & MCR_LOOP))
        return MSR_IDLE;
    /* Loop-back wires RTS, DTR, OUT1, OUT2 to CTS, DSR, RI, DCD. */
    return (uint8_t)(((mcr & 0x02) << 3) | ((mcr & 0x01) << 5) | ((mcr & 0x0c) << 4));
}

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    Serial16550 *serial = opaque;
    bool dlab = serial->lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        return dlab ? serial->divisor & 0xff : receive_byte(serial);
    case REG_IER:
        return dlab ? serial->divisor >> 8 : serial->ier;
    case REG_IIR_FCR:
        return read_iir(serial);
    case REG_LCR:
        return serial->lcr;
    case REG_MCR:
        return serial->mcr;
    case REG_LSR:
        return LSR_TX_EMPTY | (serial->rx_count ? LSR_DATA_READY : 0);
    case REG_MSR:
        return read_msr(serial);
    default:
        return serial->scr;
    }
}

static void write_ier(Serial16550 *serial, uint8_t value)
{
    /* Enabling the transmitter interrupt with an empty transmitter raises it at once. */
    if ((value & IER_TX) && !(serial->ier & IER_TX))
        serial->tx_interrupt = true;
    serial->ier = value & 0x0f;
    update_irq(serial);
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Serial16550 *serial = opaque;
    uint8_t byte = (uint8_t)value;
    bool dlab = serial->lcr & LCR_DLAB;

    switch (offset) {
    case REG_DATA:
        if (dlab)
            serial->divisor = (uint16_t)((serial->divisor & 0xff00) | byte);
        else
            transmit(serial, byte);
        break;
    case REG_IER:
        if (dlab)
            serial->divisor = (uint16_t)((serial->divisor & 0xff) | byte << 8);
        else
            write_ier(serial, byte);
        break;
    case REG_IIR_FCR:
        serial->fcr = byte;
        if (byte & FCR_CLEAR_RX)
            serial->rx_count = 0;
        update_irq(serial);
        break;
    case REG_LCR:
        serial->lcr = byte;
        break;
    case REG_MCR:
        serial->mcr = byte & 0x1f;
        break;
    case REG_SCR:
        serial->scr = byte;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

uint64_t serial16550_dropped(const Serial16550 *serial)
{
    return serial->dropped;
}

const IoRegionOps serial16550_ops = {.read = serial_read, .write = serial_write};
