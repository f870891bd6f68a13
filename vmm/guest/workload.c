/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The disk workload: a closed loop that keeps iodepth requests in flight by polling the used
 * rings.
 *
 *     pump():  for each queue: take all used chains -> account each -> give its slot the next
 *              request -> publish all of them at once -> at most one kick
 *
 * The source of requests is the only thing that differs between the kinds of runs: an endless
 * random or sequential stream, the blocks in order (verify, writing), the blocks from the last to
 * the first (verify, reading), or one flush.
 *
 * One time stamp per batch serves as completion time of its requests and as issue time of their
 * successors: a request's latency includes the guest's own handling, so that iodepth = IOPS x
 * mean latency holds exactly, and the loop does not spend more on clocks than on I/O.
 */
#include "guest.h"
#include "pattern.h"

enum source { SOURCE_STREAM, SOURCE_WRITE_ALL, SOURCE_READ_BACK, SOURCE_FLUSH };

#define STALL_NS 10000000000u /* no completion for so long: the queue is stuck */

struct workload {
    struct guest *g;
    struct guest_blk *blk;
    enum source source;
    uint64_t blocks; /* of the disk in use */
    uint64_t next;   /* position of the source; SOURCE_STREAM: next sequential block */
    uint64_t rng;
    bool closed; /* issue nothing more */
    unsigned in_flight;
    uint64_t last_progress;
};

static uint64_t next_random(struct workload *w)
{
    w->rng ^= w->rng << 13; /* xorshift64 */
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return w->rng;
}

static void prepare_stream(struct workload *w, struct guest_blk_slot *slot)
{
    const struct guest_params *params = &w->g->params;
    uint64_t random = next_random(w), block;
    enum guest_blk_op op = GUEST_BLK_READ;

    if (params->rw == GUEST_RW_WRITE || (params->rw == GUEST_RW_MIXED && (random & 1)))
        op = GUEST_BLK_WRITE;
    if (params->random) {
        /* Scale to 0..blocks-1 with a multiplication: a division would cost more than the rest. */
        block = (uint64_t)((unsigned __int128)random * w->blocks >> 64);
    } else {
        block = w->next;
        if (++w->next == w->blocks)
            w->next = 0;
    }
    guest_blk_prepare(w->blk, slot, op, block);
}

/* Give the slot the source's next request; false if there is none. */
static bool prepare_next(struct workload *w, struct guest_blk_slot *slot)
{
    uint64_t position;

    if (w->closed)
        return false;
    if (w->source == SOURCE_STREAM) {
        prepare_stream(w, slot);
        return true;
    }
    position = w->next;
    if (position == (w->source == SOURCE_FLUSH ? 1 : w->blocks))
        return false;
    w->next++;
    if (w->source == SOURCE_WRITE_ALL) {
        guest_pattern_fill(slot->buffer, position * w->blk->bs, w->blk->bs, w->g->params.seed);
        guest_blk_prepare(w->blk, slot, GUEST_BLK_WRITE, position);
    } else if (w->source == SOURCE_READ_BACK) {
        __builtin_memset(slot->buffer, 0, w->blk->bs); /* data that never arrived must not pass */
        guest_blk_prepare(w->blk, slot, GUEST_BLK_READ, w->blocks - 1 - position);
    } else {
        guest_blk_prepare(w->blk, slot, GUEST_BLK_FLUSH, 0);
    }
    return true;
}

static void account(struct workload *w, struct guest_blk_slot *slot, uint64_t now)
{
    struct guest_result *result = &w->g->result;

    result->ops++;
    result->reads += slot->op == GUEST_BLK_READ;
    result->writes += slot->op == GUEST_BLK_WRITE;
    guest_histogram_record(&result->latency, now - slot->issued);
    if (slot->wire->status) {
        result->errors++;
    } else if (w->source == SOURCE_READ_BACK) {
        uint64_t wrong = guest_pattern_mismatches(slot->buffer, slot->block * w->blk->bs,
                                                  w->blk->bs, w->g->params.seed);

        result->wrong_bytes += wrong;
        result->wrong_blocks += wrong != 0;
    }
}

static void issue(struct workload *w, struct guest_queue *q, struct guest_blk_slot *slot,
                  uint64_t now)
{
    slot->issued = now;
    slot->in_flight = true;
    w->in_flight++;
    guest_queue_add(q, slot->head);
}

static void publish(struct workload *w, struct guest_queue *q)
{
    if (guest_queue_publish(q))
        guest_virtio_kick(&w->blk->virtio, q);
}

/* The slot of a chain the device says it used, or NULL: the device may say anything. */
static struct guest_blk_slot *used_slot(struct workload *w, struct guest_queue *q, uint32_t head)
{
    unsigned number = head < q->size ? w->blk->slot_of_head[q->index][head] : 0;

    if (!number || !w->blk->slots[number - 1].in_flight)
        return 0;
    return &w->blk->slots[number - 1];
}

/* Take everything the device has finished on one queue. False if there was nothing. */
static bool reap(struct workload *w, struct guest_queue *q, uint64_t now)
{
    uint16_t used = guest_queue_used_idx(q);

    if (used == q->last_used)
        return false;
    if (q->irq)
        w->blk->virtio.ops->ack_interrupt(&w->blk->virtio);
    while (q->last_used != used) {
        struct guest_blk_slot *slot = used_slot(w, q, guest_queue_collect(q));

        if (!slot) {
            guest_fail(w->g, GUEST_DEVICE_FAILED, "the device used a chain that is not in flight");
            return true;
        }
        slot->in_flight = false;
        w->in_flight--;
        account(w, slot, now);
        if (prepare_next(w, slot))
            issue(w, q, slot, now);
    }
    guest_queue_rearm(q);
    publish(w, q);
    return true;
}

/* Fill idle slots up, and publish. */
static void fill(struct workload *w)
{
    uint64_t now = platform_ticks(w->g->platform);

    for (unsigned i = 0; i < w->blk->slot_count; i++) {
        struct guest_blk_slot *slot = &w->blk->slots[i];

        if (!slot->in_flight && prepare_next(w, slot))
            issue(w, &w->blk->queues[slot->queue], slot, now);
    }
    for (unsigned i = 0; i < w->blk->queue_count; i++)
        publish(w, &w->blk->queues[i]);
    w->last_progress = now;
}

/*
 * Reap and issue until the deadline (ticks), or until nothing is in flight any more (source
 * exhausted or closed), or until something fails. Returns the time of the last look.
 */
static uint64_t pump(struct workload *w, uint64_t deadline)
{
    const struct platform *p = w->g->platform;
    const uint64_t stall = guest_ns_to_ticks(w->g, STALL_NS);
    uint64_t now = platform_ticks(p);

    while (w->in_flight && now < deadline && !w->g->status && !guest_stopped(w->g)) {
        bool progress = false;

        for (unsigned i = 0; i < w->blk->queue_count; i++)
            progress |= reap(w, &w->blk->queues[i], now);
        if (progress) {
            w->last_progress = now;
        } else {
            platform_relax(p);
            if (now - w->last_progress > stall)
                guest_fail(w->g, GUEST_DEVICE_FAILED, "no completion for 10 s, requests in flight");
        }
        now = platform_ticks(p);
    }
    return now;
}

static uint64_t total_kicks(const struct guest_blk *blk)
{
    uint64_t kicks = 0;

    for (unsigned i = 0; i < blk->queue_count; i++)
        kicks += blk->queues[i].kicks;
    return kicks;
}

static bool open_disk(struct workload *w)
{
    struct guest *g = w->g;
    const char *problem = guest_blk_open(&g->blk, &g->dma, &g->params);
    uint64_t whole;

    if (problem) {
        guest_fail(g, GUEST_DEVICE_FAILED, problem);
        return false;
    }
    whole = g->blk.sectors / (g->params.bs / 512);
    w->blk = &g->blk;
    w->blocks = g->params.blocks ? g->params.blocks : whole;
    w->rng = g->params.seed * 2 + 1; /* xorshift must not start at 0 */
    g->result.blocks = w->blocks;
    if (!whole || w->blocks > whole)
        guest_fail(g, GUEST_BAD_PARAMETER, "the disk has fewer blocks than asked for");
    else if (g->blk.read_only && g->params.rw != GUEST_RW_READ)
        guest_fail(g, GUEST_BAD_PARAMETER, "the disk is read-only");
    return !g->status;
}

static void close_disk(struct workload *w)
{
    if (!w->blk)
        return;
    guest_blk_close(w->blk);
    if (w->g->result.errors || w->g->result.wrong_bytes)
        guest_fail(w->g, GUEST_DATA_WRONG, "");
}

/* Steady state for warmup_ms, then ms measured, requests in flight across both ends. */
static void run_stream(struct workload *w)
{
    struct guest *g = w->g;
    struct guest_result *result = &g->result;
    uint64_t begin, kicks, blocks = result->blocks;

    for (unsigned i = 0; i < w->blk->slot_count; i++)
        guest_pattern_fill(w->blk->slots[i].buffer, (uint64_t)i * w->blk->bs, w->blk->bs,
                           g->params.seed);
    fill(w);
    pump(w, platform_ticks(g->platform) + guest_ns_to_ticks(g, g->params.warmup_ms * 1000000));
    __builtin_memset(result, 0, sizeof(*result));
    result->blocks = blocks;
    guest_window_begin(g);
    begin = platform_ticks(g->platform);
    kicks = total_kicks(w->blk);
    result->elapsed = pump(w, begin + guest_ns_to_ticks(g, g->params.ms * 1000000)) - begin;
    result->kicks = total_kicks(w->blk) - kicks;
    guest_window_end(g);
}

/* Wait for what is still in flight without counting it: the window is over. */
static void drain(struct workload *w)
{
    const struct platform *p = w->g->platform;
    uint64_t begin = platform_ticks(p), limit = guest_ns_to_ticks(w->g, STALL_NS);

    for (unsigned i = 0; i < w->blk->queue_count; i++) {
        struct guest_queue *q = &w->blk->queues[i];

        while (q->last_used != q->avail_published) {
            if (guest_queue_used_idx(q) != q->last_used) {
                q->last_used++;
            } else if (platform_ticks(p) - begin > limit) {
                guest_fail(w->g, GUEST_DEVICE_FAILED, "requests still in flight after 10 s");
                return;
            } else {
                platform_relax(p);
            }
        }
    }
}

void guest_run_disk(struct guest *g)
{
    struct workload w = {.g = g, .source = SOURCE_STREAM};

    if (open_disk(&w)) {
        run_stream(&w);
        if (g->status != GUEST_DEVICE_FAILED)
            drain(&w);
    }
    close_disk(&w);
}

static void run_source(struct workload *w, enum source source)
{
    w->source = source;
    w->next = 0;
    fill(w);
    pump(w, UINT64_MAX);
}

/* Write everything, flush, read it back. */
static void verify_disk(struct workload *w)
{
    run_source(w, SOURCE_WRITE_ALL);
    if (w->blk->can_flush && !w->g->status)
        run_source(w, SOURCE_FLUSH);
    if (!w->g->status)
        run_source(w, SOURCE_READ_BACK);
    w->g->result.kicks += total_kicks(w->blk);
}

void guest_run_verify(struct guest *g)
{
    struct workload w = {.g = g};
    uint64_t begin;

    if (open_disk(&w)) {
        guest_window_begin(g);
        begin = platform_ticks(g->platform);
        verify_disk(&w);
        g->result.elapsed = platform_ticks(g->platform) - begin;
        guest_window_end(g);
    }
    close_disk(&w);
}

/* A disk that was let go is marked by its Status, which a new one does not have. */
static bool wait_for_new_disk(struct guest *g)
{
    const struct platform *p = g->platform;
    const uint64_t begin = platform_ticks(p), pause = guest_ns_to_ticks(g, 1000000);
    uint64_t look = begin;

    while (!g->status && !guest_stopped(g)) {
        const uint64_t now = platform_ticks(p);

        if (now >= look) {
            if (guest_blk_is_new(&g->blk, p, &g->params))
                return true;
            look = now + pause;
        }
        if (now - begin > guest_ns_to_ticks(g, STALL_NS))
            guest_fail(g, GUEST_DEVICE_FAILED, "no new disk came within 10 s");
        platform_relax(p);
    }
    return false;
}

void guest_run_plugged(struct guest *g)
{
    const struct guest_dma unused = g->dma;
    const uint64_t begin = platform_ticks(g->platform);

    guest_window_begin(g);
    for (uint64_t round = 0; round < g->params.plugs && wait_for_new_disk(g); round++) {
        struct workload w = {.g = g};

        g->dma = unused; /* the previous disk's rings and buffers are free again */
        __builtin_memset(&g->blk, 0, sizeof(g->blk));
        if (open_disk(&w))
            verify_disk(&w);
        close_disk(&w);
        if (w.blk)
            guest_blk_mark_used(w.blk);
        g->params.seed++;
    }
    g->result.elapsed = platform_ticks(g->platform) - begin;
    guest_window_end(g);
}
