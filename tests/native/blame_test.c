/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who made whom wait, and for exactly how long. Order is forced, never slept for. */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bql.h"
#include "recording.h"
#include "thread.h"

#define WAITS 23

static const char *const policies[] = {"pthread", "ticket", "mcs"};

typedef struct Rig {
    BqlRec *rec;
    Bql *bql;
    const BqlRecHeader *h;
    uint32_t site[3];
    _Atomic int step;
} Rig;

static void rig_open(Rig *rig, const char *policy)
{
    char path[64], err[BQLREC_ERR_SIZE] = "";
    BqlRecConfig config = {.path = path};

    snprintf(path, sizeof(path), "/tmp/blame_test.%d.bql", (int)getpid());
    memset(rig, 0, sizeof(*rig));
    rig->rec = bqlrec_open(&config, err);
    if (rig->rec == NULL) {
        fprintf(stderr, "%s\n", err);
    }
    CHECK(rig->rec != NULL);
    rig->h = bqlrec_header(rig->rec);
    rig->bql = bql_new(policy, rig->rec);
    CHECK(rig->bql != NULL);
    for (int i = 0; i < 3; i++) {
        rig->site[i] = bql_site(rig->bql, "blame_test.c", 100 + i, "site", NULL);
    }
}

static void rig_close(Rig *rig)
{
    bql_free(rig->bql);
    bqlrec_close(rig->rec, true);
}

static VmmThread *spawn(Rig *rig, const char *name, int role, VmmThreadFn *fn, void *opaque)
{
    VmmThreadSpec spec = {name, role, -1, rig->rec};
    VmmThread *thread = vmm_thread_spawn(&spec, fn, opaque);

    CHECK(thread != NULL);
    return thread;
}

static void await_step(Rig *rig, int step)
{
    while (atomic_load(&rig->step) < step) {
        sched_yield();
    }
}

static void wait_many_times(void *opaque)
{
    Rig *rig = opaque;

    for (int i = 0; i < WAITS; i++) {
        await_step(rig, i + 1);
        bql_lock_site(rig->bql, rig->site[1]);
        bql_unlock(rig->bql);
    }
}

static void test_every_wait_is_blamed_on_its_holder(const char *policy)
{
    BqlRecRow *row;
    VmmThread *waiter;
    Rig rig;
    int main_index, waiter_index;

    rig_open(&rig, policy);
    main_index = bqlrec_thread_enter(rig.rec, BQLREC_ROLE_MAIN, "main");
    waiter = spawn(&rig, "waiter", BQLREC_ROLE_VCPU, wait_many_times, &rig);
    waiter_index = 1 - main_index;
    for (int i = 0; i < WAITS; i++) {
        bql_lock_site(rig.bql, rig.site[0]);
        atomic_store(&rig.step, i + 1);
        await_waiters(rig.h, 1);
        bql_unlock(rig.bql);
        await_waiters(rig.h, 0);
    }
    vmm_thread_join(waiter);

    row = rec_row(rig.h, (unsigned)waiter_index, rig.site[1]);
    CHECK(row_acquisitions(row) == WAITS);
    CHECK(bqlrec_get(row->contended) == WAITS);
    CHECK(bqlrec_get(row->unknown) == 0);
    CHECK(bqlrec_get(row->max_wait_who) == BQLREC_WHO(main_index, rig.site[0]));
    CHECK(blame_on(rig.h, (unsigned)waiter_index, rig.site[1],
                   BQLREC_WHO(main_index, rig.site[0])) > 0);
    for (uint64_t n = 0; n < WAITS; n++) {
        uint64_t detail = bqlrec_get(rec_event(rig.h, (unsigned)waiter_index, n)->detail);
        CHECK(detail >> 32 == BQLREC_WHO(main_index, rig.site[0]));
        CHECK((detail & BQLREC_EVENT_CONTENDED) != 0);
    }
    CHECK(check_laws(rig.h) >= 2 * WAITS);
    check_blame_against_events(rig.h);
    rig_close(&rig);
    printf("ok every wait is blamed on its holder (%s)\n", policy);
}

static void first_in_line(void *opaque)
{
    Rig *rig = opaque;

    bql_lock_site(rig->bql, rig->site[1]);
    atomic_store(&rig->step, 1);
    await_step(rig, 2);
    bql_unlock(rig->bql);
}

static void second_in_line(void *opaque)
{
    Rig *rig = opaque;

    bql_lock_site(rig->bql, rig->site[2]);
    bql_unlock(rig->bql);
}

static void test_a_wait_is_split_among_all_holders(const char *policy)
{
    VmmThread *first, *second;
    uint32_t who_main, who_first;
    uint64_t wait;
    Rig rig;

    rig_open(&rig, policy);
    CHECK(bqlrec_thread_enter(rig.rec, BQLREC_ROLE_MAIN, "main") == 0);
    bql_lock_site(rig.bql, rig.site[0]);
    first = spawn(&rig, "first", BQLREC_ROLE_VCPU, first_in_line, &rig);
    await_waiters(rig.h, 1);
    await_asleep(vmm_thread_tid(first));
    second = spawn(&rig, "second", BQLREC_ROLE_VCPU, second_in_line, &rig);
    await_waiters(rig.h, 2);
    bql_unlock(rig.bql);
    await_step(&rig, 1);
    await_waiters(rig.h, 1);
    atomic_store(&rig.step, 2);
    vmm_thread_join(first);
    vmm_thread_join(second);

    who_main = BQLREC_WHO(0, rig.site[0]);
    who_first = BQLREC_WHO(1, rig.site[1]);
    wait = bqlrec_get(rec_row(rig.h, 2, rig.site[2])->wait_total);
    CHECK(blame_on(rig.h, 2, rig.site[2], who_main) > 0);
    CHECK(blame_on(rig.h, 2, rig.site[2], who_first) > 0);
    CHECK(blame_on(rig.h, 2, rig.site[2], who_main) + blame_on(rig.h, 2, rig.site[2], who_first) <=
          wait);
    CHECK(bqlrec_get(rec_event(rig.h, 2, 0)->detail) >> 32 == who_main);
    CHECK(check_laws(rig.h) == 3);
    check_blame_against_events(rig.h);
    rig_close(&rig);
    printf("ok a wait is split among all holders (%s)\n", policy);
}

typedef struct Worker {
    Rig *rig;
    unsigned seed;
} Worker;

#define STRESS_THREADS 4
#define STRESS_PAIRS 1201

static void take_it_often(void *opaque)
{
    Worker *worker = opaque;
    Rig *rig = worker->rig;

    for (int i = 0; i < STRESS_PAIRS; i++) {
        worker->seed = worker->seed * 1103515245u + 12345u;
        bql_lock_site(rig->bql, rig->site[(worker->seed >> 16) % 3]);
        if ((worker->seed >> 20) % 8 == 0) {
            sched_yield();
        }
        bql_unlock(rig->bql);
    }
}

static void test_blame_equals_the_overlap_of_events(const char *policy)
{
    Worker workers[STRESS_THREADS];
    VmmThread *threads[STRESS_THREADS];
    uint64_t contended = 0;
    Rig rig;

    rig_open(&rig, policy);
    /* All wait at least once, however the scheduler treats them later. */
    bql_lock_site(rig.bql, rig.site[0]);
    for (unsigned i = 0; i < STRESS_THREADS; i++) {
        workers[i] = (Worker){&rig, i + 1};
        threads[i] = spawn(&rig, "stress", BQLREC_ROLE_OTHER, take_it_often, &workers[i]);
    }
    await_waiters(rig.h, STRESS_THREADS);
    bql_unlock(rig.bql);
    for (unsigned i = 0; i < STRESS_THREADS; i++) {
        vmm_thread_join(threads[i]);
    }
    CHECK(check_laws(rig.h) == (uint64_t)STRESS_THREADS * STRESS_PAIRS + 1);
    check_blame_against_events(rig.h);
    for (unsigned i = 0; i < bqlrec_get(rig.h->rows_used); i++) {
        contended += bqlrec_get(rec_row_at(rig.h, i)->contended);
    }
    CHECK(contended >= STRESS_THREADS);
    CHECK(bqlrec_get(rec_live(rig.h)->waiters) == 0);
    CHECK(bqlrec_get(rec_live(rig.h)->holder) == 0);
    rig_close(&rig);
    printf("ok blame equals the overlap of events (%s)\n", policy);
}

static void wait_once(void *opaque)
{
    Rig *rig = opaque;

    bql_lock_site(rig->bql, rig->site[1]);
    bql_unlock(rig->bql);
}

static void test_holds_that_were_not_recorded_are_unknown(void)
{
    VmmThread *waiter;
    BqlRecRow *row;
    Rig rig;

    rig_open(&rig, NULL);
    bqlrec_set_enabled(rig.rec, false);
    bql_lock_site(rig.bql, rig.site[0]);
    bqlrec_set_enabled(rig.rec, true);
    waiter = spawn(&rig, "waiter", BQLREC_ROLE_OTHER, wait_once, &rig);
    await_waiters(rig.h, 1);
    bql_unlock(rig.bql);
    vmm_thread_join(waiter);
    row = rec_row(rig.h, 0, rig.site[1]);
    CHECK(bqlrec_get(row->contended) == 1);
    CHECK(bqlrec_get(row->unknown) > 0);
    CHECK(blame_sum(rig.h, 0, rig.site[1]) == 0);
    CHECK(check_laws(rig.h) == 1);
    rig_close(&rig);
    printf("ok holds that were not recorded are unknown\n");
}

static void test_switching_during_a_wait_leaves_no_handoff(void)
{
    VmmThread *waiter;
    BqlRecRow *row;
    Rig rig;

    rig_open(&rig, "ticket");
    bqlrec_thread_enter(rig.rec, BQLREC_ROLE_MAIN, "main");
    bql_lock_site(rig.bql, rig.site[0]);
    waiter = spawn(&rig, "waiter", BQLREC_ROLE_OTHER, wait_once, &rig);
    await_waiters(rig.h, 1);
    bqlrec_set_enabled(rig.rec, false);
    bql_unlock(rig.bql);
    vmm_thread_join(waiter);
    row = rec_row(rig.h, 1, rig.site[1]);
    CHECK(bqlrec_get(row->contended) == 1);
    CHECK(bqlrec_get(row->handoff) == 0);
    CHECK(blame_on(rig.h, 1, rig.site[1], BQLREC_WHO(0, rig.site[0])) > 0);
    CHECK(check_laws(rig.h) == 2);
    rig_close(&rig);
    printf("ok switching during a wait leaves no handoff\n");
}

/* More hand-overs than the ring holds, during one wait. */
static void test_overwritten_handovers_are_unknown(void)
{
    BqlRecSelf *waiter, *holder;
    BqlRecRow *row;
    Rig rig;

    rig_open(&rig, NULL);
    /* Two recording threads played by one, step by step: no lock, any interleaving. */
    CHECK(bqlrec_thread_enter(rig.rec, BQLREC_ROLE_MAIN, "holder") == 0);
    holder = bqlrec_self(rig.rec);
    waiter = holder;
    bqlrec_wait_begin(rig.rec, waiter);
    for (unsigned i = 0; i < BQLREC_HANDOVERS + 23; i++) {
        BqlRecSelf other = *holder;
        other.contended = false;
        bqlrec_acquired(rig.rec, &other, rig.site[0], BQLREC_KIND_LOCK);
        CHECK(bqlrec_release_prepare(rig.rec) == &other);
    }
    bqlrec_wait_end(rig.rec, waiter, rig.site[1], BQLREC_KIND_LOCK);
    CHECK(bqlrec_release_prepare(rig.rec) == waiter);
    bqlrec_release_finish(rig.rec, waiter);
    row = rec_row(rig.h, 0, rig.site[1]);
    CHECK(bqlrec_get(row->contended) == 1);
    CHECK(bqlrec_get(row->unknown) > 0);
    CHECK(blame_on(rig.h, 0, rig.site[1], BQLREC_WHO(0, rig.site[0])) > 0);
    CHECK(check_laws(rig.h) == 1);
    rig_close(&rig);
    printf("ok overwritten hand-overs are unknown\n");
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        test_every_wait_is_blamed_on_its_holder(policies[i]);
        test_blame_equals_the_overlap_of_events(policies[i]);
    }
    /* Only a fair lock serves the two in the order in which they queued. */
    test_a_wait_is_split_among_all_holders("ticket");
    test_a_wait_is_split_among_all_holders("mcs");
    test_holds_that_were_not_recorded_are_unknown();
    test_switching_during_a_wait_leaves_no_handoff();
    test_overwritten_handovers_are_unknown();
    return 0;
}
