/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that looks like QEMU to the preloaded recorder, which is linked into it: the exported
 * pointers, read at each use, and a big lock behind them. The recording is opened at the first
 * acquisition, so a test sets bqlpre.path before it.
 */
#ifndef TESTS_NATIVE_FAKE_QEMU_H
#define TESTS_NATIVE_FAKE_QEMU_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "preload.h"
#include "recording.h"

#define TIME_LIMIT_S 60 /* a lost wake-up would hang */

static pthread_mutex_t bql = PTHREAD_MUTEX_INITIALIZER;
static char work[64]; /* a private directory */

static void fake_lock(void *mutex, const char *file, int line)
{
    (void)file;
    (void)line;
    CHECK(pthread_mutex_lock(mutex) == 0);
}

static void fake_wait(void *cond, void *mutex, const char *file, int line)
{
    (void)file;
    (void)line;
    CHECK(pthread_cond_wait(cond, mutex) == 0);
}

/* What the constructor looks for; the constructor runs before main() but after these have values.
 * QEMU reads them atomically, since anybody may swap them. */
void (*_Atomic bql_mutex_lock_func)(void *, const char *, int) = fake_lock;
void (*_Atomic qemu_cond_wait_func)(void *, void *, const char *, int) = fake_wait;

static inline void fake_bql_lock(const char *file, int line)
{
    atomic_load (&bql_mutex_lock_func)(&bql, file, line);
}

static inline void fake_bql_unlock(void)
{
    CHECK(pthread_mutex_unlock(&bql) == 0);
}

static inline void fake_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const char *file,
                                  int line)
{
    atomic_load (&qemu_cond_wait_func)(cond, mutex, file, line);
}

static inline void start_test_program(void)
{
    static char path[96];

    alarm(TIME_LIMIT_S);
    snprintf(work, sizeof(work), "/tmp/preload_test.XXXXXX");
    CHECK(mkdtemp(work) != NULL);
    snprintf(path, sizeof(path), "%s/qemu.bql", work);
    bqlpre.path = path;
}

static inline void end_test_program(void)
{
    CHECK(unlink(bqlpre.path) == 0);
    CHECK(rmdir(work) == 0);
}

static inline const BqlRecHeader *recorded(void)
{
    CHECK(bqlpre_recorder() != NULL);
    return bqlrec_header(bqlpre.rec);
}

/* Site by its place and region; CHECKs that there is one. */
static inline uint32_t site_at(const char *file, uint32_t line, const char *region)
{
    const BqlRecHeader *h = recorded();

    for (uint32_t i = 0; i < bqlrec_get(h->sites_used); i++) {
        const BqlRecSite *site =
            (const BqlRecSite *)(rec_at(h, h->sites_offset) + (size_t)i * h->sites_stride);
        if (strcmp(site->file, file) == 0 && site->line == line &&
            strcmp(site->region, region) == 0) {
            return i;
        }
    }
    fprintf(stderr, "no site %s:%u %s\n", file, line, region);
    CHECK(false);
    return 0;
}

/* Index of the calling thread's block. */
static inline unsigned my_block(void)
{
    return (unsigned)bqlrec_thread_enter(bqlpre.rec, (int)bqlpre_self.role, NULL);
}

static inline BqlRecRow *my_row(const char *file, uint32_t line)
{
    BqlRecRow *row = rec_row(recorded(), my_block(), site_at(file, line, ""));

    CHECK(row != NULL);
    return row;
}

#endif
