/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Test support: drawn programs on an AioContext. A round is a list of operations; those of thread 0
 * run in the calling thread (the context's owner) first, then the others all at once in threads of
 * their own while the owner runs the loop. A round ends when all that must happen has happened and
 * nothing is left to do.
 */
#ifndef VMM_NATIVE_TESTING_AIO_H
#define VMM_NATIVE_TESTING_AIO_H

#include <stdbool.h>
#include <stdint.h>

#include "aio.h"

#define TESTING_AIO_SOURCES 5 /* eventfds; handlers of the last two may be removed by others */
#define TESTING_AIO_VICTIM 3  /* the first of those */
#define TESTING_AIO_THREADS 3 /* besides the owner, numbered from 1 */
#define TESTING_AIO_SLOTS 3   /* bottom halves, timers, watched descriptors: each */

enum TestingAioKind {
    /* any thread */
    TESTING_AIO_KICK,     /* add value to source index */
    TESTING_AIO_SCHEDULE, /* bottom half index */
    TESTING_AIO_ONESHOT,
    TESTING_AIO_POST,
    TESTING_AIO_NOTIFY,
    /* thread 0 only */
    TESTING_AIO_ADD,    /* handler of source index; value: enum TestingAioBehaviour */
    TESTING_AIO_REMOVE, /* handler of source index, if there is one */
    TESTING_AIO_RENEW,  /* delete bottom half index, scheduled or not, and make a new one */
    TESTING_AIO_ARM,    /* timer index for now + value ns; value < 0: for the end of time */
    TESTING_AIO_DISARM, /* timer index */
    TESTING_AIO_WATCH,  /* watched descriptor index: value 1 watch, 0 do not */
    TESTING_AIO_FILL,   /* watched descriptor index: value 1 readable, 0 not */
};

/* What a handler does besides reading its source empty. */
enum TestingAioBehaviour {
    TESTING_AIO_CONSUME,
    TESTING_AIO_REMOVE_SELF,
    TESTING_AIO_REMOVE_VICTIM, /* + 0, 1: which */
};

typedef struct TestingAioOp {
    int thread, kind, index;
    int64_t value;
} TestingAioOp;

typedef struct TestingAioState {
    uint64_t consumed[TESTING_AIO_SOURCES]; /* read by handlers, since the start */
    bool registered[TESTING_AIO_SOURCES];
    uint64_t scheduled[TESTING_AIO_SLOTS]; /* schedulings answered by a run */
    uint64_t fired[TESTING_AIO_SLOTS];
    bool ready[TESTING_AIO_SLOTS]; /* watched and reported after the round */
    uint64_t oneshots, posts;
    uint64_t strays; /* calls of handlers that were gone, looks before poll_begin */
    bool stuck;      /* something that had to happen did not, for seconds */
} TestingAioState;

typedef struct TestingAio TestingAio;
/* NULL if the way of waiting is not to be had. poll_max_ns > 0: all sources can be polled. */
TestingAio *testing_aio_new(int fdmon, uint64_t poll_max_ns);
void testing_aio_free(TestingAio *rig);
void testing_aio_round(TestingAio *rig, const TestingAioOp *ops, int count, TestingAioState *out);

#endif
