/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Tight asks about an area: where it is of one colour, which colours it has, its pixels. */
#ifndef VMM_NATIVE_RFB_TIGHT_H
#define VMM_NATIVE_RFB_TIGHT_H

#include "rfb_pixels.h"

#define RFB_TIGHT_SIDE 16u

/*
 * The colour of each 16x16 tile, row by row, or -1 for a tile of several. count: entries of out, at
 * least one a tile. Returns the tiles, or -EINVAL.
 */
int64_t rfb_solid_tiles(const RfbPixels *px, int64_t *out, uint64_t count);
/*
 * Number the colours, at most max (1..256) of them: colours gets them as pixels on the wire,
 * numbers one byte a pixel. Returns how many there are, 0 for more than max, or -EINVAL. colours
 * has max * wire_bytes + RFB_SLACK bytes at least, numbers width * height.
 */
int64_t rfb_index_colours(const RfbPixels *px, uint32_t max, uint8_t *colours,
                          uint64_t colours_size, uint8_t *numbers, uint64_t numbers_size);
/*
 * How many rows the next strip of the picture should have, 1 to max_rows: as many as share two
 * colours, if those are at least min_rows (1 or more) or all there are; else as many as come before
 * such rows. Returns -EINVAL for a limit of 0.
 */
int64_t rfb_strip_rows(const RfbPixels *px, uint32_t max_rows, uint32_t min_rows);
/* The pixels as the wire wants them; out has width * height * wire_bytes + RFB_SLACK at least. */
int64_t rfb_pack(const RfbPixels *px, uint8_t *out, uint64_t size);

#endif
