/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One pass over a tile finds its runs and, run by run, its colours; from those the exact size of
 * every form follows, the shortest is written from the list of runs. TRLE's forms that reuse the
 * palette of the tile before (127 and 129) are not used: ZRLE has none, and deflate finds those
 * bytes by itself.
 */
#include "rfb_tiles.h"

#include <errno.h>

#include "rfb_palette.h"

#define MAX_PIXELS (RFB_ZRLE_SIDE * RFB_ZRLE_SIDE)
#define MAX_COLOURS 127u
#define MAX_PACKED 16u

enum { RAW = 0, SOLID = 1, PLAIN_RLE = 128 };
typedef enum Form { FORM_RAW, FORM_SOLID, FORM_PACKED, FORM_RLE, FORM_PALETTE_RLE } Form;

typedef struct Tile {
    uint32_t w, h;
    uint32_t runs, singles; /* of which `singles` are of one pixel */
    uint32_t long_bytes;    /* bytes of value 255 in all run lengths */
    bool few;               /* the palette holds all colours */
    uint32_t pixels[MAX_PIXELS];
    uint16_t lengths[MAX_PIXELS]; /* of the runs, less one */
    uint8_t numbers[MAX_PIXELS];  /* of the runs' colours; only while `few` */
    RfbPalette palette;
} Tile;

uint64_t rfb_tiles_bound(const RfbPixels *px, uint32_t side)
{
    uint64_t tiles = (uint64_t)((px->width + side - 1) / side) * ((px->height + side - 1) / side);

    return tiles + (uint64_t)px->width * px->height * px->wire_bytes + RFB_SLACK;
}

static void analyse(Tile *tile)
{
    uint32_t n = tile->w * tile->h, start = 0;

    tile->runs = tile->singles = tile->long_bytes = 0;
    tile->few = true;
    rfb_palette_init(&tile->palette);
    while (start < n) {
        uint32_t colour = tile->pixels[start], end = start + 1;

        while (end < n && tile->pixels[end] == colour)
            end++;
        if (tile->few) {
            int number = rfb_palette_number(&tile->palette, colour, MAX_COLOURS);

            tile->few = number >= 0;
            tile->numbers[tile->runs] = (uint8_t)number;
        }
        tile->lengths[tile->runs++] = (uint16_t)(end - start - 1);
        tile->singles += end - start == 1;
        tile->long_bytes += (end - start - 1) / 255;
        start = end;
    }
}

static uint32_t packed_bits(uint32_t colours)
{
    return colours <= 2 ? 1 : colours <= 4 ? 2 : 4;
}

static Form shortest(const Tile *tile, uint32_t pixel_bytes)
{
    uint32_t colours = tile->palette.count, size = tile->w * tile->h * pixel_bytes, other;
    Form form = FORM_RAW;

    if (tile->few && colours == 1)
        return FORM_SOLID;
    if (tile->few && colours <= MAX_PACKED) {
        other = colours * pixel_bytes + (tile->w * packed_bits(colours) + 7) / 8 * tile->h;
        if (other < size) {
            size = other;
            form = FORM_PACKED;
        }
    }
    if (tile->few) {
        other = colours * pixel_bytes + 2 * tile->runs - tile->singles + tile->long_bytes;
        if (other < size) {
            size = other;
            form = FORM_PALETTE_RLE;
        }
    }
    other = tile->runs * (pixel_bytes + 1) + tile->long_bytes;
    return other < size ? FORM_RLE : form;
}

static uint8_t *put_length(uint8_t *to, uint32_t less_one)
{
    for (; less_one >= 255; less_one -= 255)
        *to++ = 255;
    *to++ = (uint8_t)less_one;
    return to;
}

static uint8_t *put_palette(const RfbPixels *px, const Tile *tile, uint8_t *to, uint32_t kind)
{
    *to++ = (uint8_t)kind;
    for (uint32_t i = 0; i < tile->palette.count; i++)
        to = rfb_put(px, to, tile->palette.colours[i]);
    return to;
}

/* Pixels as bit fields, the leftmost in the highest bits, each row from a new byte on. */
static uint8_t *put_packed(const Tile *tile, uint8_t *to)
{
    uint32_t bits = packed_bits(tile->palette.count), run = 0, left = tile->lengths[0] + 1u;

    for (uint32_t y = 0; y < tile->h; y++) {
        uint32_t byte = 0, filled = 0;

        for (uint32_t x = 0; x < tile->w; x++) {
            if (!left)
                left = tile->lengths[++run] + 1u;
            left--;
            byte = byte << bits | tile->numbers[run];
            filled += bits;
            if (filled == 8) {
                *to++ = (uint8_t)byte;
                byte = filled = 0;
            }
        }
        if (filled)
            *to++ = (uint8_t)(byte << (8 - filled));
    }
    return to;
}

static uint8_t *put_palette_runs(const Tile *tile, uint8_t *to)
{
    for (uint32_t run = 0; run < tile->runs; run++) {
        if (tile->lengths[run]) {
            *to++ = tile->numbers[run] | 0x80;
            to = put_length(to, tile->lengths[run]);
        } else {
            *to++ = tile->numbers[run];
        }
    }
    return to;
}

static uint8_t *put_runs(const RfbPixels *px, const Tile *tile, uint8_t *to)
{
    uint32_t at = 0;

    *to++ = PLAIN_RLE;
    for (uint32_t run = 0; run < tile->runs; run++) {
        to = rfb_put(px, to, tile->pixels[at]);
        to = put_length(to, tile->lengths[run]);
        at += tile->lengths[run] + 1u;
    }
    return to;
}

static uint8_t *put_raw(const RfbPixels *px, const Tile *tile, uint8_t *to)
{
    *to++ = RAW;
    for (uint32_t i = 0; i < tile->w * tile->h; i++)
        to = rfb_put(px, to, tile->pixels[i]);
    return to;
}

static uint8_t *put_tile(const RfbPixels *px, const Tile *tile, uint8_t *to)
{
    switch (shortest(tile, px->wire_bytes)) {
    case FORM_SOLID:
        return put_palette(px, tile, to, SOLID);
    case FORM_PACKED:
        return put_packed(tile, put_palette(px, tile, to, tile->palette.count));
    case FORM_PALETTE_RLE:
        return put_palette_runs(tile, put_palette(px, tile, to, PLAIN_RLE + tile->palette.count));
    case FORM_RLE:
        return put_runs(px, tile, to);
    case FORM_RAW:
        break;
    }
    return put_raw(px, tile, to);
}

int64_t rfb_tiles(const RfbPixels *px, uint32_t side, uint8_t *out, uint64_t size)
{
    uint8_t *to = out;
    Tile tile;

    if (!rfb_pixels_valid(px) || (side != RFB_TRLE_SIDE && side != RFB_ZRLE_SIDE) ||
        size < rfb_tiles_bound(px, side))
        return -EINVAL;
    for (uint32_t y = 0; y < px->height; y += side) {
        tile.h = rfb_min(side, px->height - y);
        for (uint32_t x = 0; x < px->width; x += side) {
            tile.w = rfb_min(side, px->width - x);
            rfb_load_tile(px, x, y, tile.w, tile.h, tile.pixels);
            analyse(&tile);
            to = put_tile(px, &tile, to);
        }
    }
    return to - out;
}
