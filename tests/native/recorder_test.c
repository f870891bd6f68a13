/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The recording as a file: privacy and survival; and what a single thread can count. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bql.h"
#include "single_thread.h"

static const BqlRecHeader *map_file(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    void *at;

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    close(fd);
    return at;
}

static void unmap_file(const BqlRecHeader *h)
{
    munmap((void *)(uintptr_t)h, h->file_size);
}

static void test_the_default_file_is_private(void)
{
    char runtime[128], expected[256], path[160];
    struct stat st;
    BqlRec *first, *second;

    snprintf(runtime, sizeof(runtime), "%s/run", work);
    CHECK(mkdir(runtime, 0700) == 0);
    CHECK(setenv("XDG_RUNTIME_DIR", runtime, 1) == 0);
    first = bqlrec_open(NULL, NULL);
    CHECK(first != NULL);
    snprintf(expected, sizeof(expected), "%s/bqlscope/%d.bql", runtime, (int)getpid());
    CHECK(strcmp(bqlrec_path(first), expected) == 0);
    CHECK(stat(expected, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK(st.st_size == (off_t)bqlrec_header(first)->file_size);
    CHECK(st.st_blocks * 512 < st.st_size / 16); /* sparse */
    second = bqlrec_open(NULL, NULL);
    CHECK(second != NULL && strcmp(bqlrec_path(second), expected) != 0);
    bqlrec_close(second, true);
    bqlrec_close(first, true);
    CHECK(stat(expected, &st) != 0 && errno == ENOENT);

    snprintf(path, sizeof(path), "%s/bqlscope", runtime);
    CHECK(chmod(path, 0755) == 0);
    CHECK(bqlrec_open(NULL, NULL) == NULL && errno == EPERM);
    CHECK(rmdir(path) == 0 && symlink(work, path) == 0);
    CHECK(bqlrec_open(NULL, NULL) == NULL);
    CHECK(unlink(path) == 0 && unsetenv("XDG_RUNTIME_DIR") == 0);
    printf("ok the default file is private\n");
}

static void test_an_existing_file_is_replaced_and_a_link_is_not_followed(void)
{
    char target[128], link[128], err[BQLREC_ERR_SIZE];
    BqlRecConfig config = {.path = link};
    struct stat st;
    BqlRec *rec;
    FILE *file;

    snprintf(target, sizeof(target), "%s/target", work);
    snprintf(link, sizeof(link), "%s/link", work);
    file = fopen(target, "w");
    CHECK(file != NULL && fputs("precious", file) >= 0 && fclose(file) == 0);
    CHECK(symlink(target, link) == 0);
    CHECK(bqlrec_open(&config, err) == NULL && errno == EEXIST);
    CHECK(strstr(err, "not a regular file") != NULL);
    CHECK(stat(target, &st) == 0 && st.st_size == 8);
    rec = open_named("target", target);
    CHECK(stat(target, &st) == 0 && st.st_size > 8);
    config.path = target;
    CHECK(bqlrec_open(&config, err) == NULL && errno == EBUSY);
    bqlrec_close(rec, true);
    printf("ok an existing file is replaced and a link is not followed\n");
}

static void test_a_killed_process_leaves_a_readable_file(void)
{
    char path[128], byte;
    const BqlRecHeader *h;
    uint32_t who;
    int fds[2], status;
    pid_t pid;

    snprintf(path, sizeof(path), "%s/killed", work);
    CHECK(pipe(fds) == 0);
    fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        BqlRec *rec = open_named("killed", path);
        Bql *bql = bql_new(NULL, rec);
        for (int i = 0; i < ODD; i++) {
            bql_lock_site(bql, bql_site(bql, "vm.c", 7, "run", "serial"));
            bql_unlock(bql);
        }
        bql_lock_site(bql, bql_site(bql, "vm.c", 7, "run", "serial"));
        bql_blocked_begin(bql, BQLREC_BLOCKED_DRAIN);
        CHECK(write(fds[1], "x", 1) == 1);
        pause();
        _exit(1);
    }
    CHECK(read(fds[0], &byte, 1) == 1);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    close(fds[0]);
    close(fds[1]);

    h = map_file(path);
    CHECK(bqlrec_get(h->magic) == BQLREC_MAGIC && h->version == BQLREC_VERSION);
    CHECK(h->pid == (uint32_t)pid && bqlrec_get(h->state) == BQLREC_FILE_OPEN);
    CHECK(strcmp(h->vm_name, "test vm") == 0);
    CHECK(check_laws(h) == ODD);
    who = bqlrec_get(rec_live(h)->holder);
    CHECK(BQLREC_WHO_THREAD(who) == 0);
    CHECK(row_acquisitions(rec_row(h, 0, BQLREC_WHO_SITE(who))) == ODD);
    CHECK(bqlrec_get(rec_live(h)->blocked) == BQLREC_BLOCKED_DRAIN);
    CHECK(bqlrec_get(rec_live(h)->blocked_since) >= bqlrec_get(rec_live(h)->since));
    CHECK(bqlrec_get(h->clock_monotonic_ns) > h->clock_start.monotonic_ns);
    unmap_file(h);
    CHECK(unlink(path) == 0);
    printf("ok a killed process leaves a readable file\n");
}

static void test_a_forked_child_leaves_the_file_alone(void)
{
    char path[128];
    BqlRec *rec = open_named("fork", path);
    Bql *bql = bql_new(NULL, rec);
    uint32_t site = bql_site(bql, "f.c", 1, "f", NULL);
    int status;
    pid_t pid;

    bql_lock_site(bql, site);
    fflush(stdout);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        bql_unlock(bql);
        for (int i = 0; i < ODD; i++) {
            bql_lock_site(bql, site);
            bql_unlock(bql);
        }
        bqlrec_set_enabled(rec, true);
        CHECK(!bqlrec_is_enabled(rec));
        bqlrec_clock_sync(rec);
        CHECK(bqlrec_thread_enter(rec, BQLREC_ROLE_MAIN, "child") == -1);
        CHECK(bql_site(bql, "g.c", 2, "g", NULL) == 0);
        bqlrec_thread_exit(rec);
        bql_free(bql);
        bqlrec_close(rec, true);
        exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(bqlrec_get(rec_live(bqlrec_header(rec))->holder) == BQLREC_WHO(0, site));
    bql_unlock(bql);
    CHECK(check_laws(bqlrec_header(rec)) == 1);
    CHECK(bqlrec_get(bqlrec_header(rec)->threads_used) == 1);
    CHECK(access(path, F_OK) == 0);
    bql_free(bql);
    bqlrec_close(rec, true);
    printf("ok a forked child leaves the file alone\n");
}

static void test_the_event_ring_keeps_the_last_events(void)
{
    char path[128];
    BqlRec *rec = open_named("ring", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    uint32_t old_site = bqlrec_site(rec, "r.c", 1, "old", NULL);
    uint32_t new_site = bqlrec_site(rec, "r.c", 2, "new", NULL);
    uint64_t last = 0;

    acquire(rec, old_site, ODD);
    acquire(rec, new_site, BQLREC_EVENTS);
    CHECK(bqlrec_get(rec_thread(h, 0)->events_head) == BQLREC_EVENTS + ODD);
    for (uint64_t n = ODD; n < BQLREC_EVENTS + ODD; n++) {
        BqlRecEvent *event = rec_event(h, 0, n);
        CHECK((bqlrec_get(event->detail) & 0xffff) == new_site);
        CHECK(bqlrec_get(event->acquired) >= last);
        last = bqlrec_get(event->acquired) + bqlrec_get(event->hold);
    }
    CHECK(check_laws(h) == BQLREC_EVENTS + ODD);
    bqlrec_close(rec, true);
    printf("ok the event ring keeps the last events\n");
}

static void test_what_sleeps_inside_a_hold_has_its_column(void)
{
    char path[128];
    BqlRec *rec = open_named("blocked", path);
    const BqlRecHeader *h = bqlrec_header(rec);
    BqlRecSelf *self = bqlrec_self(rec);
    BqlRecRow *row = rec_row(h, 0, 0);
    uint64_t drain;

    bqlrec_acquired(rec, self, 0, BQLREC_KIND_TRYLOCK);
    bqlrec_blocked_begin(rec, BQLREC_BLOCKED_DRAIN);
    CHECK(bqlrec_get(rec_live(h)->blocked) == BQLREC_BLOCKED_DRAIN);
    bqlrec_blocked_begin(rec, BQLREC_BLOCKED_JOIN); /* nested: the outermost counts */
    bqlrec_gil_waited(rec, 1000000);                /* and these ticks are inside it */
    bqlrec_blocked_end(rec);
    CHECK(bqlrec_get(rec_live(h)->blocked) == BQLREC_BLOCKED_DRAIN);
    bqlrec_blocked_end(rec);
    CHECK(bqlrec_get(rec_live(h)->blocked) == BQLREC_BLOCKED_NONE);
    bqlrec_gil_waited(rec, ODD);
    bqlrec_blocked_begin(rec, 12345);
    CHECK(bqlrec_release_prepare(rec) == self); /* ends with the hold */
    CHECK(bqlrec_get(rec_live(h)->blocked) == BQLREC_BLOCKED_NONE);
    bqlrec_release_finish(rec, self);

    drain = bqlrec_get(row->blocked_ticks[BQLREC_BLOCKED_DRAIN]);
    CHECK(drain > 0 && drain <= bqlrec_get(row->hold_total));
    CHECK(bqlrec_get(row->blocked_count[BQLREC_BLOCKED_DRAIN]) == 1);
    CHECK(bqlrec_get(row->blocked_count[BQLREC_BLOCKED_JOIN]) == 0);
    CHECK(bqlrec_get(row->blocked_ticks[BQLREC_BLOCKED_GIL]) == ODD);
    CHECK(bqlrec_get(row->blocked_count[BQLREC_BLOCKED_OTHER]) == 1);
    CHECK(bqlrec_get(row->acquisitions[BQLREC_KIND_TRYLOCK]) == 1);
    bqlrec_trylock_failed(rec, self, 0);
    CHECK(bqlrec_get(row->trylock_failed) == 1 && check_laws(h) == 1);
    acquire(rec, 0, 1); /* the next hold starts clean */
    CHECK(bqlrec_get(row->blocked_ticks[BQLREC_BLOCKED_GIL]) == ODD);
    bqlrec_close(rec, true);
    printf("ok what sleeps inside a hold has its column\n");
}

static void test_buckets_are_an_eighth_wide(void)
{
    for (unsigned b = 8; b < BQLREC_BUCKETS - 1; b++) {
        uint64_t low = (uint64_t)(8 + b % 8) << (b / 8 - 1);
        uint64_t high = low + (UINT64_C(1) << (b / 8 - 1)) - 1;
        CHECK(bqlrec_bucket(low) == b && bqlrec_bucket(high) == b);
        CHECK((high - low) * 8 <= low);
    }
    for (unsigned v = 0; v < 8; v++) {
        CHECK(bqlrec_bucket(v) == v);
    }
    CHECK(bqlrec_bucket(UINT64_MAX) == BQLREC_BUCKETS - 1);
    printf("ok buckets are an eighth wide\n");
}

static void test_the_monotonic_clock_counts_nanoseconds(void)
{
    char path[128];
    BqlRecConfig config = {.path = path, .clock = BQLREC_CLOCK_MONOTONIC};
    const BqlRecHeader *h;
    BqlRec *rec;

    snprintf(path, sizeof(path), "%s/clock", work);
    rec = bqlrec_open(&config, NULL);
    CHECK(rec != NULL);
    h = bqlrec_header(rec);
    CHECK(h->clock_kind == BQLREC_CLOCK_MONOTONIC);
    bqlrec_clock_sync(rec);
    CHECK(bqlrec_get(h->clock_ticks) - h->clock_start.ticks >= 1000000);
    acquire(rec, 0, ODD);
    CHECK(check_laws(h) == ODD);
    bqlrec_close(rec, true);
    printf("ok the monotonic clock counts nanoseconds\n");
}

static void test_a_thread_may_use_recorders_that_come_and_go(void)
{
    char path_a[128], path_b[128];
    BqlRec *a = open_named("a", path_a), *b = open_named("b", path_b);

    for (int i = 0; i < ODD; i++) {
        acquire(a, 0, 1);
        acquire(b, 0, 2);
    }
    CHECK(check_laws(bqlrec_header(a)) == ODD && check_laws(bqlrec_header(b)) == 2 * ODD);
    bqlrec_close(a, true);
    a = open_named("a", path_a);
    acquire(a, 0, 1);
    bqlrec_thread_exit(a);
    CHECK(bqlrec_get(rec_thread(bqlrec_header(a), 0)->state) == BQLREC_THREAD_DEAD);
    acquire(b, 0, 1);
    CHECK(check_laws(bqlrec_header(a)) == 1 && check_laws(bqlrec_header(b)) == 2 * ODD + 1);
    bqlrec_close(b, true);
    bqlrec_close(a, true);
    printf("ok a thread may use recorders that come and go\n");
}

int main(void)
{
    make_work();
    test_buckets_are_an_eighth_wide();
    test_the_default_file_is_private();
    test_an_existing_file_is_replaced_and_a_link_is_not_followed();
    test_a_killed_process_leaves_a_readable_file();
    test_a_forked_child_leaves_the_file_alone();
    test_what_sleeps_inside_a_hold_has_its_column();
    test_the_event_ring_keeps_the_last_events();
    test_the_monotonic_clock_counts_nanoseconds();
    test_a_thread_may_use_recorders_that_come_and_go();
    char link[128], run[128];
    snprintf(link, sizeof(link), "%s/link", work);
    snprintf(run, sizeof(run), "%s/run", work);
    CHECK(unlink(link) == 0 && rmdir(run) == 0 && rmdir(work) == 0);
    return 0;
}
