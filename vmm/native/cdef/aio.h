/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: aio. Mirrors the header of the same name; see there for the contract. */
typedef ... AioContext;
typedef struct AioConfig {
    int fdmon;
    bool ring;
    uint64_t poll_max_ns, poll_grow, poll_shrink;
} AioConfig;
enum AioFdmon { AIO_FDMON_AUTO, AIO_FDMON_EPOLL, AIO_FDMON_IO_URING, ... };
AioContext *aio_context_new(const AioConfig *config);
void aio_context_free(AioContext *ctx);
int aio_fdmon(const AioContext *ctx);
bool aio_has_ring(const AioContext *ctx);
void aio_notify(AioContext *ctx);
bool aio_wait(AioContext *ctx, int64_t timeout_ns);
bool aio_dispatch(AioContext *ctx);
bool aio_poll(AioContext *ctx, bool blocking);
int aio_take_ready(AioContext *ctx, int *fds, int *events, int max);
int aio_watch_fd(AioContext *ctx, int fd, int events);
void aio_set_poll_params(AioContext *ctx, uint64_t max_ns, uint64_t grow, uint64_t shrink);
typedef struct AioStats {
    uint64_t iterations, poll_ok, poll_miss, bh_runs, fd_runs, timer_runs, cqes, submits;
    uint64_t poll_ns;
} AioStats;
void aio_stats(const AioContext *ctx, AioStats *out);
