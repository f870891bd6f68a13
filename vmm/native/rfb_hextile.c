/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tile is loaded into 16 rows of 16 words, whatever its size: loops of a fixed length are what
 * compilers turn into vector code. Behind a narrow row its last pixel is repeated, which adds no
 * colour. Then one bit mask a row says which pixels still need a subrectangle. A tile of two
 * colours is found entirely by bit operations on those masks; one of more colours takes, from the
 * topmost leftmost pixel on, the widest run of its colour and then as many rows below as repeat it.
 * A tile whose subrectangles need no fewer bytes than its pixels is sent raw.
 *
 * Ground and foreground carry over from tile to tile, but not across a raw tile, and the foreground
 * not across a tile of coloured subrectangles: the protocol leaves open what they are then, and
 * clients differ.
 */
#include "rfb_hextile.h"

#include <errno.h>

#define SIDE 16u

enum {
    RAW = 1,
    BACKGROUND = 2,
    FOREGROUND = 4,
    SUBRECTS = 8,
    COLOURED = 16,
};

typedef struct Tile {
    uint32_t w, h;
    uint32_t pixels[SIDE * SIDE];
    uint32_t ground, ink; /* the more frequent of the first two colours, and the other one */
    unsigned colours;     /* 1, 2, or 3 for more */
    uint32_t todo[SIDE];  /* bit x: the pixel is not of the ground and in no subrectangle yet */
} Tile;

typedef struct Writer {
    const RfbPixels *px;
    uint8_t *to;
    uint32_t ground, ink; /* as the client has them */
    bool ground_known, ink_known;
} Writer;

static const uint32_t bit_of[SIDE] = {
    1u << 0, 1u << 1, 1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
    1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15,
};

uint64_t rfb_hextile_bound(const RfbPixels *px)
{
    uint64_t tiles = (uint64_t)((px->width + SIDE - 1) / SIDE) * ((px->height + SIDE - 1) / SIDE);

    return tiles + (uint64_t)px->width * px->height * px->elem + RFB_SLACK;
}

static void load(Tile *tile, const RfbPixels *px, uint32_t x, uint32_t y)
{
    for (uint32_t row = 0; row < tile->h; row++) {
        uint32_t *to = tile->pixels + row * SIDE;

        if (tile->w == SIDE) {
            rfb_load(px, x, y + row, SIDE, to);
            continue;
        }
        rfb_load(px, x, y + row, tile->w, to);
        for (uint32_t i = tile->w; i < SIDE; i++)
            to[i] = to[tile->w - 1];
    }
}

static void mark_todo(Tile *tile)
{
    uint32_t inside = (1u << tile->w) - 1;

    for (uint32_t y = 0; y < tile->h; y++) {
        const uint32_t *row = tile->pixels + y * SIDE;
        uint32_t bits = 0;

        for (uint32_t x = 0; x < SIDE; x++)
            bits |= row[x] == tile->ground ? 0 : bit_of[x];
        tile->todo[y] = bits & inside;
    }
}

/* The first pixel that is not of colour `first`, or n. */
static uint32_t first_other(const uint32_t *pixels, uint32_t n, uint32_t first)
{
    for (uint32_t start = 0; start < n; start += SIDE) {
        uint32_t differ = 0;

        for (uint32_t i = 0; i < SIDE; i++)
            differ |= pixels[start + i] ^ first;
        if (!differ)
            continue;
        while (pixels[start] == first)
            start++;
        return start;
    }
    return n;
}

static void analyse(Tile *tile)
{
    uint32_t n = SIDE * tile->h, first = tile->pixels[0], second, firsts = 0, seconds = 0;
    uint32_t other = first_other(tile->pixels, n, first);

    tile->ground = tile->ink = first;
    tile->colours = 1;
    if (other == n)
        return;
    second = tile->pixels[other];
    for (uint32_t start = 0; start < n; start += SIDE) {
        for (uint32_t i = 0; i < SIDE; i++) {
            firsts += tile->pixels[start + i] == first;
            seconds += tile->pixels[start + i] == second;
        }
    }
    tile->colours = firsts + seconds == n ? 2 : 3;
    tile->ground = firsts >= seconds ? first : second;
    tile->ink = firsts >= seconds ? second : first;
    mark_todo(tile);
}

/*
 * Each pixel unlike its left and its upper neighbour begins a subrectangle. A tile of so many that
 * they alone, in coloured subrectangles, take half of what its pixels take is not worth a try. (The
 * first pixel of a row is compared with the end of the row above: this is an estimate.)
 */
static bool too_varied(const Tile *tile, uint32_t elem)
{
    uint32_t corners = 0;

    for (uint32_t start = SIDE; start < SIDE * tile->h; start += SIDE) {
        const uint32_t *row = tile->pixels + start;

        for (uint32_t i = 0; i < SIDE; i++)
            corners += (row[i] != row[(int)i - 1]) & (row[i] != row[(int)i - (int)SIDE]) &
                       (row[i] != tile->ground);
    }
    return corners * (elem + 2) * 2 > SIDE * tile->h * elem;
}

/* Grow the subrectangle at `bits` of row y downwards and take it off the masks. Returns its rows.
 */
static uint32_t take_rows(Tile *tile, uint32_t y, uint32_t bits)
{
    uint32_t below = y;

    while (below < tile->h && (tile->todo[below] & bits) == bits)
        tile->todo[below++] &= ~bits;
    return below - y;
}

static bool same_colour(const Tile *tile, uint32_t x, uint32_t y, uint32_t w, uint32_t colour)
{
    const uint32_t *row = tile->pixels + y * SIDE + x;

    for (uint32_t i = 0; i < w; i++)
        if (row[i] != colour)
            return false;
    return true;
}

static uint32_t take_rows_of(Tile *tile, uint32_t x, uint32_t y, uint32_t w, uint32_t colour)
{
    uint32_t bits = ((1u << w) - 1) << x, below = y;

    while (below < tile->h && (tile->todo[below] & bits) == bits &&
           same_colour(tile, x, below, w, colour))
        tile->todo[below++] &= ~bits;
    return below - y;
}

static uint8_t *put_place(uint8_t *to, uint32_t x, uint32_t y, uint32_t w, uint32_t h)
{
    *to++ = (uint8_t)(x << 4 | y);
    *to++ = (uint8_t)((w - 1) << 4 | (h - 1));
    return to;
}

/* Subrectangles of the one foreground. Returns their end, or NULL where they pass `limit`. */
static uint8_t *plain_subrects(Tile *tile, uint8_t *to, const uint8_t *limit, uint32_t *count)
{
    for (uint32_t y = 0; y < tile->h; y++) {
        while (tile->todo[y]) {
            uint32_t x = (uint32_t)__builtin_ctz(tile->todo[y]);
            uint32_t w = (uint32_t)__builtin_ctz(~(tile->todo[y] >> x));

            if (to + 2 > limit)
                return NULL;
            to = put_place(to, x, y, w, take_rows(tile, y, ((1u << w) - 1) << x));
            ++*count;
        }
    }
    return to;
}

static uint8_t *coloured_subrects(Tile *tile, const RfbPixels *px, uint8_t *to,
                                  const uint8_t *limit, uint32_t *count)
{
    for (uint32_t y = 0; y < tile->h; y++) {
        const uint32_t *row = tile->pixels + y * SIDE;

        while (tile->todo[y]) {
            uint32_t x = (uint32_t)__builtin_ctz(tile->todo[y]), w = 1;

            while (x + w < tile->w && tile->todo[y] >> (x + w) & 1 && row[x + w] == row[x])
                w++;
            if (to + px->elem + 2 > limit)
                return NULL;
            to = rfb_put(px, to, row[x]);
            to = put_place(to, x, y, w, take_rows_of(tile, x, y, w, row[x]));
            ++*count;
        }
    }
    return to;
}

static void put_raw(Writer *writer, const Tile *tile, uint32_t x, uint32_t y)
{
    const RfbPixels *px = writer->px;

    *writer->to++ = RAW;
    for (uint32_t row = 0; row < tile->h; row++) {
        if (px->swap) {
            for (uint32_t i = 0; i < tile->w; i++)
                writer->to = rfb_put(px, writer->to, tile->pixels[row * SIDE + i]);
            continue;
        }
        memcpy(writer->to, rfb_address(px, x, y + row), (size_t)tile->w * px->elem);
        writer->to += tile->w * px->elem;
    }
    writer->ground_known = writer->ink_known = false;
}

/* The tile as subrectangles, if that is shorter than raw. */
static bool put_subrects(Writer *writer, Tile *tile)
{
    const RfbPixels *px = writer->px;
    uint8_t *start = writer->to, *to = start + 1, *number;
    const uint8_t *limit = to + tile->w * tile->h * px->elem;
    uint32_t mask = 0, count = 0;

    if (tile->colours > 2 && too_varied(tile, px->elem))
        return false;
    if (!writer->ground_known || writer->ground != tile->ground) {
        mask |= BACKGROUND;
        to = rfb_put(px, to, tile->ground);
    }
    if (tile->colours == 2 && (!writer->ink_known || writer->ink != tile->ink)) {
        mask |= FOREGROUND;
        to = rfb_put(px, to, tile->ink);
    }
    if (tile->colours > 1) {
        mask |= tile->colours > 2 ? SUBRECTS | COLOURED : SUBRECTS;
        number = to++;
        to = tile->colours > 2 ? coloured_subrects(tile, px, to, limit, &count)
                               : plain_subrects(tile, to, limit, &count);
        if (!to)
            return false;
        *number = (uint8_t)count; /* at most 255: the ground has a pixel of its own */
    }
    *start = (uint8_t)mask;
    writer->ground = tile->ground;
    writer->ground_known = true;
    if (tile->colours == 2)
        writer->ink = tile->ink;
    writer->ink_known = tile->colours == 2 || (writer->ink_known && tile->colours == 1);
    writer->to = to;
    return true;
}

int64_t rfb_hextile(const RfbPixels *px, uint8_t *out, uint64_t size)
{
    Writer writer = {.px = px, .to = out};
    Tile tile;

    if (!rfb_pixels_valid(px) || px->wire_bytes != px->elem || size < rfb_hextile_bound(px))
        return -EINVAL;
    for (uint32_t y = 0; y < px->height; y += SIDE) {
        tile.h = rfb_min(SIDE, px->height - y);
        for (uint32_t x = 0; x < px->width; x += SIDE) {
            tile.w = rfb_min(SIDE, px->width - x);
            load(&tile, px, x, y);
            analyse(&tile);
            if (!put_subrects(&writer, &tile))
                put_raw(&writer, &tile, x, y);
        }
    }
    return writer.to - out;
}
