/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The preloaded recorder sees every acquisition of a lock it was never told about. */
#include <sys/syscall.h>
#include <sys/wait.h>

#include "fake_qemu.h"

static void test_counts_are_exact(void)
{
    for (unsigned i = 0; i < 1234; i++) {
        fake_bql_lock("../../util/main-loop.c", 308);
        fake_bql_unlock();
    }
    for (unsigned i = 0; i < 77; i++) {
        fake_bql_lock("util/other.c", 308);
        fake_bql_unlock();
    }
    CHECK(bqlrec_get(my_row("util/main-loop.c", 308)->acquisitions[BQLREC_KIND_LOCK]) == 1234);
    CHECK(bqlrec_get(my_row("util/other.c", 308)->acquisitions[BQLREC_KIND_LOCK]) == 77);
    CHECK(bqlrec_get(rec_thread(recorded(), my_block())->role) == BQLREC_ROLE_MAIN);
    CHECK(check_laws(recorded()) == 1234 + 77);
    printf("ok counts are exact\n");
}

static void test_other_mutexes_are_not_recorded(void)
{
    pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;
    uint64_t before = check_laws(recorded());

    CHECK(pthread_mutex_lock(&other) == 0);
    CHECK(pthread_mutex_trylock(&other) == EBUSY);
    CHECK(pthread_mutex_unlock(&other) == 0);
    CHECK(check_laws(recorded()) == before);
    printf("ok other mutexes are not recorded\n");
}

static void test_a_trylock_is_one_of_its_kind(void)
{
    uint64_t taken, before = check_laws(recorded());

    CHECK(pthread_mutex_trylock(&bql) == 0);
    CHECK(pthread_mutex_trylock(&bql) == EBUSY); /* its holder's own failure is nobody's wait */
    fake_bql_unlock();
    taken = check_laws(recorded());
    CHECK(taken == before + 1);
    printf("ok a trylock is one of its kind\n");
}

static void *wait_for_the_lock(void *opaque)
{
    (void)opaque;
    fake_bql_lock("accel/kvm/kvm-accel-ops.c", 36);
    fake_bql_unlock();
    CHECK(bqlrec_get(my_row("accel/kvm/kvm-accel-ops.c", 36)->contended) == 1);
    return NULL;
}

static void test_a_wait_is_blamed_on_its_holder(void)
{
    pthread_t waiter;

    fake_bql_lock("system/holder.c", 1);
    CHECK(pthread_create(&waiter, NULL, wait_for_the_lock, NULL) == 0);
    await_waiters(recorded(), 1);
    fake_bql_unlock();
    CHECK(pthread_join(waiter, NULL) == 0);
    check_laws(recorded());
    check_blame_against_events(recorded());
    printf("ok a wait is blamed on its holder\n");
}

typedef struct Rendezvous {
    pthread_cond_t cond;
    bool ready;
} Rendezvous;

static void *wait_for_ready(void *opaque)
{
    Rendezvous *meeting = opaque;
    BqlRecRow *row;

    fake_bql_lock("waiter.c", 1);
    while (!meeting->ready) {
        fake_cond_wait(&meeting->cond, &bql, "system/cpus.c", 463);
    }
    CHECK(bqlpre_self.holds);
    fake_bql_unlock();
    row = my_row("system/cpus.c", 463);
    CHECK(bqlrec_get(row->acquisitions[BQLREC_KIND_COND]) == 1);
    CHECK(bqlrec_get(row->contended) == 1);
    CHECK(bqlrec_get(row->wait_total) > 0);
    CHECK(bqlrec_get(row->acquisitions[BQLREC_KIND_LOCK]) == 0);
    return NULL;
}

static void test_the_lock_is_taken_again_after_a_condition_wait(void)
{
    Rendezvous meeting = {.cond = PTHREAD_COND_INITIALIZER};
    pthread_t waiter;

    CHECK(pthread_create(&waiter, NULL, wait_for_ready, &meeting) == 0);
    while (atomic_load(&bqlpre.cond_waiters) == 0) {
        sched_yield();
    }
    fake_bql_lock("waker.c", 1);
    meeting.ready = true;
    CHECK(pthread_cond_signal(&meeting.cond) == 0);
    await_waiters(recorded(), 1); /* awake, and now it waits for us */
    fake_bql_unlock();
    CHECK(pthread_join(waiter, NULL) == 0);
    check_laws(recorded());
    printf("ok the lock is taken again after a condition wait\n");
}

enum { TURNS = 20000 };

typedef struct Game {
    pthread_cond_t cond;
    unsigned turn;
    bool broadcast;
} Game;

static void play(Game *game, unsigned parity)
{
    fake_bql_lock("game.c", 1);
    while (game->turn < TURNS) {
        if (game->turn % 2 != parity) {
            fake_cond_wait(&game->cond, &bql, "game.c", 2);
        } else {
            game->turn++;
            CHECK((game->broadcast ? pthread_cond_broadcast(&game->cond)
                                   : pthread_cond_signal(&game->cond)) == 0);
        }
    }
    fake_bql_unlock();
}

static void *play_odd(void *opaque)
{
    play(opaque, 1);
    return NULL;
}

static void test_no_wake_up_is_lost(void)
{
    for (unsigned broadcast = 0; broadcast < 2; broadcast++) {
        Game game = {.cond = PTHREAD_COND_INITIALIZER, .broadcast = broadcast};
        pthread_t other;

        CHECK(pthread_create(&other, NULL, play_odd, &game) == 0);
        play(&game, 0);
        CHECK(pthread_join(other, NULL) == 0);
        CHECK(game.turn == TURNS);
    }
    check_laws(recorded());
    printf("ok no wake-up is lost\n");
}

static void test_a_timed_wait_ends_with_the_lock_held(void)
{
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    const struct timespec past = {.tv_sec = 1};
    uint64_t before = check_laws(recorded());

    fake_bql_lock("timed.c", 1);
    CHECK(pthread_cond_timedwait(&never, &bql, &past) == ETIMEDOUT);
    CHECK(bqlpre_self.holds);
    CHECK(pthread_cond_clockwait(&never, &bql, CLOCK_MONOTONIC, &past) == ETIMEDOUT);
    CHECK(bqlpre_self.holds && pthread_mutex_trylock(&bql) == EBUSY);
    fake_bql_unlock();
    CHECK(check_laws(recorded()) == before + 3);
    printf("ok a timed wait ends with the lock held\n");
}

/* sync-profile on: another function in QEMU's pointer. */
static atomic_uint profiled;

static void profiling_lock(void *mutex, const char *file, int line)
{
    atomic_fetch_add(&profiled, 1);
    fake_lock(mutex, file, line);
}

static void test_a_hook_that_was_taken_out_comes_back(void)
{
    uint64_t before = check_laws(recorded());

    fake_bql_lock("monitor.c", 1);
    atomic_store(&bql_mutex_lock_func, profiling_lock);
    fake_bql_unlock(); /* QEMU swaps it with the lock held */
    for (unsigned i = 0; i < 50; i++) {
        fake_bql_lock("profiled.c", 9);
        fake_bql_unlock();
    }
    CHECK(atomic_load(&profiled) == 50);
    CHECK(check_laws(recorded()) == before + 51);
    CHECK(bqlrec_get(my_row("profiled.c", 9)->acquisitions[BQLREC_KIND_LOCK]) == 50);
    atomic_store(&bql_mutex_lock_func, fake_lock); /* and now without */
    fake_bql_lock("profiled.c", 9);
    fake_bql_unlock();
    fake_bql_lock("profiled.c", 9);
    fake_bql_unlock();
    CHECK(atomic_load(&profiled) == 50);
    CHECK(check_laws(recorded()) == before + 53);
    /* The first of these came by no hook. */
    CHECK(bqlrec_get(my_row("profiled.c", 9)->acquisitions[BQLREC_KIND_LOCK]) == 51);
    printf("ok a hook that was taken out comes back\n");
}

static void test_a_daemon_gets_its_own_recording(void)
{
    const BqlRecHeader *parents = recorded();
    uint64_t before = check_laws(parents);
    pid_t child;
    int status;

    fake_bql_lock("daemon.c", 1); /* QEMU forks with the lock held */
    fflush(stdout);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(TIME_LIMIT_S);
        fake_bql_unlock();
        CHECK(bqlpre_recorder() == NULL);
        for (unsigned i = 0; i < 19; i++) {
            fake_bql_lock("daemon.c", 2);
            fake_bql_unlock();
        }
        CHECK(recorded()->pid == (uint32_t)getpid());
        CHECK(strcmp(bqlrec_path(bqlpre.rec), bqlpre.path) == 0);
        CHECK(check_laws(recorded()) == 19);
        CHECK(bqlrec_get(rec_thread(recorded(), my_block())->role) == BQLREC_ROLE_MAIN);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    fake_bql_unlock();
    CHECK(check_laws(parents) == before + 1);
    printf("ok a daemon gets its own recording\n");
}

static void test_the_end_of_the_process_is_recorded(void)
{
    const BqlRecHeader *h = recorded();

    bqlpre_end();
    CHECK(bqlrec_get(h->state) == BQLREC_FILE_CLOSED);
    fake_bql_lock("after.c", 1); /* other threads may go on until the very end */
    fake_bql_unlock();
    printf("ok the end of the process is recorded\n");
}

int main(void)
{
    start_test_program();
    test_counts_are_exact();
    test_other_mutexes_are_not_recorded();
    test_a_trylock_is_one_of_its_kind();
    test_a_wait_is_blamed_on_its_holder();
    test_the_lock_is_taken_again_after_a_condition_wait();
    test_no_wake_up_is_lost();
    test_a_timed_wait_ends_with_the_lock_held();
    test_a_hook_that_was_taken_out_comes_back();
    test_a_daemon_gets_its_own_recording();
    test_the_end_of_the_process_is_recorded();
    end_test_program();
    return 0;
}
