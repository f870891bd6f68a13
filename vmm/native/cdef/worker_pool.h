/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: worker_pool. Mirrors the header of the same name; see there for the contract. */
typedef ... WorkerPool;
WorkerPool *worker_pool_new(unsigned max_threads, int64_t idle_ns, BqlRec *rec);
void worker_pool_free(WorkerPool *pool);
unsigned worker_pool_threads(const WorkerPool *pool);
