/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fuzzer's input as a stream; behind its end everything is zero. */
#ifndef TESTS_FUZZ_BYTES_H
#define TESTS_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>

typedef struct Bytes {
    const uint8_t *at;
    size_t left;
} Bytes;

/* The next n (1..8) bytes, little-endian. */
static inline uint64_t bytes_take(Bytes *bytes, unsigned n)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < n && bytes->left > 0; i++, bytes->left--) {
        value |= (uint64_t)*bytes->at++ << (8 * i);
    }
    return value;
}

static inline const uint8_t *bytes_run(Bytes *bytes, size_t wanted, size_t *got)
{
    const uint8_t *run = bytes->at;

    *got = wanted < bytes->left ? wanted : bytes->left;
    bytes->at += *got;
    bytes->left -= *got;
    return run;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
