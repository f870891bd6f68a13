/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The recording's life inside QEMU: opened at the first acquisition; opened again by a child that
 * goes on using the lock, which is what -daemonize makes of QEMU; closed at the exit, when other
 * threads may still run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "preload.h"
#include "real.h"

#define MARKS 2

/* Serialises what happens once; taken and released without being recorded. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

void bqlpre_complain(const char *format, ...)
{
    char line[512];
    int length = snprintf(line, sizeof(line), "bqlscope: ");
    va_list args;

    va_start(args, format);
    length += vsnprintf(line + length, sizeof(line) - (size_t)length, format, args);
    va_end(args);
    if (length > (int)sizeof(line) - 2) {
        length = (int)sizeof(line) - 2;
    }
    line[length] = '\n';
    (void)!write(STDERR_FILENO, line, (size_t)length + 1);
}

/* The parent of a daemon has left a recording of its first moments in the default place. */
static void remove_the_parents(void)
{
    if (bqlpre.opened_path != NULL && bqlpre.opened_pid != getpid() && bqlpre.path == NULL) {
        unlink(bqlpre.opened_path);
    }
    free(bqlpre.opened_path);
    bqlpre.opened_path = NULL;
}

static void open_locked(void)
{
    const BqlRecConfig config = {.path = bqlpre.path, .vm_name = bqlpre.vm_name};
    char error[BQLREC_ERR_SIZE];

    bqlpre.rec = bqlrec_open(&config, error);
    if (bqlpre.rec == NULL) {
        bqlpre_complain("%s; nothing is recorded", error);
        atomic_store_explicit(&bqlpre.state, BQLPRE_FAILED, memory_order_release);
        return;
    }
    remove_the_parents();
    bqlpre.opened_path = strdup(bqlrec_path(bqlpre.rec));
    bqlpre.opened_pid = getpid();
    /* Release: partner is the acquire load in bqlpre_recorder(). */
    atomic_store_explicit(&bqlpre.state, BQLPRE_OPEN, memory_order_release);
}

void bqlpre_open(void)
{
    int saved = errno;

    if (!bqlpre.is_qemu) {
        return;
    }
    real()->mutex_lock(&opening);
    if (atomic_load_explicit(&bqlpre.state, memory_order_relaxed) == BQLPRE_CLOSED) {
        open_locked();
    }
    real()->mutex_unlock(&opening);
    errno = saved;
}

void bqlpre_after_fork_in_child(void)
{
    pthread_mutex_init(&opening, NULL);
    pthread_mutex_init(&bqlpre.gate, NULL);
    atomic_store_explicit(&bqlpre.cond_waiters, 0, memory_order_relaxed);
    if (atomic_load_explicit(&bqlpre.state, memory_order_relaxed) == BQLPRE_OPEN) {
        atomic_store_explicit(&bqlpre.state, BQLPRE_CLOSED, memory_order_relaxed);
    }
}

/* QEMU takes the lock also to tell its version: a process that never had a second thread was no
 * virtual machine. */
static bool worth_keeping(void)
{
    return bqlpre.path != NULL || bqlrec_get(bqlrec_header(bqlpre.rec)->threads_used) > 1;
}

void bqlpre_end(void)
{
    if (atomic_load_explicit(&bqlpre.state, memory_order_acquire) != BQLPRE_OPEN) {
        return;
    }
    bqlrec_finish(bqlpre.rec);
    if (!worth_keeping() && bqlpre.opened_pid == getpid()) {
        unlink(bqlrec_path(bqlpre.rec));
    }
}

/* Copy [at, end) of a file into another of the same size. */
static bool copy_part(int from, int to, off_t at, off_t end)
{
    if (lseek(to, at, SEEK_SET) < 0) {
        return false;
    }
    while (at < end) {
        if (sendfile(to, from, &at, (size_t)(end - at)) <= 0) {
            return false;
        }
    }
    return true;
}

/* Data only: a recording is mostly holes. */
static bool copy_data(int from, int to)
{
    off_t size = lseek(from, 0, SEEK_END);
    off_t at = 0;

    if (size < 0 || ftruncate(to, size) != 0) {
        return false;
    }
    while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
        off_t end = lseek(from, at, SEEK_HOLE);
        if (end < 0 || !copy_part(from, to, at, end)) {
            return false;
        }
        at = end;
    }
    return errno == ENXIO; /* only a hole is left */
}

static void copy_to(const char *suffix)
{
    const char *path = bqlrec_path(bqlpre.rec);
    char target[4096];
    int from, to;

    if (snprintf(target, sizeof(target), "%s%s", path, suffix) >= (int)sizeof(target)) {
        return;
    }
    from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    to = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (from < 0 || to < 0 || !copy_data(from, to)) {
        bqlpre_complain("cannot copy the recording to %s: %s", target, strerror(errno));
        unlink(target);
    }
    if (from >= 0) {
        close(from);
    }
    if (to >= 0) {
        close(to);
    }
}

void bqlpre_window_mark(unsigned mark)
{
    static const char *const suffixes[MARKS] = {".begin", ".end"};
    static bool taken[MARKS];
    int saved = errno;

    if (mark < 1 || mark > MARKS || bqlpre_recorder() == NULL) {
        return;
    }
    real()->mutex_lock(&opening);
    if (!taken[mark - 1]) {
        taken[mark - 1] = true;
        bqlrec_clock_sync(bqlpre.rec);
        copy_to(suffixes[mark - 1]);
    }
    real()->mutex_unlock(&opening);
    errno = saved;
}
