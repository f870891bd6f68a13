/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run something that must abort in a child and look at what it said. */
#ifndef TESTS_NATIVE_DEATH_H
#define TESTS_NATIVE_DEATH_H

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* fn(opaque) must end in abort(); its stderr goes to output. */
static inline void expect_abort(void (*fn)(void *), void *opaque, char *output, size_t size)
{
    size_t used = 0;
    ssize_t n;
    int fds[2], status;
    pid_t pid;

    fflush(stdout);
    CHECK(pipe(fds) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        fn(opaque);
        _exit(0);
    }
    close(fds[1]);
    while (used < size - 1 && (n = read(fds[0], output + used, size - 1 - used)) > 0) {
        used += (size_t)n;
    }
    output[used] = '\0';
    close(fds[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) {
        fprintf(stderr, "expected an abort, got status %#x and:\n%s", status, output);
        exit(1);
    }
}

#endif
