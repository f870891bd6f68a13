/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: aio. Mirrors the header of the same name; see there for the contract. */
typedef ... AioContext;
typedef struct AioConfig { int fdmon; bool ring; uint64_t poll_max_ns; uint64_t poll_grow; uint64_t poll_shrink; } AioConfig;
AioContext *aio_context_new(const AioConfig *config);
void aio_context_free(AioContext *ctx);
int aio_watch_fd(AioContext *ctx, int fd, int events);
void aio_set_poll_params(AioContext *ctx, uint64_t max_ns, uint64_t grow, uint64_t shrink);
