typedef ... WorkerPool;
WorkerPool *worker_pool_new(unsigned max_threads, int64_t idle_ns, BqlRec *rec);
void worker_pool_free(WorkerPool *pool);
