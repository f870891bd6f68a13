/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the preloaded recorder says a holder sleeps for, what an exit is called, whose a thread is.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "fake_qemu.h"

/* Marks of one reason that a hold at the line gathers while it runs `sleep`. */
static uint64_t sleeps(int line, int reason, void (*sleep)(void))
{
    BqlRecRow *row;

    fake_bql_lock("sleep.c", line);
    sleep();
    fake_bql_unlock();
    row = my_row("sleep.c", (uint32_t)line);
    for (int other = 1; other < BQLREC_BLOCKED_REASONS; other++) {
        CHECK(other == reason || bqlrec_get(row->blocked_count[other]) == 0);
    }
    CHECK(bqlrec_get(row->blocked_ticks[reason]) <= bqlrec_get(row->hold_total));
    return bqlrec_get(row->blocked_count[reason]);
}

static void poll_all(void)
{
    const struct timespec soon = {.tv_nsec = 1000};
    struct epoll_event event;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    CHECK(ppoll(NULL, 0, &soon, NULL) == 0);
    CHECK(poll(NULL, 0, 1) == 0);
    CHECK(epoll_wait(epoll, &event, 1, 1) == 0);
    CHECK(epoll_pwait(epoll, &event, 1, 1, NULL) == 0);
    CHECK(poll(NULL, 0, 0) == 0); /* these do not sleep */
    CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
    close(epoll);
}

static void file_all(void)
{
    char byte = 'x';
    struct iovec part = {&byte, 1};
    int fd;

    fd = open(work, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK(pwrite(fd, &byte, 1, 0) == 1);
    CHECK(pread(fd, &byte, 1, 0) == 1);
    CHECK(pwritev(fd, &part, 1, 0) == 1);
    CHECK(preadv(fd, &part, 1, 0) == 1);
    CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
    close(fd);
}

static void *nothing(void *opaque)
{
    return opaque;
}

static void join_one(void)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, nothing, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static pthread_mutex_t other = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool other_is_taken;

static void *hold_other(void *opaque)
{
    CHECK(pthread_mutex_lock(&other) == 0);
    atomic_store(&other_is_taken, true);
    await_asleep(*(int *)opaque);
    CHECK(pthread_mutex_unlock(&other) == 0);
    return NULL;
}

static void wait_for_other(void)
{
    CHECK(pthread_mutex_lock(&other) == 0);
    CHECK(pthread_mutex_unlock(&other) == 0);
}

static void wait_for_futex(void)
{
    uint32_t word = 0;
    const struct timespec soon = {.tv_nsec = 1000};

    CHECK(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0) == -1);
    CHECK(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0); /* no sleep */
}

static void wait_for_condition(void)
{
    pthread_cond_t never = PTHREAD_COND_INITIALIZER;
    const struct timespec past = {.tv_sec = 1};

    CHECK(pthread_mutex_lock(&other) == 0);
    CHECK(pthread_cond_timedwait(&never, &other, &past) == ETIMEDOUT);
    CHECK(pthread_mutex_unlock(&other) == 0);
}

static void test_each_sleep_under_the_lock_has_its_reason(void)
{
    int me = (int)syscall(SYS_gettid);
    pthread_t holder;

    CHECK(sleeps(1, BQLREC_BLOCKED_POLL, poll_all) == 4);
    CHECK(sleeps(2, BQLREC_BLOCKED_FILE_IO, file_all) == 6);
    CHECK(sleeps(3, BQLREC_BLOCKED_JOIN, join_one) == 1);
    CHECK(sleeps(4, BQLREC_BLOCKED_LOCK, wait_for_futex) == 1);
    CHECK(sleeps(5, BQLREC_BLOCKED_COND, wait_for_condition) == 1);
    CHECK(pthread_create(&holder, NULL, hold_other, &me) == 0);
    while (!atomic_load(&other_is_taken)) {
        sched_yield();
    }
    CHECK(sleeps(6, BQLREC_BLOCKED_LOCK, wait_for_other) == 1);
    CHECK(pthread_join(holder, NULL) == 0);
    CHECK(sleeps(7, BQLREC_BLOCKED_LOCK, wait_for_other) == 0); /* it is free now */
    printf("ok each sleep under the lock has its reason\n");
}

static void test_a_sleep_without_the_lock_is_nobodys(void)
{
    uint64_t before = check_laws(recorded());

    poll_all();
    file_all();
    join_one();
    CHECK(check_laws(recorded()) == before);
    printf("ok a sleep without the lock is nobody's\n");
}

/* An acquisition for an exit, at the line where QEMU takes the lock for all devices. */
static void access_for(BqlPreExit exit)
{
    bqlpre_self.exit = exit;
    fake_bql_lock("../system/physmem.c", 2874);
    fake_bql_unlock();
    bqlpre_self.exit = 0;
}

static void test_an_exit_is_part_of_the_call_site(void)
{
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_PIO, 0x3f8));
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_MMIO, 0xfeb00e50));
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_OTHER, BQLPRE_REASON_INTR));
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_OTHER, KVM_EXIT_SHUTDOWN));
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_OTHER, 99));
    site_at("system/physmem.c", 2874, "pio 0x3f8");
    site_at("system/physmem.c", 2874, "mmio 0xfeb00e50");
    site_at("system/physmem.c", 2874, "exit intr");
    site_at("system/physmem.c", 2874, "exit shutdown");
    site_at("system/physmem.c", 2874, "exit 99");
    printf("ok an exit is part of the call site\n");
}

static uint64_t acquisitions_at(const char *region)
{
    BqlRecRow *row = rec_row(recorded(), my_block(), site_at("system/physmem.c", 2874, region));

    return row != NULL ? row_acquisitions(row) : 0;
}

/* A guest that touches a frame buffer does not fill the site table. */
static void test_many_addresses_become_pages_and_then_a_kind(void)
{
    enum { ADDRESSES = 400, FAR = 300 };
    const uint64_t vga = 0xa0000, ram = 0x100000000;

    for (uint64_t i = 0; i < ADDRESSES; i++) {
        access_for(BQLPRE_EXIT(BQLPRE_EXIT_MMIO, vga + 4 * i));
    }
    CHECK(acquisitions_at("mmio 0xa0000") == 1);
    CHECK(acquisitions_at("mmio 0xa0000+0x1000") > 0); /* those past the limit */
    for (uint64_t i = 0; i < FAR; i++) {
        access_for(BQLPRE_EXIT(BQLPRE_EXIT_MMIO, ram + 0x1000 * i));
    }
    CHECK(acquisitions_at("mmio 0x100000000+0x1000") == 1);
    CHECK(acquisitions_at("mmio") > 0);
    access_for(BQLPRE_EXIT(BQLPRE_EXIT_MMIO, vga)); /* exact once, exact always */
    CHECK(acquisitions_at("mmio 0xa0000") == 2);
    CHECK(bqlrec_get(recorded()->sites_lost) == 0);
    check_laws(recorded());
    printf("ok many addresses become pages and then a kind\n");
}

static void test_roles_follow_names_and_else_call_sites(void)
{
    const char *process = "qemu-system-x86";

    CHECK(bqlpre_role(process, true, "system/vl.c") == BQLREC_ROLE_MAIN);
    CHECK(bqlpre_role("CPU 3/KVM", false, "any.c") == BQLREC_ROLE_VCPU);
    CHECK(bqlpre_role("ALL CPUs/TCG", false, "any.c") == BQLREC_ROLE_VCPU);
    CHECK(bqlpre_role("IO io0", false, "any.c") == BQLREC_ROLE_IOTHREAD);
    CHECK(bqlpre_role("vnc_worker", false, "any.c") == BQLREC_ROLE_VNC);
    CHECK(bqlpre_role("live_migration", false, "any.c") == BQLREC_ROLE_MIGRATION);
    CHECK(bqlpre_role("mig/src/main", false, "any.c") == BQLREC_ROLE_MIGRATION);
    CHECK(bqlpre_role("worker", false, "any.c") == BQLREC_ROLE_WORKER);
    CHECK(bqlpre_role(process, false, "../util/rcu.c") == BQLREC_ROLE_RCU);
    CHECK(bqlpre_role(process, false, "../accel/kvm/kvm-accel-ops.c") == BQLREC_ROLE_VCPU);
    CHECK(bqlpre_role(process, false, "hw/misc/edu.c") == BQLREC_ROLE_OTHER);
    CHECK(bqlpre_role(process, false, NULL) == BQLREC_ROLE_OTHER);
    printf("ok roles follow names and else call sites\n");
}

int main(void)
{
    start_test_program();
    test_each_sleep_under_the_lock_has_its_reason();
    test_a_sleep_without_the_lock_is_nobodys();
    test_an_exit_is_part_of_the_call_site();
    test_many_addresses_become_pages_and_then_a_kind();
    test_roles_follow_names_and_else_call_sites();
    end_test_program();
    return 0;
}
