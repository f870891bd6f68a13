/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What recording costs, measured in one run: rounds of raw and recorded pairs are interleaved,
 * because absolute times drift, and each figure is the median of its rounds.
 */
#ifndef VMM_NATIVE_BENCH_RECORDER_H
#define VMM_NATIVE_BENCH_RECORDER_H

#include <stdint.h>

#define BENCH_RECORDER_MAX_THREADS 16

typedef struct BenchRecorderPair {
    double raw_pair_ns;  /* pthread_mutex_lock + unlock */
    double timestamp_ns; /* one reading of the recording's clock */
    double on_pair_ns;   /* bql_lock_site + bql_unlock, everything recorded */
    double off_pair_ns;  /* the same with recording switched off */
} BenchRecorderPair;

typedef struct BenchRecorderContended {
    double raw_pairs_per_s; /* all threads together */
    double recorded_pairs_per_s;
} BenchRecorderContended;

/* path: of the recording, removed afterwards. cpu: pin to it, or -1. 0 or -errno. */
int bench_recorder_pair(const char *path, int cpu, unsigned rounds, unsigned iterations,
                        BenchRecorderPair *out);
/* threads 1..BENCH_RECORDER_MAX_THREADS, each taking the lock `iterations` times per round. */
int bench_recorder_contended(const char *path, unsigned threads, unsigned rounds,
                             unsigned iterations, BenchRecorderContended *out);

#endif
