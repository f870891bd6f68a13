/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The RFB kernels with buffers of exactly the size they ask for, so that the sanitizers see every
 * byte too many. That what they write is right is tests/unit/test_encodings.py's business.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rfb_hextile.h"
#include "rfb_palette.h"
#include "rfb_tight.h"
#include "rfb_tiles.h"

#define KINDS 6u

static uint32_t state = 1;

static uint32_t draw(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static uint32_t colour(uint32_t kind, uint32_t x, uint32_t y)
{
    switch (kind) {
    case 0:
        return 0x11223344;
    case 1:
        return draw(2) ? 0xffffffff : 0;
    case 2:
        return draw(5) * 0x01030507;
    case 3:
        return (x / 3 + y) % 200 * 0x10101;
    case 4:
        return (x + y) % 2 * 0x00ff00ff;
    default:
        return draw(1u << 24) << 8 | draw(256);
    }
}

typedef struct Picture {
    uint8_t *memory;
    RfbPixels px;
} Picture;

static Picture picture(uint32_t kind, uint32_t w, uint32_t h, uint32_t elem, uint32_t gap)
{
    Picture p = {.px = {.stride = (uint64_t)(w + gap) * elem, .width = w, .height = h}};
    size_t bytes = p.px.stride * (h - 1) + (size_t)w * elem;

    p.memory = malloc(bytes);
    CHECK(p.memory);
    for (uint32_t y = 0; y < h; y++) {
        for (uint32_t x = 0; x < w; x++) {
            uint32_t value = colour(kind, x, y);

            memcpy(p.memory + y * p.px.stride + x * elem, &value, elem);
        }
    }
    p.px.data = p.memory;
    p.px.elem = p.px.wire_bytes = elem;
    p.px.mask = UINT32_MAX;
    return p;
}

static void encode_all(const RfbPixels *px)
{
    uint64_t hextile = rfb_hextile_bound(px), trle = rfb_tiles_bound(px, 16);
    uint64_t zrle = rfb_tiles_bound(px, 64), pixels = (uint64_t)px->width * px->height;
    uint64_t packed = pixels * px->wire_bytes + RFB_SLACK;
    uint8_t *out = malloc(hextile);

    CHECK(rfb_hextile(px, out, hextile - 1) == -EINVAL);
    if (px->wire_bytes == px->elem)
        CHECK(rfb_hextile(px, out, hextile) <= (int64_t)(hextile - RFB_SLACK));
    else
        CHECK(rfb_hextile(px, out, hextile) == -EINVAL);
    free(out);
    out = malloc(trle);
    CHECK(rfb_tiles(px, 16, out, trle - 1) == -EINVAL);
    CHECK(rfb_tiles(px, 16, out, trle) <= (int64_t)(trle - RFB_SLACK));
    free(out);
    out = malloc(zrle);
    CHECK(rfb_tiles(px, 64, out, zrle - 1) == -EINVAL);
    CHECK(rfb_tiles(px, 64, out, zrle) <= (int64_t)(zrle - RFB_SLACK));
    free(out);
    out = malloc(packed);
    CHECK(rfb_pack(px, out, packed - 1) == -EINVAL);
    CHECK(rfb_pack(px, out, packed) == (int64_t)(packed - RFB_SLACK));
    free(out);
}

static void ask_all(const RfbPixels *px, uint32_t max)
{
    uint64_t pixels = (uint64_t)px->width * px->height, size = max * px->wire_bytes + RFB_SLACK;
    uint64_t tiles = (uint64_t)((px->width + 15) / 16) * ((px->height + 15) / 16);
    uint8_t *colours = malloc(size), *numbers = malloc(pixels);
    int64_t *solid = malloc(tiles * sizeof(*solid)), found, rows = 0;

    CHECK(rfb_index_colours(px, max, colours, size - 1, numbers, pixels) == -EINVAL);
    CHECK(rfb_index_colours(px, max, colours, size, numbers, pixels - 1) == -EINVAL);
    found = rfb_index_colours(px, max, colours, size, numbers, pixels);
    CHECK(found >= 0 && found <= max);
    for (uint64_t i = 0; found && i < pixels; i++)
        CHECK(numbers[i] < found);
    CHECK(rfb_solid_tiles(px, solid, tiles - 1) == -EINVAL);
    CHECK(rfb_solid_tiles(px, solid, tiles) == (int64_t)tiles);
    for (RfbPixels rest = *px; rows < px->height; rest.height = px->height - (uint32_t)rows) {
        rest.data = rfb_address(px, 0, (uint32_t)rows);
        found = rfb_strip_rows(&rest, 1 + draw(20), 1 + draw(9));
        CHECK(found >= 1 && found <= rest.height);
        rows += found;
    }
    free(colours);
    free(numbers);
    free(solid);
}

static void every_picture_fits_its_bound(void)
{
    static const uint32_t sides[] = {1, 2, 3, 15, 16, 17, 64, 65, 130};
    static const uint32_t elems[] = {1, 2, 4};

    for (uint32_t i = 0; i < 3000; i++) {
        Picture p = picture(draw(KINDS), sides[draw(9)], sides[draw(9)], elems[draw(3)], draw(3));

        if (p.px.elem == 4 && draw(2)) {
            p.px.wire_bytes = 3;
            p.px.wire_offset = draw(2);
            p.px.mask = 0xffffff;
        }
        p.px.swap = p.px.elem == 4 && draw(2);
        encode_all(&p.px);
        ask_all(&p.px, 1 + draw(256));
        free(p.memory);
    }
}

static void known_bytes(void)
{
    Picture p = picture(0, 17, 1, 4, 0);
    uint8_t out[200];

    CHECK(rfb_hextile(&p.px, out, sizeof(out)) == 6);
    CHECK(memcmp(out, "\x02\x44\x33\x22\x11\x00", 6) == 0);
    p.px.wire_bytes = 3;
    p.px.mask = 0xffffff;
    CHECK(rfb_tiles(&p.px, 64, out, sizeof(out)) == 4);
    CHECK(memcmp(out, "\x01\x44\x33\x22", 4) == 0);
    p.px.swap = 1;
    p.px.wire_offset = 1;
    CHECK(rfb_pack(&p.px, out, sizeof(out)) == 17 * 3);
    CHECK(memcmp(out, "\x22\x33\x44\x22", 4) == 0);
    free(p.memory);
}

static void nonsense_is_refused(void)
{
    Picture p = picture(5, 20, 20, 4, 0);
    static uint8_t out[4096];
    int64_t solid[4];

    for (int i = 0; i < 10; i++) {
        RfbPixels px = p.px;
        bool last = i == 9;

        px.width = i == 0 ? 0 : px.width;
        px.height = i == 1 ? 0 : i == 2 ? 65536 : px.height;
        px.elem = i == 3 ? 3 : px.elem;
        px.stride -= i == 4 ? 4 : i == 5 ? 1 : 0;
        px.wire_bytes = i == 6 ? 5 : i == 7 ? 0 : px.wire_bytes;
        px.wire_offset = i == 8 ? UINT32_MAX : 0;
        CHECK((rfb_hextile(&px, out, sizeof(out)) == -EINVAL) != last);
        CHECK((rfb_tiles(&px, 16, out, sizeof(out)) == -EINVAL) != last);
        CHECK((rfb_pack(&px, out, sizeof(out)) == -EINVAL) != last);
        CHECK((rfb_solid_tiles(&px, solid, 4) == -EINVAL) != last);
        CHECK((rfb_strip_rows(&px, 1, 1) == -EINVAL) != last);
    }
    CHECK(rfb_tiles(&p.px, 32, out, sizeof(out)) == -EINVAL);
    CHECK(rfb_strip_rows(&p.px, 0, 1) == -EINVAL);
    CHECK(rfb_strip_rows(&p.px, 1, 0) == -EINVAL);
    CHECK(rfb_index_colours(&p.px, 0, out, 4096, out, 4096) == -EINVAL);
    CHECK(rfb_index_colours(&p.px, 257, out, 4096, out, 4096) == -EINVAL);
    free(p.memory);
}

/* Colours of one slot: a guest that knows the hash fills the table in one chain. */
static void colliding_colours_are_all_found(void)
{
    RfbPalette palette;
    uint32_t chosen[300], n = 0;

    for (uint32_t c = 0; n < 300; c++)
        if ((c * 0x9e3779b1u) >> 22 == 1023)
            chosen[n++] = c;
    rfb_palette_init(&palette);
    for (uint32_t i = 0; i < 300; i++)
        CHECK(rfb_palette_number(&palette, chosen[i], 256) == (i < 256 ? (int)i : -1));
    for (uint32_t i = 0; i < 256; i++)
        CHECK(rfb_palette_number(&palette, chosen[i], 256) == (int)i);
}

int main(void)
{
    known_bytes();
    nonsense_is_refused();
    colliding_colours_are_all_found();
    every_picture_fits_its_bound();
    return 0;
}
