/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "histogram.h"

void guest_histogram_merge(struct guest_histogram *into, const struct guest_histogram *from)
{
    into->count += from->count;
    into->sum += from->sum;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < GUEST_HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t guest_histogram_upper(unsigned bucket)
{
    unsigned shift;

    if (bucket < 8)
        return bucket;
    shift = bucket / 8 - 1;
    /* The last bucket's end is 2^64 - 1: the subtraction wraps as it should. */
    return ((uint64_t)(8 + bucket % 8 + 1) << shift) - 1;
}

uint64_t guest_histogram_quantile(const struct guest_histogram *h, unsigned permille)
{
    /* How many values the answer must cover, rounded up, without overflow for any count. */
    uint64_t wanted = h->count / 1000 * permille + (h->count % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;

    if (!h->count)
        return 0;
    if (!wanted)
        wanted = 1;
    for (unsigned i = 0; i < GUEST_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted) {
            uint64_t upper = guest_histogram_upper(i);

            return upper < h->max ? upper : h->max;
        }
    }
    return h->max;
}

uint64_t guest_histogram_mean(const struct guest_histogram *h)
{
    return h->count ? h->sum / h->count : 0;
}
