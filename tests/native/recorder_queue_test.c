/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of disk queues and exits of vCPUs in the recording. */
#include "bqlrec_queue.h"
#include <unistd.h>

#include "single_thread.h"

static const BqlRecDone one_read = {
    .duration = 1000, .request = BQLREC_REQUEST_READ, .bytes = 4096};

static void do_requests(BqlRecQueue *queue, const BqlRecDone *done, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        bqlrec_queue_taken(queue);
    }
    for (unsigned i = 0; i < times; i++) {
        bqlrec_queue_done(queue, done);
    }
}

static uint64_t samples(const BqlRecQueue *queue)
{
    uint64_t sum = 0;

    for (unsigned bucket = 0; bucket < BQLREC_BUCKETS; bucket++) {
        sum += bqlrec_get(queue->duration_hist[bucket]);
    }
    return sum;
}

static void test_requests_add_up(BqlRec *rec)
{
    const BqlRecDone failed = {
        .duration = 7, .request = BQLREC_REQUEST_WRITE, .bytes = 512, .failed = true};
    BqlRecQueue *queue = bqlrec_queue(rec, "disk0", 0, "iothread");

    do_requests(queue, &one_read, ODD);
    do_requests(queue, &failed, 3);
    CHECK(bqlrec_get(queue->requests[BQLREC_REQUEST_READ]) == ODD);
    CHECK(bqlrec_get(queue->requests[BQLREC_REQUEST_WRITE]) == 3);
    CHECK(bqlrec_get(queue->errors) == 3);
    CHECK(bqlrec_get(queue->read_bytes) == ODD * 4096);
    CHECK(bqlrec_get(queue->written_bytes) == 0);
    CHECK(bqlrec_get(queue->inflight) == 0 && bqlrec_get(queue->max_inflight) == ODD);
    CHECK(bqlrec_get(queue->duration_total) == ODD * 1000 + 21);
    CHECK(bqlrec_get(queue->max_duration) == 1000);
    CHECK(samples(queue) == ODD + 3 && bqlrec_get(queue->seq) % 2 == 0);
    printf("ok requests add up\n");
}

static void test_each_placement_has_its_own_row(BqlRec *rec)
{
    BqlRecQueue *first = bqlrec_queue(rec, "disk0", 1, "mainloop");

    CHECK(first != NULL && first == bqlrec_queue(rec, "disk0", 1, "mainloop"));
    CHECK(first != bqlrec_queue(rec, "disk0", 1, "iothread"));
    CHECK(first != bqlrec_queue(rec, "disk0", 2, "mainloop"));
    CHECK(first != bqlrec_queue(rec, "disk1", 1, "mainloop"));
    printf("ok each placement has its own row\n");
}

static void test_a_queue_without_a_row_is_counted_as_lost(BqlRec *rec)
{
    const BqlRecHeader *h = bqlrec_header(rec);
    uint32_t index = 100;

    while (bqlrec_get(h->queues_used) < BQLREC_QUEUES) {
        CHECK(bqlrec_queue(rec, "many", index++, "vcpu") != NULL);
    }
    CHECK(bqlrec_queue(rec, "many", index, "vcpu") == NULL);
    CHECK(bqlrec_get(h->queues_lost) == 1);
    bqlrec_queue_taken(NULL); /* whoever has none does not have to ask */
    bqlrec_queue_done(NULL, &one_read);
    CHECK(bqlrec_queue(NULL, "disk0", 0, "vcpu") == NULL);
    printf("ok a queue without a row is counted as lost\n");
}

static void test_exits_are_counted_by_kind(BqlRec *rec)
{
    unsigned me = (unsigned)bqlrec_thread_enter(rec, BQLREC_ROLE_VCPU, "CPU 0/KVM");

    for (unsigned i = 0; i < ODD; i++) {
        bqlrec_count_exit(rec, BQLREC_EXIT_MMIO);
    }
    bqlrec_count_exit(rec, BQLREC_EXIT_HLT);
    CHECK(bqlrec_get(rec_thread(bqlrec_header(rec), me)->exits[BQLREC_EXIT_MMIO]) == ODD);
    CHECK(bqlrec_get(rec_thread(bqlrec_header(rec), me)->exits[BQLREC_EXIT_HLT]) == 1);
    printf("ok exits are counted by kind\n");
}

int main(void)
{
    char path[128];
    BqlRec *rec;

    make_work();
    rec = open_named("queues.bql", path);
    test_requests_add_up(rec);
    test_each_placement_has_its_own_row(rec);
    test_exits_are_counted_by_kind(rec);
    test_a_queue_without_a_row_is_counted_as_lost(rec);
    bqlrec_close(rec, true);
    CHECK(rmdir(work) == 0);
    return 0;
}
