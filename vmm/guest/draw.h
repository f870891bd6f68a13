/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pictures that depend on nothing but kind, seed, frame number and the screen's size, drawn over
 * what the frames before left (a new screen is black). draw.py computes the same pixels, so that
 * the host can tell what a screen must look like.
 *
 * Pixels are XRGB8888: one little-endian word 0x00RRGGBB each.
 */
#ifndef GUEST_DRAW_H
#define GUEST_DRAW_H

#include <stdint.h>

enum {
    GUEST_CELL_WIDTH = 8, /* of a character, in pixels */
    GUEST_CELL_HEIGHT = 16,
    GUEST_GLYPHS = 36, /* 0-9, A-Z */
};

enum guest_draw_kind {
    GUEST_DRAW_TEXT,    /* frame k: a line of text in row k modulo the rows */
    GUEST_DRAW_FILL,    /* a rectangle of one colour */
    GUEST_DRAW_SCROLL,  /* everything one row up, a line of text in the last row */
    GUEST_DRAW_NOISE,   /* all pixels random */
    GUEST_DRAW_PATTERN, /* all pixels of a gradient that moves */
};

struct guest_screen {
    uint32_t *pixels;
    uint64_t width, height; /* pixels */
    uint64_t pitch;         /* pixels from one row to the next, at least width */
};

/* kind: enum guest_draw_kind. Returns the number of pixels written. */
uint64_t guest_draw_frame(const struct guest_screen *screen, uint64_t kind, uint64_t seed,
                          uint64_t frame);

#endif
