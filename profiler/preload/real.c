/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "real.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

BqlReal bqlpre_real_table;

static const void *object_of(void *symbol)
{
    Dl_info info;

    return dladdr(symbol, &info) != 0 ? info.dli_fbase : NULL;
}

/*
 * glibc for x86-64 keeps the condition variables of 2002 under the version GLIBC_2.2.5, and before
 * 2.36 a look-up without a version finds those. With a version it finds glibc's own function, but
 * skips that of another library that interposes, such as a sanitizer's.
 */
static void *find(const char *name, const char *version)
{
    void *plain = dlsym(RTLD_NEXT, name);
    void *versioned = version != NULL ? dlvsym(RTLD_NEXT, name, version) : NULL;

    if (versioned == NULL || (plain != NULL && object_of(plain) != object_of(versioned))) {
        return plain;
    }
    return versioned;
}

#define FIND(field, name, version)                                                                 \
    do {                                                                                           \
        void *found_ = find(name, version);                                                        \
        __builtin_memcpy(&real->field, &found_, sizeof(found_));                                   \
    } while (0)

static void find_threads(BqlReal *real)
{
    FIND(mutex_lock, "pthread_mutex_lock", NULL);
    FIND(mutex_trylock, "pthread_mutex_trylock", NULL);
    FIND(mutex_unlock, "pthread_mutex_unlock", NULL);
    FIND(cond_wait, "pthread_cond_wait", "GLIBC_2.3.2");
    FIND(cond_timedwait, "pthread_cond_timedwait", "GLIBC_2.3.2");
    FIND(cond_clockwait, "pthread_cond_clockwait", NULL);
    FIND(cond_signal, "pthread_cond_signal", "GLIBC_2.3.2");
    FIND(cond_broadcast, "pthread_cond_broadcast", "GLIBC_2.3.2");
    FIND(create, "pthread_create", NULL);
    FIND(join, "pthread_join", NULL);
}

static void find_system(BqlReal *real)
{
    FIND(ioctl, "ioctl", NULL);
    FIND(mmap, "mmap64", NULL);
    FIND(poll, "poll", NULL);
    FIND(ppoll, "ppoll", NULL);
    FIND(epoll_wait, "epoll_wait", NULL);
    FIND(epoll_pwait, "epoll_pwait", NULL);
    FIND(uring_submit_and_wait, "io_uring_submit_and_wait", NULL); /* NULL without liburing */
    FIND(pread, "pread64", NULL);
    FIND(pwrite, "pwrite64", NULL);
    FIND(preadv, "preadv64", NULL);
    FIND(pwritev, "pwritev64", NULL);
    FIND(fsync, "fsync", NULL);
    FIND(fdatasync, "fdatasync", NULL);
    FIND(syscall, "syscall", NULL);
}

void bqlpre_resolve(void)
{
    /* Two threads at once store the same values. */
    find_threads(&bqlpre_real_table);
    find_system(&bqlpre_real_table);
    if (bqlpre_real_table.mutex_lock == NULL || bqlpre_real_table.mutex_unlock == NULL) {
        static const char message[] = "bqlscope: no C library behind libbqlrecorder.so\n";

        (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
        abort(); /* nothing in this process could go on without a mutex */
    }
    /* Release: partner is the acquire load in real(). */
    atomic_store_explicit(&bqlpre_real_table.ready, 1, memory_order_release);
}
