/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: rfb. Mirrors the headers rfb_*.h; see there for the contract. */
typedef struct RfbPixels {
    const void *data;
    uint64_t stride;
    uint32_t width, height;
    uint32_t elem;
    uint32_t mask;
    uint32_t swap;
    uint32_t wire_offset, wire_bytes;
} RfbPixels;
#define RFB_SLACK ...
#define RFB_TRLE_SIDE ...
#define RFB_ZRLE_SIDE ...
#define RFB_TIGHT_SIDE ...
uint64_t rfb_hextile_bound(const RfbPixels *px);
int64_t rfb_hextile(const RfbPixels *px, uint8_t *out, uint64_t size);
uint64_t rfb_tiles_bound(const RfbPixels *px, uint32_t side);
int64_t rfb_tiles(const RfbPixels *px, uint32_t side, uint8_t *out, uint64_t size);
int64_t rfb_solid_tiles(const RfbPixels *px, int64_t *out, uint64_t count);
int64_t rfb_index_colours(const RfbPixels *px, uint32_t max, uint8_t *colours,
                          uint64_t colours_size, uint8_t *numbers, uint64_t numbers_size);
int64_t rfb_strip_rows(const RfbPixels *px, uint32_t max_rows, uint32_t min_rows);
int64_t rfb_pack(const RfbPixels *px, uint8_t *out, uint64_t size);
