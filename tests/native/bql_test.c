/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lock itself: exclusion, order, condition variables, misuse and ranks. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bql_private.h"
#include "death.h"
#include "lockrank.h"
#include "recording.h"
#include "thread.h"

#define CROWD 64
#define CROWD_PAIRS 101
#define QUEUE 7
#define ROUNDS 523

static const char *const policies[] = {"pthread", "ticket", "mcs"};

typedef struct Rig {
    BqlRec *rec;
    Bql *bql;
    BqlCond *cond[2];
    unsigned counter; /* under the lock */
    unsigned inside;  /* under the lock: threads in the critical section */
    int order[QUEUE];
    unsigned ordered;
    int turn;
} Rig;

typedef struct Member {
    Rig *rig;
    int number;
} Member;

static void rig_open(Rig *rig, const char *policy)
{
    char path[64];
    BqlRecConfig config = {.path = path};

    snprintf(path, sizeof(path), "/tmp/bql_test.%d.bql", (int)getpid());
    memset(rig, 0, sizeof(*rig));
    rig->rec = bqlrec_open(&config, NULL);
    CHECK(rig->rec != NULL);
    rig->bql = bql_new(policy, rig->rec);
    CHECK(rig->bql != NULL);
    rig->cond[0] = bql_cond_new(rig->bql);
    rig->cond[1] = bql_cond_new(rig->bql);
}

static void rig_close(Rig *rig)
{
    bql_cond_free(rig->cond[0]);
    bql_cond_free(rig->cond[1]);
    bql_free(rig->bql);
    bqlrec_close(rig->rec, true);
}

static VmmThread *spawn(Rig *rig, const char *name, VmmThreadFn *fn, void *opaque)
{
    VmmThreadSpec spec = {name, BQLREC_ROLE_WORKER, -1, rig->rec};
    VmmThread *thread = vmm_thread_spawn(&spec, fn, opaque);

    CHECK(thread != NULL);
    return thread;
}

static void count_in_crowd(void *opaque)
{
    Rig *rig = opaque;

    for (int i = 0; i < CROWD_PAIRS; i++) {
        if (i % 3 == 0) {
            while (!bql_trylock(rig->bql)) {
                sched_yield();
            }
        } else {
            bql_lock(rig->bql);
        }
        CHECK(rig->inside++ == 0);
        rig->counter++;
        CHECK(--rig->inside == 0);
        bql_unlock(rig->bql);
    }
}

static void test_one_of_64_threads_is_inside(const char *policy)
{
    VmmThread *threads[CROWD];
    Rig rig;

    rig_open(&rig, policy);
    for (int i = 0; i < CROWD; i++) {
        threads[i] = spawn(&rig, "crowd", count_in_crowd, &rig);
    }
    for (int i = 0; i < CROWD; i++) {
        vmm_thread_join(threads[i]);
    }
    CHECK(rig.counter == CROWD * CROWD_PAIRS);
    CHECK(check_laws(bqlrec_header(rig.rec)) == CROWD * CROWD_PAIRS);
    rig_close(&rig);
    printf("ok one of 64 threads is inside (%s)\n", policy);
}

/* After 2^32 acquisitions; no test can take the lock so often. */
static void test_tickets_wrap_around(void)
{
    VmmThread *threads[QUEUE];
    Rig rig;

    rig_open(&rig, "ticket");
    atomic_store(&rig.bql->state.ticket.next, UINT32_MAX - CROWD_PAIRS);
    atomic_store(&rig.bql->state.ticket.serving, UINT32_MAX - CROWD_PAIRS);
    for (int i = 0; i < QUEUE; i++) {
        threads[i] = spawn(&rig, "crowd", count_in_crowd, &rig);
    }
    for (int i = 0; i < QUEUE; i++) {
        vmm_thread_join(threads[i]);
    }
    CHECK(rig.counter == QUEUE * CROWD_PAIRS);
    CHECK(atomic_load(&rig.bql->state.ticket.next) == (QUEUE - 1) * CROWD_PAIRS - 1);
    rig_close(&rig);
    printf("ok tickets wrap around\n");
}

static void queue_up(void *opaque)
{
    Member *member = opaque;
    Rig *rig = member->rig;

    bql_lock(rig->bql);
    rig->order[rig->ordered++] = member->number;
    bql_unlock(rig->bql);
}

static void test_waiters_are_served_in_order(const char *policy)
{
    VmmThread *threads[QUEUE];
    Member members[QUEUE];
    Rig rig;

    rig_open(&rig, policy);
    bql_lock(rig.bql);
    for (int i = 0; i < QUEUE; i++) {
        members[i] = (Member){&rig, i};
        threads[i] = spawn(&rig, "queue", queue_up, &members[i]);
        await_waiters(bqlrec_header(rig.rec), (uint32_t)i + 1);
        await_asleep(vmm_thread_tid(threads[i]));
    }
    bql_unlock(rig.bql);
    for (int i = 0; i < QUEUE; i++) {
        vmm_thread_join(threads[i]);
    }
    for (int i = 0; i < QUEUE; i++) {
        CHECK(rig.order[i] == i);
    }
    rig_close(&rig);
    printf("ok waiters are served in order (%s)\n", policy);
}

static void answer(void *opaque)
{
    Rig *rig = opaque;

    bql_lock(rig->bql);
    for (int i = 0; i < ROUNDS; i++) {
        while (rig->turn != 1) {
            bql_cond_wait(rig->bql, rig->cond[1]);
        }
        rig->turn = 0;
        bql_cond_signal(rig->cond[0]);
    }
    bql_unlock(rig->bql);
}

static void test_no_wake_up_is_lost(const char *policy)
{
    const BqlRecHeader *h;
    VmmThread *other;
    uint64_t cond_acquisitions = 0;
    Rig rig;

    rig_open(&rig, policy);
    h = bqlrec_header(rig.rec);
    other = spawn(&rig, "answer", answer, &rig);
    bql_lock(rig.bql);
    for (int i = 0; i < ROUNDS; i++) {
        rig.turn = 1;
        bql_cond_signal(rig.cond[1]);
        while (rig.turn != 0) {
            bql_cond_wait(rig.bql, rig.cond[0]);
        }
    }
    bql_unlock(rig.bql);
    vmm_thread_join(other);
    check_laws(h);
    for (unsigned i = 0; i < bqlrec_get(h->rows_used); i++) {
        cond_acquisitions += bqlrec_get(rec_row_at(h, i)->acquisitions[BQLREC_KIND_COND]);
    }
    CHECK(cond_acquisitions >= ROUNDS); /* each round this thread waits at least once */
    rig_close(&rig);
    printf("ok no wake-up is lost (%s)\n", policy);
}

static void wait_for_broadcast(void *opaque)
{
    Rig *rig = opaque;

    bql_lock(rig->bql);
    rig->counter++;
    bql_cond_signal(rig->cond[0]);
    while (rig->turn == 0) {
        bql_cond_wait(rig->bql, rig->cond[1]);
    }
    rig->inside++;
    bql_unlock(rig->bql);
}

static void test_a_broadcast_wakes_everybody(const char *policy)
{
    VmmThread *threads[QUEUE];
    Rig rig;

    rig_open(&rig, policy);
    for (int i = 0; i < QUEUE; i++) {
        threads[i] = spawn(&rig, "broadcast", wait_for_broadcast, &rig);
    }
    bql_lock(rig.bql);
    while (rig.counter < QUEUE) {
        bql_cond_wait(rig.bql, rig.cond[0]);
    }
    rig.turn = 1;
    bql_unlock(rig.bql);
    bql_cond_broadcast(rig.cond[1]); /* without the lock: allowed */
    for (int i = 0; i < QUEUE; i++) {
        vmm_thread_join(threads[i]);
    }
    CHECK(rig.inside == QUEUE);
    rig_close(&rig);
    printf("ok a broadcast wakes everybody (%s)\n", policy);
}

static void test_a_condition_wait_times_out(void)
{
    Rig rig;

    rig_open(&rig, NULL);
    bql_lock(rig.bql);
    CHECK(!bql_cond_wait_site(rig.cond[0], 0, 1000));
    CHECK(bql_locked(rig.bql));
    CHECK(!bql_cond_wait_site(rig.cond[0], 0, 0));
    bql_unlock(rig.bql);
    rig_close(&rig);
    printf("ok a condition wait times out\n");
}

static void test_a_recorder_serves_one_lock(void)
{
    Bql *second;
    Rig rig;

    rig_open(&rig, NULL);
    CHECK(bql_new(NULL, rig.rec) == NULL && errno == EBUSY);
    CHECK(bql_new("no such policy", NULL) == NULL && errno == EINVAL);
    second = bql_new(NULL, NULL);
    bql_lock(second);
    bql_lock(rig.bql); /* another lock: allowed */
    CHECK(bql_locked(second) && bql_locked(rig.bql));
    bql_unlock(second);
    bql_unlock(rig.bql);
    bql_free(second);
    rig_close(&rig);
    printf("ok a recorder serves one lock\n");
}

static void lock_twice(void *opaque)
{
    Bql *bql = opaque;

    bql_lock_site(bql, bql_site(bql, "first.c", 23, "first", "ide0"));
    bql_lock_site(bql, bql_site(bql, "second.c", 42, "second", NULL));
}

static void unlock_unheld(void *opaque)
{
    Bql *bql = opaque;

    bql_lock_site(bql, bql_site(bql, "first.c", 23, "first", NULL));
    bql_unlock(bql);
    bql_unlock(bql);
}

static void assert_unheld(void *opaque)
{
    bql_assert_held_at(opaque, "device.c", 99);
}

static void test_misuse_aborts_with_the_call_sites(const char *policy)
{
    char said[4096];
    Bql *bql = bql_new(policy, NULL);

    expect_abort(lock_twice, bql, said, sizeof(said));
    CHECK(strstr(said, "first.c:23") != NULL && strstr(said, "second.c:42") != NULL);
    CHECK(strstr(said, "ide0") != NULL);
    expect_abort(unlock_unheld, bql, said, sizeof(said));
    CHECK(strstr(said, "does not hold") != NULL && strstr(said, "first.c:23") != NULL);
    CHECK(strstr(said, "unlocked at ") != NULL);
    expect_abort(assert_unheld, bql, said, sizeof(said));
    CHECK(strstr(said, "device.c:99") != NULL);
    bql_free(bql);
    printf("ok misuse aborts with the call sites (%s)\n", policy);
}

#ifdef BQL_DEBUG
static void lock_bql_under_device(void *opaque)
{
    RankedMutex device;

    ranked_mutex_init(&device, LOCK_RANK_DEVICE, "device");
    ranked_mutex_lock(&device);
    bql_lock((Bql *)opaque);
}

static void lock_lower_under_leaf(void *opaque)
{
    RankedMutex leaf, device;

    ranked_mutex_init(&leaf, LOCK_RANK_LEAF, "leaf");
    ranked_mutex_init(&device, LOCK_RANK_DEVICE, "device");
    ranked_mutex_lock(&leaf);
    ranked_mutex_lock(&device);
}

static void test_a_rank_inversion_is_reported(void)
{
    char said[16384];
    Bql *bql = bql_new(NULL, NULL);

    expect_abort(lock_bql_under_device, bql, said, sizeof(said));
    CHECK(strstr(said, "cycle: \"device\" -> \"BQL\"") != NULL);
    CHECK(strstr(said, "\"device\" was taken at:") != NULL);
    CHECK(strstr(said, "\"BQL\" is being taken at:") != NULL);
    expect_abort(lock_lower_under_leaf, NULL, said, sizeof(said));
    CHECK(strstr(said, "taking \"device\" (rank 30) while holding \"leaf\" (rank 100)") != NULL);
    bql_free(bql);
    printf("ok a rank inversion is reported\n");
}
#endif

static void test_ranked_locks_in_order_are_quiet(void)
{
    RankedMutex device, leaf;
    Bql *bql = bql_new(NULL, NULL);

    ranked_mutex_init(&device, LOCK_RANK_DEVICE, "device");
    ranked_mutex_init(&leaf, LOCK_RANK_LEAF, "leaf");
    bql_lock(bql);
    ranked_mutex_lock(&device);
    ranked_mutex_lock(&leaf);
    ranked_mutex_unlock(&device); /* any order of release */
    ranked_mutex_unlock(&leaf);
    CHECK(ranked_mutex_trylock(&leaf));
    CHECK(ranked_mutex_trylock(&device)); /* a trylock cannot deadlock */
    ranked_mutex_unlock(&device);
    ranked_mutex_unlock(&leaf);
    bql_unlock(bql);
    bql_free(bql);
    printf("ok ranked locks in order are quiet\n");
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        test_misuse_aborts_with_the_call_sites(policies[i]);
    }
#ifdef BQL_DEBUG
    test_a_rank_inversion_is_reported();
#endif
    test_ranked_locks_in_order_are_quiet();
    for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        test_one_of_64_threads_is_inside(policies[i]);
        test_no_wake_up_is_lost(policies[i]);
        test_a_broadcast_wakes_everybody(policies[i]);
    }
    test_waiters_are_served_in_order("ticket");
    test_waiters_are_served_in_order("mcs");
    test_tickets_wrap_around();
    test_a_condition_wait_times_out();
    test_a_recorder_serves_one_lock();
    return 0;
}
