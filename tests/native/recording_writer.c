/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes recordings whose content is known, for the tests of the reader.
 *
 *   recording_writer exact PATH   a main thread makes a vCPU wait 23 times, then closes the file
 *   recording_writer busy PATH    three threads fight for the lock until standard input ends;
 *                                 prints "ready" once each of them has had it
 *
 * PATH may be "default": where the recorder puts its files by itself.
 * The order of threads is forced by semaphores and by the recording's own count of waiters.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bql.h"
#include "check.h"

#define WAITS 23
#define TRYLOCKS 17
#define FIGHTERS 3

typedef struct Exact {
    Bql *bql;
    BqlRec *rec;
    uint32_t serial;
    sem_t request, served;
} Exact;

static void await_waiter(BqlRec *rec)
{
    const BqlRecHeader *header = bqlrec_header(rec);
    BqlRecLive *live = (BqlRecLive *)((uintptr_t)header + header->live_offset);

    while (atomic_load(&live->waiters) == 0) {
        sched_yield();
    }
}

static void *exact_vcpu(void *opaque)
{
    Exact *exact = opaque;

    CHECK(bqlrec_thread_enter(exact->rec, BQLREC_ROLE_VCPU, "CPU 0/KVM") >= 0);
    for (int i = 0; i < WAITS; i++) {
        sem_wait(&exact->request);
        bql_lock_site(exact->bql, exact->serial);
        bql_unlock(exact->bql);
        sem_post(&exact->served);
    }
    for (int i = 0; i < TRYLOCKS; i++) {
        CHECK(bql_trylock(exact->bql));
        bql_unlock(exact->bql);
    }
    return NULL;
}

static void write_exact(Bql *bql, BqlRec *rec)
{
    Exact exact = {.bql = bql, .rec = rec};
    uint32_t poll = bql_site(bql, "main-loop.c", 301, "os_host_main_loop_wait", NULL);
    pthread_t vcpu;

    exact.serial = bql_site(bql, "physmem.c", 2874, "mmio_read", "serial");
    sem_init(&exact.request, 0, 0);
    sem_init(&exact.served, 0, 0);
    CHECK(bqlrec_thread_enter(rec, BQLREC_ROLE_MAIN, "writer") >= 0);
    CHECK(pthread_create(&vcpu, NULL, exact_vcpu, &exact) == 0);
    for (int i = 0; i < WAITS; i++) {
        bql_lock_site(bql, poll);
        sem_post(&exact.request);
        bql_blocked_begin(bql, BQLREC_BLOCKED_DRAIN);
        await_waiter(rec);
        bql_blocked_end(bql);
        bql_unlock(bql);
        sem_wait(&exact.served);
    }
    pthread_join(vcpu, NULL);
}

typedef struct Fight {
    Bql *bql;
    BqlRec *rec;
    _Atomic bool stop;
    sem_t had_it;
} Fight;

static void *fighter(void *opaque)
{
    Fight *fight = opaque;

    bqlrec_thread_enter(fight->rec, BQLREC_ROLE_VCPU, "fighter");
    for (unsigned n = 0; !atomic_load(&fight->stop); n++) {
        bql_lock(fight->bql);
        bql_unlock(fight->bql);
        if (bql_trylock(fight->bql)) {
            bql_unlock(fight->bql);
        }
        if (n == 0) {
            sem_post(&fight->had_it);
        }
    }
    return NULL;
}

static void write_busy(Bql *bql, BqlRec *rec)
{
    Fight fight = {.bql = bql, .rec = rec};
    pthread_t threads[FIGHTERS];
    char byte;

    sem_init(&fight.had_it, 0, 0);
    for (int i = 0; i < FIGHTERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, fighter, &fight) == 0);
    }
    for (int i = 0; i < FIGHTERS; i++) {
        sem_wait(&fight.had_it);
    }
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    atomic_store(&fight.stop, true);
    for (int i = 0; i < FIGHTERS; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    char err[BQLREC_ERR_SIZE] = "";
    const char *path = strcmp(argv[2], "default") == 0 ? NULL : argv[2];
    BqlRecConfig config = {.path = path, .vm_name = "known"};
    BqlRec *rec = bqlrec_open(&config, err);

    if (rec == NULL) {
        fprintf(stderr, "%s\n", err);
        return 1;
    }
    Bql *bql = bql_new(NULL, rec);
    CHECK(bql != NULL);
    if (strcmp(argv[1], "exact") == 0) {
        write_exact(bql, rec);
    } else {
        write_busy(bql, rec);
    }
    bql_free(bql);
    bqlrec_close(rec, false);
    return 0;
}
