/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The colours of an area, numbered as they appear: a hash table that a caller puts on its stack.
 *
 * A guest chooses the pixels and so may choose ones that collide; with at most 256 colours in 1024
 * slots a search then looks at 256 slots, and never more.
 */
#ifndef VMM_NATIVE_RFB_PALETTE_H
#define VMM_NATIVE_RFB_PALETTE_H

#include <stdint.h>
#include <string.h>

#define RFB_PALETTE_COLOURS 256u
#define RFB_PALETTE_SLOTS 1024u

typedef struct RfbPalette {
    uint32_t count;
    uint32_t colours[RFB_PALETTE_COLOURS];
    uint16_t slots[RFB_PALETTE_SLOTS]; /* number of the colour plus one; 0: free */
} RfbPalette;

static inline void rfb_palette_init(RfbPalette *palette)
{
    palette->count = 0;
    memset(palette->slots, 0, sizeof(palette->slots));
}

/* The colour's number, entered if it is new; -1 where it would be number `max` (<= 256). */
static inline int rfb_palette_number(RfbPalette *palette, uint32_t colour, uint32_t max)
{
    uint32_t slot = (colour * 0x9e3779b1u) >> 22;

    while (palette->slots[slot]) {
        uint32_t number = palette->slots[slot] - 1u;

        if (palette->colours[number] == colour)
            return (int)number;
        slot = (slot + 1) % RFB_PALETTE_SLOTS;
    }
    if (palette->count >= max)
        return -1;
    palette->colours[palette->count++] = colour;
    palette->slots[slot] = (uint16_t)palette->count;
    return (int)palette->count - 1;
}

#endif
