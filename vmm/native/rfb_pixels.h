/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture that the RFB encoders read, and how its pixels get onto the wire.
 *
 * Why the tile analysis of RFB is C, when the rest of the display is numpy: QEMU's VNC server does
 * a 1024x768 screen of text in 2.2 ms (Hextile) and 6.2 ms (ZRLE, with deflate); one sort of that
 * picture's tiles, the first of about ten passes numpy would need, takes 0.6 to 8.8 ms. And each
 * numpy call takes the GIL back from the main loop, while one call into here gives it up for a
 * whole rectangle. deflate and JPEG stay in Python: those libraries give the GIL up by themselves.
 *
 * All functions are pure: they read the picture, write into the caller's buffers, allocate
 * nothing, and refuse (-EINVAL) a buffer that the worst picture of that size could overrun.
 */
#ifndef VMM_NATIVE_RFB_PIXELS_H
#define VMM_NATIVE_RFB_PIXELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RFB_MAX_SIDE 65535u
/* What an encoder may write behind its result: pixels are stored four bytes at a time. */
#define RFB_SLACK 64u

/*
 * width, height: 1..RFB_MAX_SIDE pixels. stride: bytes from a row to the next one.
 * elem: bytes of a pixel in memory, 1, 2 or 4, in the byte order of the wire.
 * mask: applied to each pixel's value, so that unused bits make no difference between colours.
 * swap: the bytes of a 4-byte element are reversed on their way to the wire.
 * wire_offset, wire_bytes: which of the element's bytes (after that) are sent, for PIXEL all; for
 * CPIXEL and TPIXEL, three of four.
 */
typedef struct RfbPixels {
    const void *data;
    uint64_t stride;
    uint32_t width, height;
    uint32_t elem;
    uint32_t mask;
    uint32_t swap;
    uint32_t wire_offset, wire_bytes;
} RfbPixels;

static inline bool rfb_pixels_valid(const RfbPixels *px)
{
    return px->width >= 1 && px->width <= RFB_MAX_SIDE && px->height >= 1 &&
           px->height <= RFB_MAX_SIDE && (px->elem == 1 || px->elem == 2 || px->elem == 4) &&
           px->stride >= (uint64_t)px->width * px->elem && px->stride % px->elem == 0 &&
           (uintptr_t)px->data % px->elem == 0 && px->wire_bytes >= 1 && px->wire_offset <= 4 &&
           px->wire_offset + px->wire_bytes <= px->elem && (!px->swap || px->elem == 4);
}

static inline const uint8_t *rfb_address(const RfbPixels *px, uint32_t x, uint32_t y)
{
    return (const uint8_t *)px->data + y * px->stride + (size_t)x * px->elem;
}

/* Read n pixels from (x, y) to the right, masked. */
static inline void rfb_load(const RfbPixels *px, uint32_t x, uint32_t y, uint32_t n, uint32_t *out)
{
    const uint8_t *row = rfb_address(px, x, y);
    uint32_t mask = px->mask;

    if (px->elem == 4) {
        const uint32_t *from = (const uint32_t *)(const void *)row;

        for (uint32_t i = 0; i < n; i++)
            out[i] = from[i] & mask;
    } else if (px->elem == 2) {
        const uint16_t *from = (const uint16_t *)(const void *)row;

        for (uint32_t i = 0; i < n; i++)
            out[i] = from[i] & mask;
    } else {
        for (uint32_t i = 0; i < n; i++)
            out[i] = row[i] & mask;
    }
}

/* A tile of at most side x side pixels, its rows one after the other. Returns the pixels. */
static inline uint32_t rfb_load_tile(const RfbPixels *px, uint32_t x, uint32_t y, uint32_t w,
                                     uint32_t h, uint32_t *out)
{
    for (uint32_t row = 0; row < h; row++)
        rfb_load(px, x, y + row, w, out + row * w);
    return w * h;
}

/* Store one pixel as the wire wants it; may touch up to three bytes behind it. */
static inline uint8_t *rfb_put(const RfbPixels *px, uint8_t *to, uint32_t value)
{
    if (px->swap)
        value = __builtin_bswap32(value);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    value >>= 8 * px->wire_offset;
#else
    value <<= 8 * (4 - px->elem + px->wire_offset);
#endif
    memcpy(to, &value, sizeof(value));
    return to + px->wire_bytes;
}

static inline uint32_t rfb_min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

#endif
