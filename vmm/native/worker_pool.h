/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pool of "worker" threads for blocking jobs. Workers never take the BQL; a job's completion runs
 * as a bottom half in the AioContext that asked. Threads start on demand and end when idle. */
#ifndef VMM_NATIVE_WORKER_POOL_H
#define VMM_NATIVE_WORKER_POOL_H

#include "aio.h"
#include "bqlrec.h"

typedef struct WorkerPool WorkerPool;
typedef struct WorkerJob WorkerJob;
struct WorkerJob {
    int (*run)(WorkerJob *job);               /* in a worker; the result goes to done */
    void (*done)(WorkerJob *job, int result); /* in ctx's thread */
    /* private to the pool: */
    AioContext *ctx;
    WorkerJob *next;
    int result;
    AioPost post;
};

/* max_threads 1..64 (QEMU's default 64); idle_ns: an idle worker ends after this long. */
WorkerPool *worker_pool_new(unsigned max_threads, int64_t idle_ns, BqlRec *rec);
void worker_pool_submit(WorkerPool *pool, AioContext *ctx, WorkerJob *job); /* [any thread] */
/* Waits for running jobs, joins all threads. Nothing may be submitted any more. */
void worker_pool_free(WorkerPool *pool);
unsigned worker_pool_threads(const WorkerPool *pool);

#endif
