/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One FIFO of jobs, threads on demand.
 *
 * submit: queue the job, wake an idle worker; if there are more jobs than idle workers and room for
 * another thread, spawn one. A worker takes jobs until none comes for idle_ns, then ends. Threads
 * are joinable only, so one that ended stays on the list of finished workers until the next spawn
 * or worker_pool_free() joins it.
 *
 * If no thread can be had at all (EAGAIN from the kernel), the submitter runs the queue itself:
 * slow, but no job is lost and nobody waits for ever.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "lockrank.h"
#include "thread.h"
#include "worker_pool.h"

typedef struct Worker Worker;
struct Worker {
    WorkerPool *pool;
    VmmThread *thread; /* NULL until the spawner has it */
    Worker *next;      /* in pool->finished */
};

struct WorkerPool {
    RankedMutex lock;
    pthread_cond_t work;  /* a job was queued, or stopping */
    pthread_cond_t ended; /* a worker ended */
    BqlRec *rec;
    int64_t idle_ns;
    unsigned max_threads;
    /* All below under lock. */
    atomic_uint threads; /* running or being spawned; read without the lock by statistics */
    unsigned idle;       /* without a job: waiting for one, or starting up */
    size_t queued;       /* jobs in the FIFO */
    WorkerJob *first, **last;
    Worker *finished;
    bool stopping;
};

WorkerPool *worker_pool_new(unsigned max_threads, int64_t idle_ns, BqlRec *rec)
{
    pthread_condattr_t attr;
    WorkerPool *pool;

    if (max_threads < 1 || max_threads > 64 || idle_ns < 0) {
        errno = EINVAL;
        return NULL;
    }
    pool = calloc(1, sizeof(*pool));
    if (!pool) {
        return NULL;
    }
    ranked_mutex_init(&pool->lock, LOCK_RANK_POOL, "worker pool");
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, NULL);
    pthread_condattr_destroy(&attr);
    pool->rec = rec;
    pool->idle_ns = idle_ns;
    pool->max_threads = max_threads;
    pool->last = &pool->first;
    return pool;
}

static WorkerJob *pop_locked(WorkerPool *pool)
{
    WorkerJob *job = pool->first;
    if (job) {
        pool->first = job->next;
        if (!pool->first) {
            pool->last = &pool->first;
        }
        pool->queued--;
    }
    return job;
}

/* Next job, waiting idle_ns at most; NULL: the worker shall end. Idle until here. */
static WorkerJob *take_locked(WorkerPool *pool)
{
    struct timespec end;
    int64_t now = aio_now_ns();
    int64_t at = now > INT64_MAX - pool->idle_ns ? INT64_MAX : now + pool->idle_ns;
    int ret = 0;

    end.tv_sec = at / 1000000000;
    end.tv_nsec = at % 1000000000;
    while (!pool->first && !pool->stopping && ret == 0) {
        ret = ranked_cond_timedwait(&pool->work, &pool->lock, &end);
    }
    pool->idle--;
    return pop_locked(pool);
}

static void job_complete(AioPost *post)
{
    WorkerJob *job = (WorkerJob *)((char *)post - offsetof(WorkerJob, post));
    job->done(job, job->result); /* may free the job */
}

static void job_run(WorkerJob *job)
{
    job->result = job->run(job);
    job->post.complete = job_complete;
    aio_post(job->ctx, &job->post);
}

static void worker_main(void *opaque)
{
    Worker *worker = opaque;
    WorkerPool *pool = worker->pool;
    WorkerJob *job;

    ranked_mutex_lock(&pool->lock);
    while ((job = take_locked(pool))) {
        ranked_mutex_unlock(&pool->lock);
        job_run(job);
        ranked_mutex_lock(&pool->lock);
        pool->idle++;
    }
    atomic_fetch_sub_explicit(&pool->threads, 1, memory_order_relaxed);
    worker->next = pool->finished;
    pool->finished = worker;
    pthread_cond_signal(&pool->ended);
    ranked_mutex_unlock(&pool->lock);
}

/* Join the workers that have ended. A worker whose spawner has not come back is left for later. */
static void reap(WorkerPool *pool)
{
    Worker *ended = NULL, *worker;

    ranked_mutex_lock(&pool->lock);
    for (Worker **link = &pool->finished; (worker = *link);) {
        if (worker->thread) {
            *link = worker->next;
            worker->next = ended;
            ended = worker;
        } else {
            link = &worker->next;
        }
    }
    ranked_mutex_unlock(&pool->lock);
    while ((worker = ended)) {
        ended = worker->next;
        vmm_thread_join(worker->thread);
        free(worker);
    }
}

/* The caller has counted the new worker in threads and idle. */
static bool spawn(WorkerPool *pool)
{
    VmmThreadSpec spec = {
        .name = "worker", .role = BQLREC_ROLE_WORKER, .cpu = -1, .rec = pool->rec};
    Worker *worker = calloc(1, sizeof(*worker));

    reap(pool);
    if (!worker) {
        return false;
    }
    worker->pool = pool;
    VmmThread *thread = vmm_thread_spawn(&spec, worker_main, worker);
    if (!thread) {
        free(worker);
        return false;
    }
    ranked_mutex_lock(&pool->lock);
    worker->thread = thread;
    ranked_mutex_unlock(&pool->lock);
    return true;
}

/* No new thread: the ones there are do the work, or else the caller. */
static void spawn_failed(WorkerPool *pool)
{
    WorkerJob *job;

    ranked_mutex_lock(&pool->lock);
    pool->idle--;
    bool alone = atomic_fetch_sub_explicit(&pool->threads, 1, memory_order_relaxed) == 1;
    while (alone && (job = pop_locked(pool))) {
        ranked_mutex_unlock(&pool->lock);
        job_run(job);
        ranked_mutex_lock(&pool->lock);
    }
    ranked_mutex_unlock(&pool->lock);
}

void worker_pool_submit(WorkerPool *pool, AioContext *ctx, WorkerJob *job)
{
    bool more;

    job->ctx = ctx;
    job->next = NULL;
    ranked_mutex_lock(&pool->lock);
    *pool->last = job;
    pool->last = &job->next;
    pool->queued++;
    more = pool->queued > pool->idle && worker_pool_threads(pool) < pool->max_threads;
    if (more) {
        atomic_fetch_add_explicit(&pool->threads, 1, memory_order_relaxed);
        pool->idle++;
    } else {
        pthread_cond_signal(&pool->work);
    }
    ranked_mutex_unlock(&pool->lock);
    if (more && !spawn(pool)) {
        spawn_failed(pool);
    }
}

unsigned worker_pool_threads(const WorkerPool *pool)
{
    return atomic_load_explicit(&pool->threads, memory_order_relaxed);
}

void worker_pool_free(WorkerPool *pool)
{
    if (!pool) {
        return;
    }
    ranked_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    while (worker_pool_threads(pool) > 0) {
        ranked_cond_wait(&pool->ended, &pool->lock);
    }
    ranked_mutex_unlock(&pool->lock);
    reap(pool);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->ended);
    ranked_mutex_destroy(&pool->lock);
    free(pool);
}
