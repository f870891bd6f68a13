/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pattern.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the pattern is defined as little-endian words"
#endif

uint64_t guest_pattern_word(uint64_t index, uint64_t seed)
{
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void guest_pattern_fill(void *buffer, uint64_t offset, uint64_t length, uint64_t seed)
{
    uint64_t *words = buffer;

    for (uint64_t i = 0; i < length / 8; i++)
        words[i] = guest_pattern_word(offset / 8 + i, seed);
}

uint64_t guest_pattern_mismatches(const void *buffer, uint64_t offset, uint64_t length,
                                  uint64_t seed)
{
    const uint64_t *words = buffer;
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < length / 8; i++) {
        uint64_t difference = words[i] ^ guest_pattern_word(offset / 8 + i, seed);

        for (; difference; difference >>= 8)
            wrong += (difference & 0xff) != 0;
    }
    return wrong;
}
