/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Recording is switched on and off, a thousand times, while threads fight for the lock, wait on
 * conditions, come and go: no law may break and no acquisition may be counted twice.
 */
#include <stdatomic.h>
#include <unistd.h>

#include "bql.h"
#include "single_thread.h"
#include "thread.h"

#define FIGHTERS 3
#define SWITCHES 1000
#define MIN_PAIRS 2000

typedef struct Arena {
    BqlRec *rec;
    Bql *bql;
    BqlCond *cond;
    uint64_t inside; /* under the lock */
    _Atomic uint64_t acquired;
    _Atomic bool over;
} Arena;

static void take_once(Arena *arena, uint64_t round)
{
    uint64_t taken = 1;

    if (round % 7 != 0) {
        bql_lock(arena->bql);
    } else if (!bql_trylock(arena->bql)) {
        return;
    }
    CHECK(arena->inside++ == 0);
    if (round % 11 == 0) {
        bql_blocked_begin(arena->bql, BQLREC_BLOCKED_OTHER);
        bql_blocked_end(arena->bql);
    }
    CHECK(--arena->inside == 0);
    if (round % 13 == 0) {
        bql_cond_signal(arena->cond);
    } else if (round % 17 == 0) {
        bql_cond_wait_site(arena->cond, BQL_SITE_HERE(arena->bql), 1000);
        taken++;
    }
    bql_unlock(arena->bql);
    atomic_fetch_add(&arena->acquired, taken);
}

static void fight(void *opaque)
{
    Arena *arena = opaque;

    for (uint64_t round = 0; round < MIN_PAIRS || !atomic_load(&arena->over); round++) {
        take_once(arena, round);
        if (round % 1000 == 999) {
            bqlrec_thread_exit(arena->rec); /* the next acquisition registers anew */
        }
    }
}

static void test_switching_under_load_breaks_no_law(const char *policy)
{
    VmmThreadSpec spec = {"fighter", BQLREC_ROLE_OTHER, -1, NULL};
    VmmThread *threads[FIGHTERS];
    Arena arena = {0};
    char path[128];
    uint64_t recorded;

    arena.rec = spec.rec = open_named("switch", path);
    arena.bql = bql_new(policy, arena.rec);
    arena.cond = bql_cond_new(arena.bql);
    CHECK(arena.bql != NULL && arena.cond != NULL);
    for (int i = 0; i < FIGHTERS; i++) {
        threads[i] = vmm_thread_spawn(&spec, fight, &arena);
        CHECK(threads[i] != NULL);
    }
    for (int i = 0; i < SWITCHES; i++) {
        uint64_t before = atomic_load(&arena.acquired);
        bqlrec_set_enabled(arena.rec, i % 2 != 0);
        while (atomic_load(&arena.acquired) == before) {
            sched_yield();
        }
    }
    atomic_store(&arena.over, true);
    for (int i = 0; i < FIGHTERS; i++) {
        vmm_thread_join(threads[i]);
    }
    recorded = check_laws(bqlrec_header(arena.rec)) +
               bqlrec_get(bqlrec_header(arena.rec)->acquisitions_lost);
    CHECK(recorded > 0 && recorded < atomic_load(&arena.acquired));
    CHECK(bqlrec_get(rec_live(bqlrec_header(arena.rec))->waiters) == 0);
    CHECK(bqlrec_get(rec_live(bqlrec_header(arena.rec))->holder) == 0);
    bql_cond_free(arena.cond);
    bql_free(arena.bql);
    bqlrec_close(arena.rec, true);
    printf("ok switching under load breaks no law (%s)\n", policy);
}

int main(void)
{
    make_work();
    test_switching_under_load_breaks_no_law("pthread");
    test_switching_under_load_breaks_no_law("ticket");
    test_switching_under_load_breaks_no_law("mcs");
    CHECK(rmdir(work) == 0);
    return 0;
}
