/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "draw.h"

#include "pattern.h"

enum {
    LINE_WORDS = 4096, /* random words kept for one line: more than a line has characters */
    FILL_WORDS = 4,
    CHARACTERS = 43, /* GUEST_GLYPHS, and blanks for the rest */
    GLYPH_COLUMNS = 5,
    GLYPH_ROWS = 7,
    GLYPH_BITS = GLYPH_COLUMNS * GLYPH_ROWS,
    PAPER = 0x101418,
};

/* Five bits a row, the top row first; within a row the left column first. */
static const uint64_t glyphs[GUEST_GLYPHS] = {
    0x3a33ae62e, 0x11842108e, 0x3a213221f, 0x3a213062e, 0x08ca97c42, 0x7e1e0862e,
    0x1910f462e, 0x7c2222108, 0x3a317462e, 0x3a317844c, 0x3a31fc631, 0x7a31f463e,
    0x3a308422e, 0x7a318c63e, 0x7e10f421f, 0x7e10f4210, 0x3a30bc62e, 0x4631fc631,
    0x38842108e, 0x1c4210a4c, 0x4654c5251, 0x42108421f, 0x4775ac631, 0x47359c631,
    0x3a318c62e, 0x7a31f4210, 0x3a318d64d, 0x7a31f5251, 0x3e107043e, 0x7c8421084,
    0x46318c62e, 0x46318c544, 0x4631ad771, 0x454421151, 0x454421084, 0x7c222221f,
};

static uint32_t *row_at(const struct guest_screen *screen, uint64_t y)
{
    return screen->pixels + y * screen->pitch;
}

/* One row of pixels of a character: each row of the glyph is two pixels high, with one pixel above
 * and below it and to its left, and two to its right. */
static void draw_cell_row(uint32_t *to, uint64_t glyph, unsigned y, uint32_t ink)
{
    unsigned bits = 0;

    if (y >= 1 && y <= 2 * GLYPH_ROWS)
        bits = (unsigned)(glyph >> (GLYPH_BITS - GLYPH_COLUMNS * ((y - 1) / 2 + 1))) & 31;
    bits <<= 2;
    for (unsigned x = 0; x < GUEST_CELL_WIDTH; x++)
        to[x] = bits >> (GUEST_CELL_WIDTH - 1 - x) & 1 ? ink : PAPER;
}

static uint64_t draw_line(const struct guest_screen *screen, uint64_t row, uint64_t seed,
                          uint64_t frame)
{
    static const uint32_t inks[] = {0xd0d0d0, 0x80ff80, 0xffd080, 0x80c0ff};
    uint64_t columns = screen->width / GUEST_CELL_WIDTH;

    for (uint64_t column = 0; column < columns; column++) {
        uint64_t character = guest_pattern_word(frame * LINE_WORDS + column, seed) % CHARACTERS;
        uint64_t glyph = character < GUEST_GLYPHS ? glyphs[character] : 0;

        for (unsigned y = 0; y < GUEST_CELL_HEIGHT; y++)
            draw_cell_row(row_at(screen, row * GUEST_CELL_HEIGHT + y) + column * GUEST_CELL_WIDTH,
                          glyph, y, inks[frame & 3]);
    }
    return columns * GUEST_CELL_WIDTH * GUEST_CELL_HEIGHT;
}

static uint64_t draw_text(const struct guest_screen *screen, uint64_t seed, uint64_t frame)
{
    uint64_t rows = screen->height / GUEST_CELL_HEIGHT;

    return rows ? draw_line(screen, frame % rows, seed, frame) : 0;
}

static uint64_t draw_scroll(const struct guest_screen *screen, uint64_t seed, uint64_t frame)
{
    uint64_t rows = screen->height / GUEST_CELL_HEIGHT;

    if (!rows)
        return 0;
    for (uint64_t y = 0; y < (rows - 1) * GUEST_CELL_HEIGHT; y++)
        __builtin_memcpy(row_at(screen, y), row_at(screen, y + GUEST_CELL_HEIGHT),
                         screen->width * sizeof(uint32_t));
    return (rows - 1) * GUEST_CELL_HEIGHT * screen->width +
           draw_line(screen, rows - 1, seed, frame);
}

/* 0 to limit-1, from a word of random bits. limit: below 2^32. */
static uint64_t scaled(uint64_t word, uint64_t limit)
{
    return (word >> 32) * limit >> 32;
}

static uint64_t draw_fill(const struct guest_screen *screen, uint64_t seed, uint64_t frame)
{
    uint64_t at = frame * FILL_WORDS;
    uint32_t colour = (uint32_t)guest_pattern_word(at, seed) & 0xffffff;
    uint64_t left = scaled(guest_pattern_word(at + 1, seed), screen->width);
    uint64_t top = scaled(guest_pattern_word(at + 2, seed), screen->height);
    uint64_t size = guest_pattern_word(at + 3, seed);
    uint64_t right = left + 1 + scaled(size, screen->width / 4);
    uint64_t bottom = top + 1 + scaled(size << 32, screen->height / 4);

    if (right > screen->width)
        right = screen->width;
    if (bottom > screen->height)
        bottom = screen->height;
    for (uint64_t y = top; y < bottom; y++)
        for (uint64_t x = left; x < right; x++)
            row_at(screen, y)[x] = colour;
    return (right - left) * (bottom - top);
}

static uint64_t draw_noise(const struct guest_screen *screen, uint64_t seed, uint64_t frame)
{
    uint64_t word = frame * screen->width * screen->height;

    for (uint64_t y = 0; y < screen->height; y++)
        for (uint64_t x = 0; x < screen->width; x++)
            row_at(screen, y)[x] = (uint32_t)guest_pattern_word(word++, seed) & 0xffffff;
    return screen->width * screen->height;
}

static uint64_t draw_pattern(const struct guest_screen *screen, uint64_t seed, uint64_t frame)
{
    for (uint64_t y = 0; y < screen->height; y++) {
        for (uint64_t x = 0; x < screen->width; x++) {
            uint64_t red = (x + 2 * frame) & 255, green = (y + frame) & 255;
            uint64_t blue = ((x ^ y) + seed) & 255;

            row_at(screen, y)[x] = (uint32_t)(red << 16 | green << 8 | blue);
        }
    }
    return screen->width * screen->height;
}

uint64_t guest_draw_frame(const struct guest_screen *screen, uint64_t kind, uint64_t seed,
                          uint64_t frame)
{
    switch (kind) {
    case GUEST_DRAW_FILL:
        return draw_fill(screen, seed, frame);
    case GUEST_DRAW_SCROLL:
        return draw_scroll(screen, seed, frame);
    case GUEST_DRAW_NOISE:
        return draw_noise(screen, seed, frame);
    case GUEST_DRAW_PATTERN:
        return draw_pattern(screen, seed, frame);
    default:
        return draw_text(screen, seed, frame);
    }
}
