/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The recording's clock. Ticks are the time stamp counter where the processor promises that it
 * runs at one rate in all power states (CPUID 80000007h, EDX bit 8), else CLOCK_MONOTONIC.
 */
#include <string.h>

#include "bqlrec_private.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define NS_PER_S 1000000000u
#define FIRST_SPAN_NS 1000000u /* between the two triples of an open: rate to about 100 ppm */
#define TRIPLE_TRIES 8

bool bqlrec_clock_has_invariant_tsc(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1u << 8)) != 0;
#else
    return false;
#endif
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t bqlrec_ticks(const BqlRec *rec)
{
#if defined(__x86_64__)
    _mm_lfence();
#endif
    return bqlrec_now(rec);
}

/* Ticks as the middle of two readings around the other clocks; the tightest of a few tries. */
static BqlRecClockPair take_triple(const BqlRec *rec)
{
    BqlRecClockPair best = {0, 0, 0};
    uint64_t best_span = UINT64_MAX;

    for (int i = 0; i < TRIPLE_TRIES; i++) {
        uint64_t before = bqlrec_ticks(rec);
        uint64_t monotonic = clock_ns(CLOCK_MONOTONIC);
        uint64_t after = bqlrec_ticks(rec);
        uint64_t realtime = clock_ns(CLOCK_REALTIME);

        if (after - before < best_span) {
            best_span = after - before;
            best = (BqlRecClockPair){
                .ticks = before + (after - before) / 2,
                .monotonic_ns = monotonic,
                .realtime_ns = realtime,
            };
        }
    }
    return best;
}

static void store_sync_locked(BqlRec *rec, const BqlRecClockPair *pair)
{
    BqlRecHeader *header = rec->header;
    uint32_t seq = bqlrec_get(header->clock_seq);

    if (pair->ticks <= bqlrec_get(header->clock_ticks)) {
        return; /* the clock jumped back: the rate that is known is the right one */
    }
    bqlrec_set(header->clock_seq, seq + 1);
    bqlrec_fence_release();
    bqlrec_set(header->clock_ticks, pair->ticks);
    bqlrec_set(header->clock_monotonic_ns, pair->monotonic_ns);
    bqlrec_set(header->clock_realtime_ns, pair->realtime_ns);
    atomic_store_explicit(&header->clock_seq, seq + 2, memory_order_release);
    bqlrec_set(rec->shared->next_sync, pair->ticks + rec->shared->sync_interval);
}

void bqlrec_clock_start(BqlRec *rec)
{
    BqlRecClockPair *start = &rec->header->clock_start;
    BqlRecClockPair second;

    *start = take_triple(rec);
    do {
        second = take_triple(rec);
    } while (second.monotonic_ns - start->monotonic_ns < FIRST_SPAN_NS);
    rec->shared->sync_interval = (second.ticks - start->ticks) * (NS_PER_S / FIRST_SPAN_NS);
    store_sync_locked(rec, &second);
}

void bqlrec_clock_sync(BqlRec *rec)
{
    BqlRecClockPair pair;

    if (rec->shared->forked) {
        return;
    }
    pthread_mutex_lock(&rec->shared->mutex);
    pair = take_triple(rec);
    store_sync_locked(rec, &pair);
    pthread_mutex_unlock(&rec->shared->mutex);
}

/* Called from contended paths, where a microsecond each second is nothing. */
void bqlrec_clock_sync_if_due(BqlRec *rec, uint64_t now)
{
    if (now < bqlrec_get(rec->shared->next_sync)) {
        return;
    }
    if (pthread_mutex_trylock(&rec->shared->mutex) == 0) {
        BqlRecClockPair pair = take_triple(rec);
        store_sync_locked(rec, &pair);
        pthread_mutex_unlock(&rec->shared->mutex);
    }
}
