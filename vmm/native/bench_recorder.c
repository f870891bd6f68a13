/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bench_recorder.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "bql.h"
#include "bqlrec_steps.h"
#include "futex.h"
#include "thread.h"

#define MAX_ROUNDS 1001

enum Gate { GATE_CLOSED, GATE_OPEN, GATE_GIVE_UP };
enum { RAW, STAMP, ON, OFF, KINDS };

typedef struct Bench {
    pthread_mutex_t raw;
    BqlRec *rec;
    Bql *bql;
    uint32_t site;
    unsigned iterations;
    bool recorded;         /* contended workers: which lock */
    _Atomic uint32_t gate; /* futex word, enum Gate: contended workers start together */
    uint64_t protected_word;
} Bench;

static double now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

static int bench_open(Bench *bench, const char *path, unsigned iterations)
{
    BqlRecConfig config = {.path = path, .vm_name = "benchmark"};

    *bench = (Bench){.iterations = iterations};
    bench->rec = bqlrec_open(&config, NULL);
    if (bench->rec == NULL) {
        return -errno;
    }
    bench->bql = bql_new(NULL, bench->rec);
    if (bench->bql == NULL) {
        int error = -errno;
        bqlrec_close(bench->rec, true);
        return error;
    }
    pthread_mutex_init(&bench->raw, NULL);
    bench->site = BQL_SITE_HERE(bench->bql);
    return 0;
}

static void bench_close(Bench *bench)
{
    bql_free(bench->bql);
    bqlrec_close(bench->rec, true);
    pthread_mutex_destroy(&bench->raw);
}

static void raw_pairs(Bench *bench)
{
    for (unsigned i = 0; i < bench->iterations; i++) {
        pthread_mutex_lock(&bench->raw);
        pthread_mutex_unlock(&bench->raw);
    }
}

static void bql_pairs(Bench *bench)
{
    for (unsigned i = 0; i < bench->iterations; i++) {
        bql_lock_site(bench->bql, bench->site);
        bql_unlock(bench->bql);
    }
}

static void stamps(Bench *bench)
{
    for (unsigned i = 0; i < bench->iterations; i++) {
        uint64_t stamp = bqlrec_now(bench->rec);
        __asm__ volatile("" : : "r"(stamp));
    }
}

static double time_one(Bench *bench, int kind)
{
    double begin;

    bqlrec_set_enabled(bench->rec, kind == ON);
    begin = now_ns();
    if (kind == RAW) {
        raw_pairs(bench);
    } else if (kind == STAMP) {
        stamps(bench);
    } else {
        bql_pairs(bench);
    }
    return (now_ns() - begin) / bench->iterations;
}

static void pin(int cpu, cpu_set_t *old)
{
    cpu_set_t set;

    sched_getaffinity(0, sizeof(*old), old);
    if (cpu >= 0 && cpu < CPU_SETSIZE) {
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        sched_setaffinity(0, sizeof(set), &set);
    }
}

static void open_gate(Bench *bench, enum Gate to)
{
    atomic_store_explicit(&bench->gate, to, memory_order_release);
    futex_wake(&bench->gate, INT_MAX);
}

static void wait_at_gate(void *opaque)
{
    Bench *bench = opaque;

    while (atomic_load_explicit(&bench->gate, memory_order_acquire) == GATE_CLOSED) {
        futex_wait(&bench->gate, GATE_CLOSED);
    }
}

/*
 * Median times of interleaved rounds. A second thread exists meanwhile: in a process that never
 * had one, the C library's mutex leaves out its atomic instructions, and no VMM is such a process.
 */
static int time_rounds(Bench *bench, unsigned rounds, double *const times[KINDS])
{
    static const unsigned warm_up = 2;
    VmmThreadSpec spec = {"bench", BQLREC_ROLE_OTHER, -1, NULL};
    VmmThread *second = vmm_thread_spawn(&spec, wait_at_gate, bench);

    if (second == NULL) {
        return -errno;
    }
    for (unsigned round = 0; round < rounds + warm_up; round++) {
        for (int kind = 0; kind < KINDS; kind++) {
            times[kind][round < warm_up ? 0 : round - warm_up] = time_one(bench, kind);
        }
    }
    open_gate(bench, GATE_OPEN);
    vmm_thread_join(second);
    return 0;
}

int bench_recorder_pair(const char *path, int cpu, unsigned rounds, unsigned iterations,
                        BenchRecorderPair *out)
{
    double *times[KINDS];
    double *all;
    cpu_set_t old;
    Bench bench;
    int error;

    if (rounds == 0 || rounds > MAX_ROUNDS || iterations == 0) {
        return -EINVAL;
    }
    error = bench_open(&bench, path, iterations);
    if (error != 0) {
        return error;
    }
    all = calloc((size_t)rounds * KINDS, sizeof(double));
    if (all == NULL) {
        bench_close(&bench);
        return -ENOMEM;
    }
    pin(cpu, &old);
    for (int kind = 0; kind < KINDS; kind++) {
        times[kind] = all + (size_t)kind * rounds;
    }
    error = time_rounds(&bench, rounds, times);
    sched_setaffinity(0, sizeof(old), &old);
    if (error == 0) {
        *out = (BenchRecorderPair){median(times[RAW], rounds), median(times[STAMP], rounds),
                                   median(times[ON], rounds), median(times[OFF], rounds)};
    }
    free(all);
    bench_close(&bench);
    return error;
}

static void contend(void *opaque)
{
    Bench *bench = opaque;
    uint32_t gate;

    /* Acquire: partner is the release store in open_gate(). */
    while ((gate = atomic_load_explicit(&bench->gate, memory_order_acquire)) == GATE_CLOSED) {
        futex_wait(&bench->gate, GATE_CLOSED);
    }
    for (unsigned i = 0; gate == GATE_OPEN && i < bench->iterations; i++) {
        if (bench->recorded) {
            bql_lock_site(bench->bql, bench->site);
            bench->protected_word++;
            bql_unlock(bench->bql);
        } else {
            pthread_mutex_lock(&bench->raw);
            bench->protected_word++;
            pthread_mutex_unlock(&bench->raw);
        }
    }
}

/* Pairs per second of one round, or a negative errno. */
static double contended_round(Bench *bench, unsigned threads, bool recorded)
{
    VmmThreadSpec spec = {"bench", BQLREC_ROLE_OTHER, -1, bench->rec};
    VmmThread *workers[BENCH_RECORDER_MAX_THREADS];
    unsigned started = 0;
    int error = 0;
    double begin;

    bench->recorded = recorded;
    atomic_store_explicit(&bench->gate, GATE_CLOSED, memory_order_relaxed);
    for (; started < threads; started++) {
        workers[started] = vmm_thread_spawn(&spec, contend, bench);
        if (workers[started] == NULL) {
            error = errno;
            break;
        }
    }
    begin = now_ns();
    open_gate(bench, error == 0 ? GATE_OPEN : GATE_GIVE_UP);
    for (unsigned i = 0; i < started; i++) {
        vmm_thread_join(workers[i]);
    }
    return error == 0 ? (double)threads * bench->iterations / (now_ns() - begin) * 1e9 : -error;
}

int bench_recorder_contended(const char *path, unsigned threads, unsigned rounds,
                             unsigned iterations, BenchRecorderContended *out)
{
    double rates[2][MAX_ROUNDS];
    Bench bench;
    int error;

    if (threads == 0 || threads > BENCH_RECORDER_MAX_THREADS || rounds == 0 ||
        rounds > MAX_ROUNDS || iterations == 0) {
        return -EINVAL;
    }
    error = bench_open(&bench, path, iterations);
    for (unsigned round = 0; error == 0 && round < rounds; round++) {
        for (int recorded = 0; recorded < 2; recorded++) {
            rates[recorded][round] = contended_round(&bench, threads, recorded != 0);
            if (rates[recorded][round] < 0) {
                error = (int)rates[recorded][round];
            }
        }
    }
    if (error == 0) {
        *out = (BenchRecorderContended){median(rates[0], rounds), median(rates[1], rounds)};
    }
    if (bench.bql != NULL) {
        bench_close(&bench);
    }
    return error;
}
