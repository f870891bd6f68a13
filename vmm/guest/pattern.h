/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test data whose every 8 bytes depend on the seed and on where on the disk they lie, so that a
 * lost, torn, stale or misplaced write shows. pattern.py computes the same on the host.
 *
 * The little-endian word at byte offset o (a multiple of 8) is mix(seed + (o/8 + 1) * GOLDEN),
 * SplitMix64's output function.
 */
#ifndef GUEST_PATTERN_H
#define GUEST_PATTERN_H

#include <stdint.h>

/* Word number `index`, 0 and up, of the data. */
uint64_t guest_pattern_word(uint64_t index, uint64_t seed);
/* buffer: 8-byte aligned; offset and length: bytes, multiples of 8. */
void guest_pattern_fill(void *buffer, uint64_t offset, uint64_t length, uint64_t seed);
/* Number of bytes that differ from the pattern. */
uint64_t guest_pattern_mismatches(const void *buffer, uint64_t offset, uint64_t length,
                                  uint64_t seed);

#endif
