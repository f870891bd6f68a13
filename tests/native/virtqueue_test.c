/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "check.h"
#include "virtqueue.h"
#include "splitq.h"

#define SIZE 8u
#define DESC 0x1000u
#define AVAIL 0x2000u
#define USED 0x3000u
#define TABLE 0x4000u
#define DATA 0x10000u

typedef struct Ring {
    GuestMemory *mem;
    VirtQueue vq;
    SplitqDesc *desc, *table;
    SplitqHead *avail, *used;
    uint16_t idx;
} Ring;

static Ring ring_new(bool event_idx, bool indirect)
{
    Ring r = {.mem = guest_memory_new()};

    CHECK(guest_memory_add_ram(r.mem, 0, 0x20000) == 0);
    virtqueue_init(&r.vq, r.mem);
    r.vq.size = SIZE;
    r.vq.desc_gpa = DESC;
    r.vq.avail_gpa = AVAIL;
    r.vq.used_gpa = USED;
    r.vq.event_idx = event_idx;
    r.vq.indirect = indirect;
    CHECK(virtqueue_start(&r.vq) == 0);
    r.desc = guest_memory_ptr(r.mem, DESC, 1);
    r.table = guest_memory_ptr(r.mem, TABLE, 1);
    r.avail = guest_memory_ptr(r.mem, AVAIL, 1);
    r.used = guest_memory_ptr(r.mem, USED, 1);
    return r;
}

static void offer(Ring *r, uint16_t head)
{
    splitq_store(splitq_avail_entry(r->avail, r->idx % SIZE), head);
    splitq_publish_idx(r->avail, ++r->idx);
}

static int pop(Ring *r, VirtQueueElement *elem, struct iovec *iov)
{
    return virtqueue_pop(&r->vq, elem, iov, SIZE);
}

static SplitqDesc D(uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    return (SplitqDesc){htole64(addr), htole32(len), htole16(flags), htole16(next)};
}

static void test_a_chain_is_popped_in_order(void)
{
    Ring r = ring_new(false, false);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    CHECK(pop(&r, &elem, iov) == 0);
    r.desc[5] = D(DATA, 16, SPLITQ_NEXT, 2);
    r.desc[2] = D(DATA + 0x100, 32, SPLITQ_NEXT | SPLITQ_WRITE, 7);
    r.desc[7] = D(DATA + 0x200, 1, SPLITQ_WRITE, 0);
    offer(&r, 5);
    CHECK(virtqueue_has_work(&r.vq));
    CHECK(pop(&r, &elem, iov) == 1);
    CHECK(elem.head == 5 && elem.out_num == 1 && elem.in_num == 2);
    CHECK(elem.out_bytes == 16 && elem.in_bytes == 33);
    CHECK(iov[1].iov_base == guest_memory_ptr(r.mem, DATA + 0x100, 32) && iov[1].iov_len == 32);
    CHECK(!virtqueue_has_work(&r.vq) && r.vq.inuse == 1);
    virtqueue_push(&r.vq, &elem, 33);
    CHECK(splitq_acquire_idx(r.used) == 1 && r.vq.inuse == 0);
    CHECK(le32toh(splitq_used_entry(r.used, 0)->id) == 5);
    CHECK(le32toh(splitq_used_entry(r.used, 0)->len) == 33);
    guest_memory_free(r.mem);
    puts("a chain is popped in order");
}

static void test_an_indirect_table_may_follow_direct_buffers(void)
{
    Ring r = ring_new(false, true);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    r.desc[0] = D(DATA, 16, SPLITQ_NEXT, 1);
    r.desc[1] = D(TABLE, 32, SPLITQ_INDIRECT | SPLITQ_WRITE, 0); /* WRITE is ignored here */
    r.table[0] = D(DATA + 0x100, 8, SPLITQ_NEXT, 1);
    r.table[1] = D(DATA + 0x200, 4, SPLITQ_WRITE, 0);
    offer(&r, 0);
    CHECK(pop(&r, &elem, iov) == 1);
    CHECK(elem.out_num == 2 && elem.in_num == 1 && elem.out_bytes == 24 && elem.in_bytes == 4);
    guest_memory_free(r.mem);
    puts("an indirect table may follow direct buffers");
}

/* Each row breaks the queue with exactly this reason. */
static void expect_broken(bool indirect, SplitqDesc first, SplitqDesc second, const char *why)
{
    Ring r = ring_new(false, indirect);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    r.desc[0] = first;
    r.desc[1] = second;
    r.table[0] = D(TABLE, 16, SPLITQ_INDIRECT, 0);
    offer(&r, 0);
    CHECK(pop(&r, &elem, iov) == -EPROTO);
    if (strcmp(r.vq.broken, why) != 0) {
        fprintf(stderr, "got \"%s\", want \"%s\"\n", r.vq.broken, why);
        exit(1);
    }
    CHECK(pop(&r, &elem, iov) == -EPROTO); /* and it stays so */
    CHECK(!virtqueue_has_work(&r.vq) && !virtqueue_should_notify(&r.vq));
    guest_memory_free(r.mem);
}

static void test_malformed_chains_break_the_queue(void)
{
    SplitqDesc none = D(0, 0, 0, 0);

    expect_broken(false, D(DATA, 4, SPLITQ_NEXT, 0), none, "chain longer than the queue");
    expect_broken(false, D(DATA, 4, SPLITQ_NEXT, SIZE), none, "descriptor index beyond its table");
    expect_broken(false, D(DATA, 0, 0, 0), none, "zero-sized buffer");
    expect_broken(false, D(0x1ffff, 2, 0, 0), none, "buffer is not in guest RAM");
    expect_broken(false, D(UINT64_MAX, 2, 0, 0), none, "buffer is not in guest RAM");
    expect_broken(false, D(DATA, 4, SPLITQ_NEXT | SPLITQ_WRITE, 1), D(DATA, 4, 0, 0),
                  "device-readable buffer after a device-writable one");
    expect_broken(false, D(TABLE, 16, SPLITQ_INDIRECT, 0), none,
                  "indirect descriptor without the feature");
    expect_broken(true, D(TABLE, 16, SPLITQ_INDIRECT | SPLITQ_NEXT, 1), none,
                  "indirect descriptor with a next one");
    expect_broken(true, D(TABLE, 17, SPLITQ_INDIRECT, 0), none,
                  "indirect table has an invalid length");
    expect_broken(true, D(TABLE, 0, SPLITQ_INDIRECT, 0), none,
                  "indirect table has an invalid length");
    expect_broken(true, D(0x1fff8, 16, SPLITQ_INDIRECT, 0), none,
                  "indirect table is not in guest RAM");
    expect_broken(true, D(TABLE, 16, SPLITQ_INDIRECT, 0), none, "nested indirect descriptor");
    puts("malformed chains break the queue");
}

static void test_an_index_jump_breaks_the_queue(void)
{
    Ring r = ring_new(false, false);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    splitq_publish_idx(r.avail, SIZE + 1);
    CHECK(virtqueue_has_work(&r.vq));
    CHECK(pop(&r, &elem, iov) == -EPROTO);
    CHECK(strcmp(r.vq.broken, "available index moved by more than the queue size") == 0);
    guest_memory_free(r.mem);
    puts("an index jump breaks the queue");
}

static void test_no_more_chains_in_flight_than_the_queue_holds(void)
{
    Ring r = ring_new(false, false);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    r.desc[0] = D(DATA, 4, 0, 0);
    for (unsigned i = 0; i < SIZE; i++) {
        offer(&r, 0);
        CHECK(pop(&r, &elem, iov) == 1);
    }
    offer(&r, 0);
    CHECK(pop(&r, &elem, iov) == -EPROTO);
    guest_memory_free(r.mem);
    puts("no more chains in flight than the queue holds");
}

static void start_fails(uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
    Ring r = ring_new(false, false);

    r.vq.size = size;
    r.vq.desc_gpa = desc;
    r.vq.avail_gpa = avail;
    r.vq.used_gpa = used;
    CHECK(virtqueue_start(&r.vq) == -EINVAL && r.vq.broken && !r.vq.ready);
    virtqueue_reset(&r.vq);
    CHECK(!r.vq.broken && r.vq.mem == r.mem);
    guest_memory_free(r.mem);
}

static void test_bad_rings_do_not_start(void)
{
    start_fails(0, DESC, AVAIL, USED);
    start_fails(6, DESC, AVAIL, USED);
    start_fails(2048, DESC, AVAIL, USED);
    start_fails(SIZE, DESC + 8, AVAIL, USED);
    start_fails(SIZE, DESC, AVAIL + 1, USED);
    start_fails(SIZE, DESC, AVAIL, USED + 2);
    start_fails(SIZE, 0x1fff0, AVAIL, USED);
    start_fails(SIZE, DESC, 0x1fff0, USED);
    start_fails(SIZE, DESC, AVAIL, 0x1fff0);
    puts("bad rings do not start");
}

/* One request round; returns whether the device wanted to interrupt. */
static bool round_trip(Ring *r)
{
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    offer(r, 0);
    CHECK(pop(r, &elem, iov) == 1);
    virtqueue_push(&r->vq, &elem, 0);
    return virtqueue_should_notify(&r->vq);
}

static void test_interrupts_follow_the_flags_without_event_idx(void)
{
    Ring r = ring_new(false, false);

    r.desc[0] = D(DATA, 4, 0, 0);
    CHECK(round_trip(&r));
    splitq_store(&r.avail->flags, SPLITQ_AVAIL_NO_INTERRUPT);
    CHECK(!round_trip(&r));
    virtqueue_set_notification(&r.vq, false);
    CHECK(splitq_load(&r.used->flags) == SPLITQ_USED_NO_NOTIFY);
    virtqueue_set_notification(&r.vq, true);
    CHECK(splitq_load(&r.used->flags) == 0);
    guest_memory_free(r.mem);
    puts("interrupts follow the flags without EVENT_IDX");
}

static void test_event_idx_wraps_at_65535(void)
{
    Ring r = ring_new(true, false);
    _Atomic uint16_t *used_event = splitq_used_event(r.avail, SIZE);

    r.desc[0] = D(DATA, 4, 0, 0);
    CHECK(round_trip(&r)); /* nothing signalled before: always */
    for (unsigned done = 1; done < 3 * 65536u; done++) {
        /* Every third completion is the one asked for; the others stay silent. */
        bool wanted = done % 3 == 0;

        splitq_store(used_event, (uint16_t)(wanted ? done : done + 1));
        CHECK(round_trip(&r) == wanted);
        virtqueue_set_notification(&r.vq, false);
        virtqueue_set_notification(&r.vq, true);
        CHECK(splitq_load(splitq_avail_event(r.used, SIZE)) == (uint16_t)(done + 1));
    }
    guest_memory_free(r.mem);
    puts("EVENT_IDX wraps at 65535");
}

static void test_a_full_lap_without_a_decision_signals(void)
{
    Ring r = ring_new(true, false);
    struct iovec iov[SIZE];
    VirtQueueElement elem;

    r.desc[0] = D(DATA, 4, 0, 0);
    CHECK(round_trip(&r));
    splitq_store(splitq_used_event(r.avail, SIZE), 5);
    for (unsigned i = 0; i < 65536; i++) {
        offer(&r, 0);
        CHECK(pop(&r, &elem, iov) == 1);
        virtqueue_push(&r.vq, &elem, 0);
    }
    CHECK(virtqueue_should_notify(&r.vq)); /* event 5 was passed, though the index looks unmoved */
    guest_memory_free(r.mem);
    puts("a full lap without a decision signals");
}

typedef struct Producer {
    Ring *r;
    unsigned rounds;
} Producer;

static void *produce(void *opaque)
{
    Producer *p = opaque;

    for (unsigned i = 0; i < p->rounds;) {
        if ((uint16_t)(p->r->idx - splitq_acquire_idx(p->r->used)) < SIZE) {
            offer(p->r, (uint16_t)(i % SIZE));
            i++;
        }
    }
    return NULL;
}

static void test_two_threads_agree_on_every_chain(void)
{
    enum { ROUNDS = 20011 };
    Ring r = ring_new(true, false);
    Producer p = {&r, ROUNDS};
    struct iovec iov[SIZE];
    VirtQueueElement elem;
    pthread_t thread;

    for (unsigned i = 0; i < SIZE; i++) {
        r.desc[i] = D(DATA + i * 0x100, i + 1, 0, 0);
    }
    CHECK(pthread_create(&thread, NULL, produce, &p) == 0);
    for (unsigned done = 0; done < ROUNDS;) {
        int ret = pop(&r, &elem, iov);

        CHECK(ret >= 0);
        if (ret == 1) {
            CHECK(elem.head == done % SIZE && elem.out_bytes == done % SIZE + 1);
            virtqueue_push(&r.vq, &elem, 0);
            done++;
        }
    }
    pthread_join(thread, NULL);
    guest_memory_free(r.mem);
    puts("two threads agree on every chain");
}

int main(void)
{
    test_a_chain_is_popped_in_order();
    test_an_indirect_table_may_follow_direct_buffers();
    test_malformed_chains_break_the_queue();
    test_an_index_jump_breaks_the_queue();
    test_no_more_chains_in_flight_than_the_queue_holds();
    test_bad_rings_do_not_start();
    test_interrupts_follow_the_flags_without_event_idx();
    test_event_idx_wraps_at_65535();
    test_a_full_lap_without_a_decision_signals();
    test_two_threads_agree_on_every_chain();
    return 0;
}
