/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hextile (RFC 6143 section 7.7.4): tiles of 16x16 pixels, each raw or subrectangles on a ground.
 */
#ifndef VMM_NATIVE_RFB_HEXTILE_H
#define VMM_NATIVE_RFB_HEXTILE_H

#include "rfb_pixels.h"

/* Bytes a buffer needs for any picture of this size. */
uint64_t rfb_hextile_bound(const RfbPixels *px);
/* Encode the whole picture; wire_bytes must be elem. Bytes written, or -EINVAL. */
int64_t rfb_hextile(const RfbPixels *px, uint8_t *out, uint64_t size);

#endif
