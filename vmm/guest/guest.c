/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"

enum guest_status guest_fail(struct guest *g, enum guest_status status, const char *why)
{
    unsigned i = 0;

    if (g->status)
        return g->status;
    g->status = status;
    for (; why[i] && i < GUEST_ERROR_SIZE - 1; i++)
        g->error[i] = why[i];
    g->error[i] = 0;
    return status;
}

enum guest_status guest_init(struct guest *g, const struct platform *platform, const char *cmdline)
{
    g->platform = platform;
    guest_dma_init(&g->dma, platform);
    if (guest_params_parse(&g->params, cmdline, g->error)) {
        g->status = GUEST_BAD_PARAMETER;
        g->params.smp = 1; /* nobody needs the other CPUs for an error message */
        return g->status;
    }
    g->tick_khz = g->params.tsc_khz ? g->params.tsc_khz : platform->tick_khz;
    if (!g->tick_khz)
        return guest_fail(g, GUEST_PLATFORM_FAILED, "unknown TSC frequency: pass tsc_khz=");
    return GUEST_OK;
}

/* A cancelled guest stays cancelled: the phase never leaves STOP. */
static void set_phase(struct guest *g, uint32_t from, uint32_t to)
{
    /* Release: pairs with the acquire in wait_for_window(). */
    atomic_compare_exchange_strong_explicit(&g->phase, &from, to, memory_order_release,
                                            memory_order_relaxed);
}

void guest_cancel(struct guest *g)
{
    atomic_store_explicit(&g->phase, GUEST_PHASE_STOP, memory_order_release);
}

void guest_window_begin(struct guest *g)
{
    if (g->params.marks)
        platform_pio_write(g->platform, GUEST_PORT_MARK, 1, 1);
    set_phase(g, GUEST_PHASE_SETUP, GUEST_PHASE_MEASURE);
}

void guest_window_end(struct guest *g)
{
    if (guest_stopped(g))
        guest_fail(g, GUEST_CANCELLED, "cancelled");
    atomic_store_explicit(&g->phase, GUEST_PHASE_STOP, memory_order_release);
    if (g->params.marks)
        platform_pio_write(g->platform, GUEST_PORT_MARK, 2, 1);
}

/* Until `count` CPUs have passed; false if cancelled. Acquire: sees what they wrote before. */
static bool wait_for_cpus(struct guest *g, _Atomic uint32_t *counter, uint64_t count, bool force)
{
    while (atomic_load_explicit(counter, memory_order_acquire) < count) {
        if (!force && guest_stopped(g))
            return false;
        platform_relax(g->platform);
    }
    return true;
}

static void run_boot_cpu(struct guest *g)
{
    guest_screen_open(g);
    if (g->status)
        return;
    if (!wait_for_cpus(g, &g->cpus_ready, g->params.smp - 1, false))
        guest_fail(g, GUEST_CANCELLED, "cancelled");
    else if (g->params.mode == GUEST_MODE_IDLE)
        guest_run_idle(g);
    else if (g->params.mode == GUEST_MODE_PIO)
        guest_run_pio(g);
    else if (g->params.mode == GUEST_MODE_DRAW)
        guest_run_draw(g);
    else if (g->params.mode == GUEST_MODE_KEYS)
        guest_run_keys(g);
    else if (g->params.rw == GUEST_RW_VERIFY && g->params.plugs)
        guest_run_plugged(g);
    else if (g->params.rw == GUEST_RW_VERIFY)
        guest_run_verify(g);
    else
        guest_run_disk(g);
}

static void run_other_cpu(struct guest *g, unsigned cpu)
{
    uint32_t phase;

    atomic_fetch_add_explicit(&g->cpus_ready, 1, memory_order_relaxed);
    do {
        platform_relax(g->platform);
        phase = atomic_load_explicit(&g->phase, memory_order_acquire);
    } while (phase == GUEST_PHASE_SETUP);
    if (phase == GUEST_PHASE_MEASURE && g->params.draw && cpu == g->params.draw_cpu)
        guest_run_artist(g, UINT64_MAX);
    else if (phase == GUEST_PHASE_MEASURE && g->params.register_count)
        guest_run_hammer(g, cpu);
    /* Release: pairs with wait_for_cpus() of CPU 0, which then reads this CPU's figures. */
    atomic_fetch_add_explicit(&g->cpus_done, 1, memory_order_release);
}

void guest_cpu_main(struct guest *g, unsigned cpu)
{
    if (cpu) {
        run_other_cpu(g, cpu);
        return;
    }
    if (!g->status)
        run_boot_cpu(g);
    guest_cancel(g); /* after a failure the others may still wait for the window */
    wait_for_cpus(g, &g->cpus_done, g->params.smp - 1, true);
    guest_report(g);
    platform_pio_write(g->platform, GUEST_PORT_EXIT, g->status, 1);
}
