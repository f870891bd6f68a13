/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the recorder does when something runs out: it counts. */
#include <errno.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "single_thread.h"

static void test_sites_are_interned_until_the_table_is_full(void)
{
    char path[128], file[400];
    BqlRec *rec = open_named("sites", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    uint32_t first = bqlrec_site(rec, "s.c", 1, "f", "serial");

    CHECK(first != 0 && bqlrec_site(rec, "s.c", 1, "f", "serial") == first);
    CHECK(bqlrec_site(rec, "s.c", 1, "f", "rtc") != first);
    CHECK(bqlrec_site(rec, "s.c", 1, "f", NULL) != first);
    memset(file, 'd', sizeof(file));
    strcpy(file + sizeof(file) - 8, "/tail.c");
    CHECK(bqlrec_site(rec, file, 1, file, file) != 0);
    for (uint32_t line = 0; bqlrec_get(h->sites_used) < BQLREC_SITES; line++) {
        CHECK(bqlrec_site(rec, "many.c", line, "f", NULL) != 0);
    }
    CHECK(bqlrec_site(rec, "more.c", 1, "f", NULL) == 0);
    CHECK(bqlrec_get(h->sites_lost) == 1);
    CHECK(bqlrec_site(rec, "s.c", 1, "f", "serial") == first);
    acquire(rec, 0, ODD);
    CHECK(row_acquisitions(rec_row(h, 0, 0)) == ODD);
    bqlrec_close(rec, true);
    printf("ok sites are interned until the table is full\n");
}

static void *use_all_sites(void *opaque)
{
    for (uint32_t site = 0; site < BQLREC_SITES; site++) {
        acquire(opaque, site, 1);
    }
    return NULL;
}

static void test_without_rows_sites_are_counted_together(void)
{
    char path[128];
    BqlRec *rec = open_named("rows", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    pthread_t thread;

    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&thread, NULL, use_all_sites, rec) == 0);
        pthread_join(thread, NULL);
    }
    CHECK(bqlrec_get(h->rows_used) == BQLREC_ROWS);
    CHECK(bqlrec_get(h->rows_lost) == 4 * (BQLREC_SITES - 1) - (BQLREC_ROWS - BQLREC_THREADS));
    CHECK(row_acquisitions(rec_row_at(h, 3)) == 1 + bqlrec_get(h->rows_lost));
    CHECK(check_laws(h) == 4 * BQLREC_SITES);
    bqlrec_close(rec, true);
    printf("ok without rows sites are counted together\n");
}

typedef struct Crowd {
    BqlRec *rec;
    pthread_barrier_t all_in;
    pthread_mutex_t mutex; /* stands in for the recorded lock */
} Crowd;

static void *crowd_member(void *opaque)
{
    Crowd *crowd = opaque;

    bqlrec_thread_enter(crowd->rec, BQLREC_ROLE_WORKER, "crowd");
    pthread_mutex_lock(&crowd->mutex);
    acquire(crowd->rec, 0, 1);
    pthread_mutex_unlock(&crowd->mutex);
    pthread_barrier_wait(&crowd->all_in);
    return NULL;
}

typedef struct Late {
    BqlRec *rec;
    int role;
    int index;
} Late;

static void *late_thread(void *opaque)
{
    Late *late = opaque;

    late->index = bqlrec_thread_enter(late->rec, late->role, "late");
    acquire(late->rec, 0, 1);
    return NULL;
}

static int enter_late(BqlRec *rec, int role)
{
    Late late = {rec, role, -2};
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, late_thread, &late) == 0);
    pthread_join(thread, NULL);
    return late.index;
}

static void test_without_slots_threads_are_lost_and_dead_ones_reused(void)
{
    static pthread_t threads[BQLREC_THREADS + 2];
    Crowd crowd = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    const BqlRecHeader *h;
    char path[128];

    crowd.rec = open_named("slots", path);
    h = bqlrec_header(crowd.rec);
    pthread_barrier_init(&crowd.all_in, NULL, BQLREC_THREADS + 2);
    for (unsigned i = 0; i < BQLREC_THREADS + 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, crowd_member, &crowd) == 0);
    }
    for (unsigned i = 0; i < BQLREC_THREADS + 2; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&crowd.all_in);
    CHECK(bqlrec_get(h->threads_used) == BQLREC_THREADS);
    CHECK(bqlrec_get(h->threads_lost) == 2 && bqlrec_get(h->acquisitions_lost) == 2);
    CHECK(check_laws(h) == BQLREC_THREADS);

    CHECK(enter_late(crowd.rec, BQLREC_ROLE_WORKER) == 0);
    CHECK(bqlrec_get(rec_thread(h, 0)->incarnations) == 2);
    CHECK(row_acquisitions(rec_row_at(h, 0)) == 2);       /* totals run on */
    CHECK(enter_late(crowd.rec, BQLREC_ROLE_VCPU) == -1); /* no dead one of that role */
    CHECK(bqlrec_get(h->threads_lost) == 3 && bqlrec_get(h->acquisitions_lost) == 3);
    CHECK(check_laws(h) == BQLREC_THREADS + 1);
    bqlrec_close(crowd.rec, true);
    printf("ok without slots threads are lost and dead ones reused\n");
}

static void *first_look(void *opaque)
{
    bqlrec_thread_enter(opaque, BQLREC_ROLE_VCPU, "waiter");
    return bqlrec_self(opaque);
}

/* The holder's hold at `held` makes the waiter wait at `wanted`. */
static void let_wait(BqlRec *rec, BqlRecSelf *waiter, uint32_t wanted, uint32_t held)
{
    BqlRecSelf *holder = bqlrec_self(rec);

    bqlrec_acquired(rec, holder, held, BQLREC_KIND_LOCK);
    bqlrec_wait_begin(rec, waiter);
    CHECK(bqlrec_release_prepare(rec) == holder);
    bqlrec_wait_end(rec, waiter, wanted, BQLREC_KIND_LOCK);
    bqlrec_release_finish(rec, holder);
    CHECK(bqlrec_release_prepare(rec) == waiter);
    bqlrec_release_finish(rec, waiter);
}

static void test_without_a_place_blame_is_unknown_and_counted(void)
{
    const unsigned pairs = BQLREC_BLAMES + ODD;
    char path[128];
    BqlRec *rec = open_named("blame", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    BqlRecThread *thread;
    BqlRecSelf *waiter;
    pthread_t id;

    CHECK(pthread_create(&id, NULL, first_look, rec) == 0);
    CHECK(pthread_join(id, (void **)&waiter) == 0 && waiter != NULL); /* a dead one's stays valid */
    thread = rec_thread(h, 0);
    for (unsigned round = 1; round <= 2; round++) {
        for (unsigned i = 0; i < pairs; i++) {
            let_wait(rec, waiter, 1 + i % 2, 3 + i / 2);
            CHECK(bqlrec_get(thread->blames_used) ==
                  (round == 1 ? min64(i + 1, BQLREC_BLAMES) : BQLREC_BLAMES));
        }
        CHECK(bqlrec_get(thread->blame_lost) == round * ODD);
        for (unsigned i = 0; i < BQLREC_BLAMES; i++) {
            CHECK(bqlrec_get(rec_blame(h, 0, i)->used) == 1);
            CHECK(bqlrec_get(rec_blame(h, 0, i)->count) == round);
            CHECK(blame_on(h, 0, 1 + i % 2, BQLREC_WHO(1, 3 + i / 2)) > 0);
        }
    }
    CHECK(bqlrec_get(rec_row(h, 0, 1)->unknown) > 0);
    CHECK(check_laws(h) == 4 * pairs);
    bqlrec_close(rec, true);
    printf("ok without a place blame is unknown and counted\n");
}

static void in_child(void (*fn)(void))
{
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        fn();
        fflush(stdout);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_a_file_size_limit_is_an_error(void)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    char path[128], err[BQLREC_ERR_SIZE];
    BqlRecConfig config = {.path = path};

    snprintf(path, sizeof(path), "%s/limit", work);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(bqlrec_open(&config, err) == NULL && errno == EFBIG);
    CHECK(strstr(err, "file size limit") != NULL);
    CHECK(access(path, F_OK) != 0);
    printf("ok a file size limit is an error\n");
}

static void test_a_full_file_system_loses_and_counts(void)
{
    const BqlRecHeader *h;
    char mount_point[128], path[128];
    uint64_t expected = 0, lost = 0;
    BqlRec *rec;

    snprintf(mount_point, sizeof(mount_point), "%s/full", work);
    CHECK(mkdir(mount_point, 0700) == 0);
    /* Room for the fixed part, one thread with its ring, and a second one without. */
    if (mount("tmpfs", mount_point, "tmpfs", 0, "size=1228k,mode=700") != 0) {
        printf("skipped a full file system loses and counts: %s\n", strerror(errno));
        rmdir(mount_point);
        return;
    }
    rec = open_named("full/a.bql", path);
    h = bqlrec_header(rec);
    for (int i = 0; i < ODD; i++) {
        if (enter_late(rec, BQLREC_ROLE_OTHER) >= 0) {
            expected++;
        }
    }
    for (unsigned i = 0; i < bqlrec_get(h->threads_used); i++) {
        lost += bqlrec_get(rec_thread(h, i)->events_lost);
    }
    CHECK(check_laws(h) == expected);
    CHECK(lost > 0);
    CHECK(bqlrec_get(h->threads_used) < ODD); /* later ones took over dead blocks */
    CHECK(enter_late(rec, BQLREC_ROLE_VCPU) == -1);
    CHECK(bqlrec_get(h->acquisitions_lost) == 1);
    bqlrec_close(rec, true);
    CHECK(umount(mount_point) == 0 && rmdir(mount_point) == 0);
    printf("ok a full file system loses and counts\n");
}

static uint64_t first_of(unsigned bucket)
{
    return bucket < 8 ? bucket : (uint64_t)(8 + bucket % 8) << (bucket / 8 - 1);
}

static void test_samples_that_are_not_near_are_spilled(void)
{
    char path[128];
    BqlRec *rec = open_named("far", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    BqlRecRow *row;

    CHECK(bqlrec_self(rec) != NULL);
    row = rec_row(h, 0, 0);
    for (unsigned b = 0; b < BQLREC_BUCKETS; b++) {
        bqlrec_count(rec, row, BQLREC_HIST_HOLD, first_of(b));
        bqlrec_count(rec, row, BQLREC_HIST_WAIT, first_of(b / 2));
        bqlrec_count(rec, row, BQLREC_HIST_WAIT, first_of(b / 2));
    }
    for (unsigned b = 0; b < BQLREC_BUCKETS; b++) {
        CHECK(rec_count(h, 0, BQLREC_HIST_HOLD, b) == 1);
        CHECK(rec_count(h, 0, BQLREC_HIST_WAIT, b) == (b < BQLREC_BUCKETS / 2 ? 4 : 0));
    }
    CHECK(bqlrec_get(row->spills) == BQLREC_BUCKETS - BQLREC_NEAR_BUCKETS);
    bqlrec_close(rec, true);
    printf("ok samples that are not near are spilled\n");
}

static void test_counts_beyond_16_bits_are_spilled(void)
{
    const unsigned near[] = {0, 5, BQLREC_NEAR_BUCKETS - 1};
    char path[128];
    BqlRec *rec = open_named("many", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    uint64_t counted = 0;
    BqlRecRow *row;

    CHECK(bqlrec_self(rec) != NULL);
    row = rec_row(h, 0, 0);
    for (unsigned i = 0; i < 2 * UINT16_MAX + ODD; i++) {
        counted++;
        for (unsigned n = 0; n < 3; n++) {
            bqlrec_count(rec, row, BQLREC_HIST_HOLD, first_of(near[n]));
            CHECK(rec_count(h, 0, BQLREC_HIST_HOLD, near[n]) == counted);
        }
    }
    CHECK(bqlrec_get(row->spills) == 2 * 3);
    bqlrec_close(rec, true);
    printf("ok counts beyond 16 bits are spilled\n");
}

static void test_sequence_counters_wrap_around(void)
{
    char path[128];
    BqlRec *rec = open_named("wrap", path);
    const BqlRecHeader *h = bqlrec_header(rec);

    acquire(rec, 0, 1);
    bqlrec_set(rec_thread(h, 0)->seq, UINT32_MAX - 2 * ODD + 1);
    bqlrec_set(rec_row(h, 0, 0)->seq, UINT32_MAX - 2 * ODD + 1);
    acquire(rec, 0, 2 * ODD);
    CHECK(bqlrec_get(rec_thread(h, 0)->seq) == 2 * ODD);
    CHECK(check_laws(h) == 2 * ODD + 1);
    bqlrec_close(rec, true);
    printf("ok sequence counters wrap around\n");
}

int main(void)
{
    make_work();
    test_sequence_counters_wrap_around();
    test_samples_that_are_not_near_are_spilled();
    test_counts_beyond_16_bits_are_spilled();
    test_sites_are_interned_until_the_table_is_full();
    test_without_rows_sites_are_counted_together();
    test_without_slots_threads_are_lost_and_dead_ones_reused();
    test_without_a_place_blame_is_unknown_and_counted();
    in_child(test_a_file_size_limit_is_an_error);
    test_a_full_file_system_loses_and_counts();
    CHECK(rmdir(work) == 0);
    return 0;
}
