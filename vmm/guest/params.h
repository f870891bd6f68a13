/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's command line: `key=value` words separated by blanks; README.md lists the keys. */
#ifndef GUEST_PARAMS_H
#define GUEST_PARAMS_H

#include <stdint.h>

enum {
    GUEST_MAX_CPUS = 16,
    GUEST_MAX_QUEUES = 16,
    GUEST_MAX_IODEPTH = 256,
    GUEST_MAX_REGISTERS = 8,
    GUEST_MAX_DEVICES = 32,
    GUEST_MAX_SCREEN = 16384, /* pixels, width or height */
    GUEST_MAX_KEYS = 512,     /* bytes */
    GUEST_ERROR_SIZE = 128,
};

enum guest_mode {
    GUEST_MODE_BLK,
    GUEST_MODE_IDLE,
    GUEST_MODE_PIO,
    GUEST_MODE_DRAW,
    GUEST_MODE_KEYS
};
enum guest_rw { GUEST_RW_READ, GUEST_RW_WRITE, GUEST_RW_MIXED, GUEST_RW_VERIFY };
enum guest_transport { GUEST_TRANSPORT_AUTO, GUEST_TRANSPORT_MMIO, GUEST_TRANSPORT_PCI };
enum guest_space { GUEST_PIO, GUEST_MMIO };

/* A device register that is read to see how long an access takes. */
struct guest_register {
    uint64_t space; /* enum guest_space */
    uint64_t address;
    uint64_t size; /* bytes: 1, 2 or 4; MMIO also 8 */
};

/* All numbers are 64 bits wide so that one table describes how to parse them. */
struct guest_params {
    uint64_t mode;      /* enum guest_mode */
    uint64_t rw;        /* enum guest_rw */
    uint64_t transport; /* enum guest_transport */
    uint64_t iodepth;
    uint64_t bs;     /* bytes */
    uint64_t blocks; /* of bs bytes, from the start of the disk; 0: all of it */
    uint64_t queues;
    uint64_t disk;   /* index among the block devices found */
    uint64_t random; /* 0 or 1, as the other switches */
    uint64_t irq;
    uint64_t indirect;
    uint64_t marks;
    uint64_t plugs; /* rw=verify: so many disks, one after the other; 0: the one that is there */
    uint64_t ms;
    uint64_t warmup_ms;
    uint64_t think_ns;
    uint64_t reads; /* mode=pio */
    uint64_t keys;  /* mode=keys: bytes of keyboard and mouse to wait for */
    uint64_t leds;  /* mode=keys: bit 0 scroll lock, 1 num lock, 2 caps lock */
    uint64_t seed;
    uint64_t smp;
    uint64_t tsc_khz; /* 0: ask the machine */

    uint64_t register_count;
    struct guest_register registers[GUEST_MAX_REGISTERS];

    /* Places to look for virtio-mmio devices: an explicit list, or else evenly spaced slots. */
    uint64_t device_count;
    uint64_t devices[GUEST_MAX_DEVICES];
    uint64_t slot_base, slot_stride, slot_count;
    uint64_t slots_given; /* 1: by the command line */

    uint64_t draw;                           /* 1 too with mode=draw */
    uint64_t draw_cpu, draw_fps;             /* fps 0: one frame after the other */
    uint64_t draw_kind;                      /* enum guest_draw_kind */
    uint64_t draw_frames;                    /* draw just so many; 0: until the window closes */
    uint64_t fb_base;                        /* gpa, below 4 GiB, as the screen's end */
    uint64_t fb_width, fb_height, fb_stride; /* pixels, pixels, bytes; all 0: no screen */
};

/*
 * Defaults, then the words of cmdline in order; a key given twice keeps its last value (except
 * virtio_mmio.device, which adds up). Returns 0, or -1 with a one-line message in
 * error[GUEST_ERROR_SIZE]: unknown key, malformed number, out of range, contradiction.
 */
int guest_params_parse(struct guest_params *params, const char *cmdline, char *error);

#endif
