/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest as a whole. All its state is one struct guest, which the platform places in zeroed
 * memory:
 *
 *     if (guest_init(g, platform, cmdline)) ... CPU 0 will report why, still run it
 *     on each of g->params.smp CPUs, index 0..smp-1, at the same time: guest_cpu_main(g, cpu)
 *
 * CPU 0 drives the disk and reports; the others read device registers, or one of them draws. Phases
 * go one way:
 *
 *     SETUP --all CPUs arrived, warmed up--> MEASURE --window over--> STOP
 *
 * The phase is the only thing the CPUs share while they measure; results belong to one CPU each
 * and are read by CPU 0 after cpus_done has counted their owners.
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "blk.h"
#include "dma.h"
#include "draw.h"
#include "histogram.h"
#include "params.h"
#include "platform.h"

/* What CPU 0 writes to GUEST_PORT_EXIT; with isa-debug-exit QEMU ends with (code << 1) | 1. */
enum guest_status {
    GUEST_OK = 0,
    GUEST_BAD_PARAMETER = 1,
    GUEST_DEVICE_FAILED = 2,   /* none, no memory for it, or it broke the protocol or went silent */
    GUEST_DATA_WRONG = 3,      /* I/O errors or, in rw=verify, wrong bytes; a result was printed */
    GUEST_PLATFORM_FAILED = 4, /* a CPU did not start, or unknown TSC frequency */
    GUEST_CANCELLED = 5,       /* guest_cancel() */
};

enum {
    GUEST_PORT_SERIAL = 0x3f8,
    GUEST_PORT_EXIT = 0xf4,
    GUEST_PORT_MARK = 0x5f0, /* marks=1: 1 right before the window, 2 right after */
    GUEST_LINE_SIZE = 8192,
};

enum guest_phase { GUEST_PHASE_SETUP, GUEST_PHASE_MEASURE, GUEST_PHASE_STOP };

struct guest_hammer {
    struct guest_histogram latency[GUEST_MAX_REGISTERS]; /* ticks, by register */
} __attribute__((aligned(128)));

struct guest_result {
    uint64_t elapsed; /* ticks, the measured window */
    uint64_t ops, reads, writes, errors, kicks;
    uint64_t blocks; /* of the disk that were used */
    uint64_t wrong_blocks, wrong_bytes;
    struct guest_histogram latency; /* ticks, request issued to completion seen */
    struct guest_histogram pio;     /* mode=pio: CPU 0's reads, ticks */
};

struct guest_drawn {
    uint64_t frames, pixels;
};

struct guest_keys {
    uint8_t keyboard[GUEST_MAX_KEYS], mouse[GUEST_MAX_KEYS]; /* as they came */
    unsigned keyboard_count, mouse_count;
    int mouse_id; /* 3: with a wheel, packets of four bytes */
};

struct guest {
    const struct platform *platform;
    struct guest_params params;
    uint64_t tick_khz;
    enum guest_status status;
    char error[GUEST_ERROR_SIZE];
    struct guest_dma dma;
    struct guest_blk blk;
    struct guest_result result;
    struct guest_keys keys;
    struct guest_screen screen; /* pixels: NULL if there is none */
    char line[GUEST_LINE_SIZE];
    _Atomic uint32_t phase __attribute__((aligned(128))); /* enum guest_phase */
    _Atomic uint32_t cpus_ready, cpus_done;
    struct guest_drawn drawn __attribute__((aligned(128))); /* written by the CPU that draws */
    struct guest_hammer hammers[GUEST_MAX_CPUS]; /* by CPU; [0] merges them for the report */
};

/* Parse the command line. Returns g->status. *g is zeroed memory; platform outlives g. */
enum guest_status guest_init(struct guest *g, const struct platform *platform, const char *cmdline);
/* Body of CPU `cpu`; returns when its part is over. CPU 0 returns last, after it has printed the
 * result and written the exit code (the platform may not let it return from that). */
void guest_cpu_main(struct guest *g, unsigned cpu);
/* [any thread] Make all CPUs return soon; CPU 0 reports GUEST_CANCELLED unless it was done. */
void guest_cancel(struct guest *g);

/* Note the first failure; later ones are its consequences. Returns g->status. */
enum guest_status guest_fail(struct guest *g, enum guest_status status, const char *why);
/* CPU 0, around the measured window: mark, let the hammers start; stop them, mark. */
void guest_window_begin(struct guest *g);
void guest_window_end(struct guest *g);

static inline uint64_t guest_ns_to_ticks(const struct guest *g, uint64_t ns)
{
    return ns / 1000000 * g->tick_khz + ns % 1000000 * g->tick_khz / 1000000;
}

static inline uint64_t guest_ticks_to_ns(const struct guest *g, uint64_t ticks)
{
    return ticks / g->tick_khz * 1000000 + ticks % g->tick_khz * 1000000 / g->tick_khz;
}

static inline bool guest_stopped(struct guest *g)
{
    /* Relaxed: only asks whether to go on; nothing else is read because of it. */
    return atomic_load_explicit(&g->phase, memory_order_relaxed) == GUEST_PHASE_STOP;
}

/* workload.c: CPU 0's part in the modes. */
void guest_run_disk(struct guest *g);
void guest_run_verify(struct guest *g);
void guest_run_plugged(struct guest *g);
/* hammer.c */
void guest_run_hammer(struct guest *g, unsigned cpu);
void guest_run_idle(struct guest *g);
void guest_run_pio(struct guest *g);
/* Let time pass, at least `ticks`, less if the guest is stopped. */
void guest_wait(struct guest *g, uint64_t ticks);
/* artist.c; length: ticks */
void guest_screen_open(struct guest *g);
void guest_run_artist(struct guest *g, uint64_t length);
void guest_run_draw(struct guest *g);
/* keys.c */
void guest_run_keys(struct guest *g);
/* report.c: print the result line, or the error line; print text. */
void guest_report(struct guest *g);
void guest_print(const struct guest *g, const char *text);

#endif
