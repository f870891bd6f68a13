/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A steady load on a recorded lock, for what has to keep up with one.
 *
 *   recording_load PATH THREADS RATE SECONDS
 *
 * THREADS threads take the lock RATE times a second all together, in bursts on a grid of 250 µs so
 * that the load leaves its processor time to others. A thread that comes late leaves out what it
 * missed instead of catching up: no burst is longer than planned. Prints "ready" when all threads
 * run and waits for a line; prints at the end the acquisitions and the seconds they took, and
 * leaves the recording behind.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bql.h"
#include "check.h"

#define TICK_NS INT64_C(250000)
#define MAX_THREADS 64

typedef struct Load {
    Bql *bql;
    BqlRec *rec;
    pthread_barrier_t ready;
    int64_t per_tick;
    int64_t ticks;
    int64_t start;
    _Atomic int64_t done;
} Load;

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void sleep_until(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) != 0) {
    }
}

static void *take_turns(void *opaque)
{
    Load *load = opaque;
    uint32_t sites[4];

    bqlrec_thread_enter(load->rec, BQLREC_ROLE_VCPU, "load");
    for (uint32_t i = 0; i < 4; i++) {
        sites[i] = bql_site(load->bql, "load.c", 10 + i, "take_turns", NULL);
    }
    pthread_barrier_wait(&load->ready);
    pthread_barrier_wait(&load->ready);
    int64_t done = 0;
    for (int64_t tick = 0; tick < load->ticks; tick = (now_ns() - load->start) / TICK_NS + 1) {
        sleep_until(load->start + tick * TICK_NS);
        for (int64_t due = done + load->per_tick; done < due; done++) {
            bql_lock_site(load->bql, sites[(done >> 3) & 3]);
            bql_unlock(load->bql);
        }
    }
    atomic_fetch_add(&load->done, done);
    return NULL;
}

int main(int argc, char **argv)
{
    char err[BQLREC_ERR_SIZE] = "";
    pthread_t threads[MAX_THREADS];
    Load load = {0};

    CHECK(argc == 5);
    int count = atoi(argv[2]);
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    CHECK(count > 0 && count <= MAX_THREADS && rate > 0 && seconds > 0);
    BqlRecConfig config = {.path = argv[1], .vm_name = "load"};
    load.rec = bqlrec_open(&config, err);
    if (load.rec == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    load.bql = bql_new(NULL, load.rec);
    CHECK(load.bql != NULL);
    load.ticks = (int64_t)(seconds * 1e9 / (double)TICK_NS);
    load.per_tick = (int64_t)(rate * (double)TICK_NS / 1e9 / count);
    CHECK(load.per_tick > 0);
    pthread_barrier_init(&load.ready, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, take_turns, &load) == 0);
    }
    pthread_barrier_wait(&load.ready);
    puts("ready");
    fflush(stdout);
    CHECK(getchar() != 'q'); /* the reader is attached */
    load.start = now_ns();
    pthread_barrier_wait(&load.ready);
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    double took = (double)(now_ns() - load.start) / 1e9;
    printf("%lld %.3f\n", (long long)atomic_load(&load.done), took);
    pthread_barrier_destroy(&load.ready);
    bql_free(load.bql);
    bqlrec_close(load.rec, false);
    return 0;
}
