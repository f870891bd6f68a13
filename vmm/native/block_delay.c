/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Delayed requests, for the backends that experiments use.
 *
 * One timer per delayed request, made and freed in the thread of the request's context. A timer
 * per backend and context would save the allocation, but it would have to be freed in each
 * context's thread when the backend closes, after iothreads may be gone. This way a backend
 * without requests in flight holds nothing in any context.
 */
#include "block_internal.h"

#include <errno.h>
#include <stdlib.h>

typedef struct DelayedRequest {
    BlockBackend *backend;
    BlockRequest *req;
    BlockDelayedFn *fn;
    AioTimer *timer;
} DelayedRequest;

static void delay_expired(void *opaque)
{
    DelayedRequest delayed = *(DelayedRequest *)opaque;

    aio_timer_free(delayed.timer);
    free(opaque);
    delayed.fn(delayed.backend, delayed.req);
}

void block_delay(BlockBackend *backend, BlockRequest *req, uint64_t delay_ns, BlockDelayedFn *fn)
{
    DelayedRequest *delayed = malloc(sizeof(*delayed));

    if (!delayed) {
        block_complete(backend, req, -ENOMEM);
        return;
    }
    *delayed = (DelayedRequest){.backend = backend, .req = req, .fn = fn};
    delayed->timer = aio_timer_new(req->ctx, delay_expired, delayed);
    if (!delayed->timer) {
        free(delayed);
        block_complete(backend, req, -ENOMEM);
        return;
    }
    aio_timer_mod(delayed->timer, aio_now_ns() + (int64_t)delay_ns);
}
