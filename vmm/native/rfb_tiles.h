/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tiles of TRLE (16x16) and ZRLE (64x64, then deflated by the caller): RFC 6143 sections 7.7.5
 * and 7.7.6. Each tile takes the shortest of raw, one colour, packed palette, run lengths, and run
 * lengths with a palette.
 */
#ifndef VMM_NATIVE_RFB_TILES_H
#define VMM_NATIVE_RFB_TILES_H

#include "rfb_pixels.h"

#define RFB_TRLE_SIDE 16u
#define RFB_ZRLE_SIDE 64u

/* Bytes a buffer needs for any picture of this size; side is one of the two above. */
uint64_t rfb_tiles_bound(const RfbPixels *px, uint32_t side);
/* Encode the whole picture. Bytes written, or -EINVAL. */
int64_t rfb_tiles(const RfbPixels *px, uint32_t side, uint8_t *out, uint64_t size);

#endif
