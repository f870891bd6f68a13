/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log-linear histogram: eight buckets per power of two, so a value read back is at most 12.5 %
 * above the one recorded. Values 0..7 are exact. One writer at a time; all zero bytes = empty.
 */
#ifndef GUEST_HISTOGRAM_H
#define GUEST_HISTOGRAM_H

#include <stdint.h>

enum { GUEST_HISTOGRAM_BUCKETS = 496 };

struct guest_histogram {
    uint64_t count, sum, max;
    uint64_t buckets[GUEST_HISTOGRAM_BUCKETS];
};

static inline unsigned guest_histogram_bucket(uint64_t value)
{
    unsigned exponent;

    if (value < 8)
        return (unsigned)value;
    exponent = 63 - (unsigned)__builtin_clzll(value);
    return (exponent - 2) * 8 + ((value >> (exponent - 3)) & 7);
}

static inline void guest_histogram_record(struct guest_histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    if (value > h->max)
        h->max = value;
    h->buckets[guest_histogram_bucket(value)]++;
}

/* Add everything recorded in from. */
void guest_histogram_merge(struct guest_histogram *into, const struct guest_histogram *from);
/* Largest value that falls into the bucket. */
uint64_t guest_histogram_upper(unsigned bucket);
/* Smallest bucket end (not above max) that permille/1000 of the values do not exceed; 0 if empty.
 * permille: 0..1000. */
uint64_t guest_histogram_quantile(const struct guest_histogram *h, unsigned permille);
/* Rounded down; 0 if empty. */
uint64_t guest_histogram_mean(const struct guest_histogram *h);

#endif
