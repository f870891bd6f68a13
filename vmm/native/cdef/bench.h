/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: bench. Mirrors the header of the same name; see there for the contract. */
typedef struct BenchRecorderPair {
    double raw_pair_ns;
    double timestamp_ns;
    double on_pair_ns;
    double off_pair_ns;
} BenchRecorderPair;
typedef struct BenchRecorderContended {
    double raw_pairs_per_s;
    double recorded_pairs_per_s;
} BenchRecorderContended;
int bench_recorder_pair(const char *path, int cpu, unsigned rounds, unsigned iterations,
                        BenchRecorderPair *out);
int bench_recorder_contended(const char *path, unsigned threads, unsigned rounds,
                             unsigned iterations, BenchRecorderContended *out);
