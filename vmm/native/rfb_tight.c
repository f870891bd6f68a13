/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rfb_tight.h"

#include <errno.h>

#include "rfb_palette.h"

#define CHUNK 256u

static int64_t solid_colour(const RfbPixels *px, uint32_t x, uint32_t y)
{
    uint32_t w = rfb_min(RFB_TIGHT_SIDE, px->width - x);
    uint32_t h = rfb_min(RFB_TIGHT_SIDE, px->height - y);
    uint32_t row[RFB_TIGHT_SIDE], colour, differ = 0;

    rfb_load(px, x, y, 1, &colour);
    for (uint32_t i = 0; i < h && !differ; i++) {
        rfb_load(px, x, y + i, w, row);
        for (uint32_t j = 0; j < w; j++)
            differ |= row[j] ^ colour;
    }
    return differ ? -1 : (int64_t)colour;
}

int64_t rfb_solid_tiles(const RfbPixels *px, int64_t *out, uint64_t count)
{
    uint64_t tiles = 0;

    if (!rfb_pixels_valid(px) ||
        count < (uint64_t)((px->width + RFB_TIGHT_SIDE - 1) / RFB_TIGHT_SIDE) *
                    ((px->height + RFB_TIGHT_SIDE - 1) / RFB_TIGHT_SIDE))
        return -EINVAL;
    for (uint32_t y = 0; y < px->height; y += RFB_TIGHT_SIDE)
        for (uint32_t x = 0; x < px->width; x += RFB_TIGHT_SIDE)
            out[tiles++] = solid_colour(px, x, y);
    return (int64_t)tiles;
}

typedef struct TwoColours {
    unsigned count;
    uint32_t first, second;
} TwoColours;

static bool row_fits(TwoColours *colours, const RfbPixels *px, uint32_t y)
{
    uint32_t chunk[CHUNK];

    for (uint32_t x = 0, n; x < px->width; x += n) {
        n = rfb_min(CHUNK, px->width - x);
        rfb_load(px, x, y, n, chunk);
        for (uint32_t i = 0; i < n; i++) {
            if (colours->count > 0 && chunk[i] == colours->first)
                continue;
            if (colours->count > 1 && chunk[i] == colours->second)
                continue;
            if (colours->count == 2)
                return false;
            if (colours->count++ == 0)
                colours->first = chunk[i];
            else
                colours->second = chunk[i];
        }
    }
    return true;
}

/* How many rows from y on, up to `max`, have two colours altogether. */
static uint32_t two_coloured_rows(const RfbPixels *px, uint32_t y, uint32_t max)
{
    TwoColours colours = {.count = 0};
    uint32_t rows = 0;

    max = rfb_min(max, px->height - y);
    while (rows < max && row_fits(&colours, px, y + rows))
        rows++;
    return rows;
}

int64_t rfb_strip_rows(const RfbPixels *px, uint32_t max_rows, uint32_t min_rows)
{
    uint32_t rows;

    if (!rfb_pixels_valid(px) || !max_rows || !min_rows)
        return -EINVAL;
    max_rows = rfb_min(max_rows, px->height);
    min_rows = rfb_min(min_rows, max_rows);
    rows = two_coloured_rows(px, 0, max_rows);
    if (rows >= min_rows)
        return rows;
    for (rows = 1; rows < max_rows; rows++)
        if (px->height - rows >= min_rows && two_coloured_rows(px, rows, min_rows) == min_rows)
            break;
    return rows;
}

/* Number n pixels; false where there are more than max colours. */
static bool index_run(RfbPalette *palette, const uint32_t *pixels, uint32_t n, uint32_t max,
                      uint8_t *numbers)
{
    for (uint32_t start = 0, end; start < n; start = end) {
        int number = rfb_palette_number(palette, pixels[start], max);

        if (number < 0)
            return false;
        for (end = start; end < n && pixels[end] == pixels[start]; end++)
            numbers[end] = (uint8_t)number;
    }
    return true;
}

int64_t rfb_index_colours(const RfbPixels *px, uint32_t max, uint8_t *colours,
                          uint64_t colours_size, uint8_t *numbers, uint64_t numbers_size)
{
    RfbPalette palette;
    uint32_t chunk[CHUNK];

    if (!rfb_pixels_valid(px) || max < 1 || max > RFB_PALETTE_COLOURS ||
        colours_size < max * px->wire_bytes + RFB_SLACK ||
        numbers_size < (uint64_t)px->width * px->height)
        return -EINVAL;
    rfb_palette_init(&palette);
    for (uint32_t y = 0; y < px->height; y++) {
        for (uint32_t x = 0, n; x < px->width; x += n, numbers += n) {
            n = rfb_min(CHUNK, px->width - x);
            rfb_load(px, x, y, n, chunk);
            if (!index_run(&palette, chunk, n, max, numbers))
                return 0;
        }
    }
    for (uint32_t i = 0; i < palette.count; i++)
        colours = rfb_put(px, colours, palette.colours[i]);
    return palette.count;
}

int64_t rfb_pack(const RfbPixels *px, uint8_t *out, uint64_t size)
{
    uint8_t *to = out;
    uint32_t chunk[CHUNK];

    if (!rfb_pixels_valid(px) ||
        size < (uint64_t)px->width * px->height * px->wire_bytes + RFB_SLACK)
        return -EINVAL;
    for (uint32_t y = 0; y < px->height; y++) {
        for (uint32_t x = 0, n; x < px->width; x += n) {
            n = rfb_min(CHUNK, px->width - x);
            rfb_load(px, x, y, n, chunk);
            for (uint32_t i = 0; i < n; i++)
                to = rfb_put(px, to, chunk[i]);
        }
    }
    return to - out;
}
