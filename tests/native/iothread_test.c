/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "iothread.h"

enum { LIVES = 200, CALLS = 23 };

typedef struct Seen {
    int calls;
    long tid;
    char name[16];
} Seen;

static void see(void *opaque)
{
    Seen *seen = opaque;
    seen->calls++;
    seen->tid = syscall(SYS_gettid);
    CHECK(pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name)) == 0);
}

static void nest(void *opaque)
{
    aio_run_in_context(opaque, see, &(Seen){0}); /* in its own thread: inline, no deadlock */
}

static void test_calls_run_in_the_named_thread(const AioConfig *config)
{
    IoThread *iothread = iothread_new("a-very-long-identifier", config, -1, NULL);
    Seen seen = {0};

    CHECK(iothread);
    for (int i = 0; i < CALLS; i++) {
        aio_run_in_context(iothread_context(iothread), see, &seen);
    }
    CHECK(seen.calls == CALLS);
    CHECK(seen.tid == iothread_tid(iothread) && seen.tid != syscall(SYS_gettid));
    CHECK(!strcmp(seen.name, "IO a-very-long-"));
    aio_run_in_context(iothread_context(iothread), nest, iothread_context(iothread));
    iothread_free(iothread);
}

static void test_two_hundred_lives(const AioConfig *config)
{
    for (int i = 0; i < LIVES; i++) {
        IoThread *iothread = iothread_new("io0", config, -1, NULL);
        Seen seen = {0};
        CHECK(iothread);
        if (i % 2) { /* else stopped at once, maybe before the first wait */
            aio_run_in_context(iothread_context(iothread), see, &seen);
            CHECK(seen.calls == 1);
        }
        iothread_free(iothread);
    }
}

static void test_bad_configuration_is_refused(void)
{
    AioConfig config = {.fdmon = 99};
    errno = 0;
    CHECK(!iothread_new("io0", &config, -1, NULL) && errno == EINVAL);
    iothread_free(NULL);
    printf("ok test_bad_configuration_is_refused\n");
}

int main(void)
{
    for (int fdmon = AIO_FDMON_EPOLL; fdmon <= AIO_FDMON_IO_URING; fdmon++) {
        AioConfig config = {.fdmon = fdmon, .ring = true, .poll_max_ns = 32768};
        test_calls_run_in_the_named_thread(&config);
        printf("ok test_calls_run_in_the_named_thread fdmon %d\n", fdmon);
        test_two_hundred_lives(&config);
        printf("ok test_two_hundred_lives fdmon %d\n", fdmon);
    }
    test_bad_configuration_is_refused();
    return 0;
}
