/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lockrank.h"

#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_HELD 16
#define MAX_FRAMES 24

typedef struct Held {
    const void *lock;
    const char *name;
    int rank;
    int frames;
    void *stack[MAX_FRAMES];
} Held;

/* What the calling thread holds, in the order it was taken. */
static _Thread_local struct {
    int count;
    Held held[MAX_HELD];
} mine;

static __attribute__((noreturn)) void report(const Held *held, int rank, const char *name)
{
    void *stack[MAX_FRAMES];
    int frames = backtrace(stack, MAX_FRAMES);

    fprintf(stderr,
            "lock rank violation: taking \"%s\" (rank %d) while holding \"%s\" (rank %d)\n"
            "  cycle: \"%s\" -> \"%s\" (here) -> \"%s\" (the order of ranks)\n"
            "\"%s\" was taken at:\n",
            name, rank, held->name, held->rank, held->name, name, held->name, held->name);
    fflush(stderr);
    backtrace_symbols_fd(held->stack, held->frames, STDERR_FILENO);
    fprintf(stderr, "\"%s\" is being taken at:\n", name);
    fflush(stderr);
    backtrace_symbols_fd(stack, frames, STDERR_FILENO);
    abort();
}

void lockrank_check(const void *lock, int rank, const char *name)
{
    for (int i = 0; i < mine.count; i++) {
        const Held *held = &mine.held[i];
        bool two_bqls = held->rank == LOCK_RANK_BQL && rank == LOCK_RANK_BQL && held->lock != lock;
        if (held->rank >= rank && !two_bqls) {
            report(held, rank, name);
        }
    }
}

void lockrank_taken(const void *lock, int rank, const char *name)
{
    Held *held;

    if (mine.count == MAX_HELD) {
        fprintf(stderr, "lock rank: more than %d locks held by one thread\n", MAX_HELD);
        abort();
    }
    held = &mine.held[mine.count++];
    held->lock = lock;
    held->name = name;
    held->rank = rank;
    held->frames = backtrace(held->stack, MAX_FRAMES);
}

void lockrank_released(const void *lock)
{
    for (int i = mine.count - 1; i >= 0; i--) {
        if (mine.held[i].lock == lock) {
            mine.count--;
            memmove(&mine.held[i], &mine.held[i + 1],
                    (size_t)(mine.count - i) * sizeof(mine.held[0]));
            return;
        }
    }
    fprintf(stderr, "lock rank: releasing a lock that this thread does not hold\n");
    abort();
}
