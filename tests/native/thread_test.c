/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every thread has before its body runs. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "recording.h"
#include "thread.h"

typedef struct Started {
    char name[16];
    int tid;
    bool usr1_blocked, segv_blocked;
} Started;

static void look_around(void *opaque)
{
    Started *started = opaque;
    sigset_t set;

    prctl(PR_GET_NAME, started->name, 0, 0, 0);
    started->tid = (int)syscall(SYS_gettid);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    started->usr1_blocked = sigismember(&set, SIGUSR1) == 1;
    started->segv_blocked = sigismember(&set, SIGSEGV) == 1;
}

static void test_a_thread_starts_with_its_name_and_mask(void)
{
    VmmThreadSpec spec = {"CPU 0/KVM and more", BQLREC_ROLE_VCPU, -1, NULL};
    Started started = {.tid = 0};
    VmmThread *thread;
    char path[64];
    BqlRecConfig config = {.path = path};
    BqlRec *rec;

    snprintf(path, sizeof(path), "/tmp/thread_test.%d.bql", (int)getpid());
    rec = bqlrec_open(&config, NULL);
    CHECK(rec != NULL);
    spec.rec = rec;
    thread = vmm_thread_spawn(&spec, look_around, &started);
    CHECK(thread != NULL);
    /* Known to the recorder before spawn returned. */
    CHECK(bqlrec_get(bqlrec_header(rec)->threads_used) == 1);
    CHECK(bqlrec_get(rec_thread(bqlrec_header(rec), 0)->tid) == (uint32_t)vmm_thread_tid(thread));
    CHECK(bqlrec_get(rec_thread(bqlrec_header(rec), 0)->role) == BQLREC_ROLE_VCPU);
    vmm_thread_join(thread);
    CHECK(strcmp(started.name, "CPU 0/KVM and m") == 0);
    CHECK(started.usr1_blocked && !started.segv_blocked);
    CHECK(bqlrec_get(rec_thread(bqlrec_header(rec), 0)->state) == BQLREC_THREAD_DEAD);
    spec.cpu = 1 << 20;
    CHECK(vmm_thread_spawn(&spec, look_around, &started) == NULL && errno == EINVAL);
    bqlrec_close(rec, true);
    printf("ok a thread starts with its name and mask\n");
}

int main(void)
{
    test_a_thread_starts_with_its_name_and_mask();
    return 0;
}
