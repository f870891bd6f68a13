/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Redraws the screen at a given rate while the measured window is open, to keep whoever shows the
 * screen busy. Frames have fixed times: one that takes too long makes the next ones follow at once.
 */
#include "guest.h"

/* CPU 0, before the window: find the screen that fb= describes. Without fb= nothing is drawn. */
void guest_screen_open(struct guest *g)
{
    const struct guest_params *params = &g->params;

    if (!params->draw || !params->fb_width)
        return;
    g->screen.width = params->fb_width;
    g->screen.height = params->fb_height;
    g->screen.pitch = params->fb_stride / sizeof(uint32_t);
    g->screen.pixels =
        platform_vram(g->platform, params->fb_base, params->fb_stride * params->fb_height);
    if (!g->screen.pixels)
        guest_fail(g, GUEST_DEVICE_FAILED, "there is no video memory where fb= says");
}

/* Until the window closes; with draw_frames= until so many are drawn; else for `length` ticks. */
void guest_run_artist(struct guest *g, uint64_t length)
{
    const struct platform *p = g->platform;
    const struct guest_params *params = &g->params;
    const uint64_t begin = platform_ticks(p), per_second = g->tick_khz * 1000;

    while (g->screen.pixels && !guest_stopped(g)) {
        const uint64_t frame = g->drawn.frames;
        const uint64_t due = params->draw_fps ? frame * per_second / params->draw_fps : 0;
        const uint64_t now = platform_ticks(p) - begin;

        if (params->draw_frames ? frame == params->draw_frames : now >= length || due >= length)
            break;
        if (due > now)
            guest_wait(g, due - now);
        if (guest_stopped(g))
            break;
        g->drawn.pixels += guest_draw_frame(&g->screen, params->draw_kind, params->seed, frame);
        g->drawn.frames++;
        platform_relax(p);
    }
}

/* CPU 0, mode=draw: the window is as long as ms= says, or longer if the frames take longer. */
void guest_run_draw(struct guest *g)
{
    const struct platform *p = g->platform;
    uint64_t length = guest_ns_to_ticks(g, g->params.ms * 1000000), begin, now;

    guest_window_begin(g);
    begin = platform_ticks(p);
    guest_run_artist(g, length);
    now = platform_ticks(p) - begin;
    if (now < length)
        guest_wait(g, length - now);
    g->result.elapsed = platform_ticks(p) - begin;
    guest_window_end(g);
}
