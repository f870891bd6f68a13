/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device accesses, timed one by one: what a vCPU sees of the lock that its exits need. Two tick
 * reads per access are part of the figure; they are small against an exit to user space.
 */
#include "guest.h"

static uint64_t timed_read(const struct platform *p, const struct guest_register *reg)
{
    uint64_t begin = platform_ticks(p);

    if (reg->space == GUEST_PIO)
        platform_pio_read(p, (uint16_t)reg->address, (unsigned)reg->size);
    else
        platform_mmio_read(p, reg->address, (unsigned)reg->size);
    return platform_ticks(p) - begin;
}

void guest_wait(struct guest *g, uint64_t ticks)
{
    uint64_t begin = platform_ticks(g->platform);

    while (platform_ticks(g->platform) - begin < ticks && !guest_stopped(g))
        platform_relax(g->platform);
}

void guest_run_hammer(struct guest *g, unsigned cpu)
{
    uint64_t pause = guest_ns_to_ticks(g, g->params.think_ns);
    unsigned which = 0;

    while (!guest_stopped(g)) {
        uint64_t ticks = timed_read(g->platform, &g->params.registers[which]);

        guest_histogram_record(&g->hammers[cpu].latency[which], ticks);
        if (++which == g->params.register_count)
            which = 0;
        if (pause)
            guest_wait(g, pause);
    }
}

void guest_run_idle(struct guest *g)
{
    uint64_t begin, length = guest_ns_to_ticks(g, g->params.ms * 1000000);

    guest_window_begin(g);
    begin = platform_ticks(g->platform);
    guest_wait(g, length);
    g->result.elapsed = platform_ticks(g->platform) - begin;
    guest_window_end(g);
}

void guest_run_pio(struct guest *g)
{
    uint64_t begin;

    guest_window_begin(g);
    begin = platform_ticks(g->platform);
    for (uint64_t i = 0; i < g->params.reads && !guest_stopped(g); i++)
        guest_histogram_record(&g->result.pio, timed_read(g->platform, &g->params.registers[0]));
    g->result.elapsed = platform_ticks(g->platform) - begin;
    guest_window_end(g);
}
