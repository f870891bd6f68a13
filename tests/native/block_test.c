/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Block backends: every engine against the same expectations, limits, locks, failures.
 * longer than 400 lines: all groups share one image, one rig and one table of engines.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_file.h"
#include "check.h"
#include "testing_block.h"

enum { DISK = 1 << 20 };

static char dir[] = "/tmp/block_test_XXXXXX";
static char err[BLOCK_ERR_SIZE];

static const char *image(const char *name, off_t size)
{
    static char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(fd >= 0 && ftruncate(fd, size) == 0 && close(fd) == 0);
    return path;
}

static void passed(const char *what)
{
    printf("ok %s\n", what);
}

static int run_one(BlockTestRig *rig, BlockBackend *b, BlockTestOp op)
{
    block_test_run(rig, b, &op, 1);
    CHECK(op.completions == 1);
    return op.ret;
}

static void test_null_completes_inside_submit(BlockTestRig *rig)
{
    BlockBackend *b = block_open_null(DISK, 0);
    char data[512];
    BlockStats stats;

    memset(data, 1, sizeof(data));
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = 512, .data = data}) == 0);
    for (size_t i = 0; i < sizeof(data); i++)
        CHECK(data[i] == 0);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_FLUSH}) == 0);
    block_stats(b, &stats);
    CHECK(stats.ops[BLOCK_READ] == 1 && stats.bytes[BLOCK_READ] == 512);
    CHECK(stats.ops[BLOCK_FLUSH] == 1 && stats.bytes[BLOCK_FLUSH] == 0);
    CHECK(!strcmp(block_driver_name(b), "null"));
    block_close(b);
    passed("null completes inside submit");
}

static void test_latency_is_kept(BlockTestRig *rig)
{
    BlockBackend *b = block_open_filter(block_open_null(DISK, 2000000), 3000000, 0, 0);
    BlockTestOp ops[20];
    char data[512];
    int64_t start = aio_now_ns();

    for (int i = 0; i < 20; i++)
        ops[i] = (BlockTestOp){.op = BLOCK_WRITE, .bytes = 512, .data = data};
    memset(data, 1, sizeof(data));
    block_test_run(rig, b, ops, 20);
    CHECK(aio_now_ns() - start >= 5000000);
    for (int i = 0; i < 20; i++)
        CHECK(ops[i].ret == 0 && ops[i].completions == 1);
    block_close(b);
    passed("delays of null and filter add up");
}

static void test_limits_are_enforced(BlockTestRig *rig)
{
    BlockOpenOptions opts = {.filename = image("ro", DISK), .read_only = true};
    BlockBackend *b = block_open_file(&opts, block_test_rig_pool(rig), err);
    char data[2048] = {0};

    CHECK(b && block_limits(b)->read_only && !block_limits(b)->can_discard);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_WRITE, .bytes = 512, .data = data}) == -EPERM);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_DISCARD, .bytes = 512}) == -EPERM);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_WRITE_ZEROES, .bytes = 512}) == -EPERM);
    CHECK(run_one(rig, b, (BlockTestOp){.op = 17}) == -EINVAL);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = 2048, .cut = 1, .data = data}) ==
          -EINVAL);
    CHECK(run_one(rig, b,
                  (BlockTestOp){.op = BLOCK_READ, .offset = DISK, .bytes = 512, .data = data}) ==
          -EIO);
    CHECK(run_one(rig, b,
                  (BlockTestOp){
                      .op = BLOCK_READ, .offset = UINT64_MAX - 511, .bytes = 512, .data = data}) ==
          -EIO);
    CHECK(run_one(rig, b,
                  (BlockTestOp){
                      .op = BLOCK_READ, .offset = DISK - 512, .bytes = 512, .data = data}) == 0);
    block_close(b);
    passed("requests outside the limits are refused");
}

static void test_filter_fails_every_third(BlockTestRig *rig)
{
    BlockBackend *b = block_open_filter(block_open_null(DISK, 0), 0, 3, ENOSPC);
    BlockStats stats, child;
    char data[512] = {0};

    for (int i = 1; i <= 23; i++) {
        BlockTestOp op = {.op = BLOCK_WRITE, .bytes = 512, .data = data};

        CHECK(run_one(rig, b, op) == (i % 3 == 0 ? -ENOSPC : 0));
    }
    block_stats(b, &stats);
    block_stats(b->child, &child);
    CHECK(stats.ops[BLOCK_WRITE] == 23 && stats.failed[BLOCK_WRITE] == 7);
    CHECK(child.ops[BLOCK_WRITE] == 16 && child.failed[BLOCK_WRITE] == 0);
    block_close(b);
    passed("the filter fails every third request, exactly");
}

/* One random program of disjoint requests against a model of the disk. */
static void check_against_model(BlockTestRig *rig, BlockBackend *b, unsigned seed)
{
    enum { SLOTS = 16, SLOT = DISK / SLOTS };
    static char model[DISK], data[SLOTS][SLOT], all[DISK];
    BlockTestOp ops[SLOTS];

    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = DISK, .data = model}) == 0);
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < SLOTS; i++) {
            /* Byte granularity now and then: partial blocks are read, modified and written. */
            unsigned grain = rand_r(&seed) % 4 ? 512 : 1;
            unsigned skip = rand_r(&seed) % (SLOT / 2) / grain * grain;
            unsigned bytes = rand_r(&seed) % (SLOT / 2) / grain * grain;
            static const int kinds[] = {BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE, BLOCK_WRITE_ZEROES};

            ops[i] = (BlockTestOp){
                .op = kinds[rand_r(&seed) % 4],
                .flags = rand_r(&seed) % 4,
                .offset = (uint64_t)i * SLOT + skip,
                .bytes = bytes,
                .data = data[i],
                .misalign = rand_r(&seed) % 3 ? 0 : rand_r(&seed) % 600,
                .cut = rand_r(&seed) % 2 ? 0 : (rand_r(&seed) % 2 ? 512 : 333),
            };
            memset(data[i], (int)(rand_r(&seed) & 0xff), SLOT);
        }
        block_test_run(rig, b, ops, SLOTS);
        for (int i = 0; i < SLOTS; i++) {
            CHECK(ops[i].ret == 0 && ops[i].completions == 1);
            if (ops[i].op == BLOCK_READ)
                CHECK(!memcmp(model + ops[i].offset, data[i], ops[i].bytes));
            else if (ops[i].op == BLOCK_WRITE)
                memcpy(model + ops[i].offset, data[i], ops[i].bytes);
            else
                memset(model + ops[i].offset, 0, ops[i].bytes);
        }
    }
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_FLUSH}) == 0);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = DISK, .data = all}) == 0);
    CHECK(!memcmp(all, model, DISK));
}

static void test_engines_agree_with_the_model(BlockTestRig *rig, BlockTestRig *no_ring)
{
    for (int variant = 0; variant < 8; variant++) {
        BlockOpenOptions opts = {
            .filename = image("model", DISK),
            .direct = variant & 1,
            .aio = variant & 2 ? BLOCK_AIO_THREADS : BLOCK_AIO_IO_URING,
        };
        BlockTestRig *use = variant & 4 ? no_ring : rig;
        BlockBackend *b = block_open_file(&opts, block_test_rig_pool(use), err);

        if (!b && opts.direct && errno == EINVAL) {
            printf("skip O_DIRECT: %s\n", err);
            continue;
        }
        CHECK(b);
        check_against_model(use, b, (unsigned)variant + 1);
        block_close(b);
    }
    passed("ring and threads, buffered and direct, agree with the model");
}

static void test_a_ragged_end_reads_as_zeroes(BlockTestRig *rig)
{
    for (int variant = 0; variant < 4; variant++) {
        BlockOpenOptions opts = {
            .filename = image("ragged", 0),
            .direct = variant & 1,
            .aio = variant & 2 ? BLOCK_AIO_THREADS : BLOCK_AIO_IO_URING,
        };
        int fd = open(opts.filename, O_WRONLY);
        BlockBackend *b;
        struct stat st;
        char data[1024];

        memset(data, 'x', sizeof(data));
        CHECK(write(fd, data, 1000) == 1000);
        b = block_open_file(&opts, block_test_rig_pool(rig), err);
        if (!b && opts.direct)
            continue;
        CHECK(b && block_limits(b)->size == 1024);
        CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = 1024, .data = data}) == 0);
        CHECK(data[999] == 'x' && data[1000] == 0 && data[1023] == 0);
        memset(data, 'y', sizeof(data));
        CHECK(run_one(rig, b,
                      (BlockTestOp){
                          .op = BLOCK_WRITE, .offset = 512, .bytes = 512, .data = data}) == 0);
        CHECK(fstat(fd, &st) == 0 && st.st_size >= 1024);
        close(fd);
        block_close(b);
    }
    passed("a ragged end reads as zeroes and can be written");
}

static void test_a_full_queue_loses_nothing(BlockTestRig *rig)
{
    enum { MANY = 3001 };
    static BlockTestOp ops[MANY];
    static char data[MANY][512];
    BlockOpenOptions opts = {.filename = image("many", DISK)};
    BlockBackend *b = block_open_file(&opts, block_test_rig_pool(rig), err);
    BlockStats stats;

    for (int i = 0; i < MANY; i++) {
        ops[i] = (BlockTestOp){.op = i % 2 ? BLOCK_READ : BLOCK_WRITE,
                               .offset = (uint64_t)(i % (DISK / 512)) * 512,
                               .bytes = 512,
                               .data = data[i]};
    }
    block_test_run(rig, b, ops, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK(ops[i].ret == 0 && ops[i].completions == 1);
    block_stats(b, &stats);
    CHECK(stats.ops[BLOCK_READ] == 1500 && stats.ops[BLOCK_WRITE] == 1501);
    block_close(b);
    passed("3001 requests in one batch complete once each");
}

static void test_whole_requests_never_reach_the_pool(void)
{
    BlockTestRig *rig = block_test_rig_new(true);
    WorkerPool *pool = block_test_rig_pool(rig);
    BlockOpenOptions opts = {.filename = image("fast", DISK)};
    BlockBackend *b = block_open_file(&opts, pool, err);
    static char data[65536];
    static const int kinds[] = {BLOCK_WRITE, BLOCK_READ, BLOCK_FLUSH, BLOCK_WRITE};

    for (int i = 0; i < 101 && block_test_rig_has_ring(rig); i++) {
        BlockTestOp op = {
            .op = kinds[i % 4], .flags = BLOCK_FUA, .bytes = 65536, .data = data, .cut = 4096};

        CHECK(run_one(rig, b, op) == 0);
    }
    CHECK(worker_pool_threads(pool) == 0);
    opts.aio = BLOCK_AIO_THREADS;
    block_close(b);
    b = block_open_file(&opts, pool, err);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = 512, .data = data}) == 0);
    CHECK(worker_pool_threads(pool) == 1);
    block_close(b);
    block_test_rig_free(rig);
    passed("with a ring, whole requests never reach the pool");
}

static void check_zeroing(BlockTestRig *rig, const char *path)
{
    static char data[DISK];

    for (int variant = 0; variant < 8; variant++) {
        BlockOpenOptions opts = {.filename = path,
                                 .aio = variant & 1 ? BLOCK_AIO_THREADS : BLOCK_AIO_IO_URING};
        BlockBackend *b = block_open_file(&opts, block_test_rig_pool(rig), err);
        unsigned flags = (unsigned)variant >> 1;

        CHECK(b);
        memset(data, 'd', DISK);
        CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_WRITE, .bytes = DISK, .data = data}) == 0);
        CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_DISCARD, .bytes = 65536}) == 0);
        CHECK(run_one(rig, b,
                      (BlockTestOp){.op = BLOCK_WRITE_ZEROES,
                                    .flags = flags,
                                    .offset = 65536 + 512,
                                    .bytes = 300000}) == 0);
        CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_READ, .bytes = DISK, .data = data}) == 0);
        CHECK(data[65536] == 'd' && data[65536 + 511] == 'd');
        for (int i = 65536 + 512; i < 65536 + 512 + 300000; i++)
            CHECK(data[i] == 0);
        CHECK(data[65536 + 512 + 300000] == 'd' && data[DISK - 1] == 'd');
        block_close(b);
    }
}

static void test_zeroing_with_and_without_the_file_systems_help(BlockTestRig *rig)
{
    char shm[] = "/dev/shm/block_test_XXXXXX";
    int fd = mkstemp(shm);

    check_zeroing(rig, image("zero", DISK));
    if (fd >= 0) { /* tmpfs punches holes, but has no FALLOC_FL_ZERO_RANGE */
        CHECK(ftruncate(fd, DISK) == 0);
        check_zeroing(rig, shm);
        close(fd);
        unlink(shm);
    }
    passed("discard and write zeroes, with and without the file system's help");
}

static void test_open_errors_are_explained(BlockTestRig *rig)
{
    WorkerPool *pool = block_test_rig_pool(rig);
    BlockOpenOptions opts = {.filename = "/nonexistent/image"};
    char fifo[128];

    CHECK(!block_open_file(&opts, pool, err) && errno == ENOENT);
    CHECK(!strcmp(err, "Could not open '/nonexistent/image': No such file or directory"));
    opts = (BlockOpenOptions){.filename = dir, .read_only = true};
    CHECK(!block_open_file(&opts, pool, err) && errno == EISDIR && strstr(err, "Is a directory"));
    opts.filename = image("empty", 0);
    CHECK(!block_open_file(&opts, pool, err) && errno == EINVAL && strstr(err, "is empty"));
    snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
    CHECK(mkfifo(fifo, 0600) == 0);
    opts.filename = fifo;
    CHECK(!block_open_file(&opts, pool, err) && errno == ENOTBLK);
    CHECK(strstr(err, "Not a regular file or block device"));
    passed("open errors are explained in one line");
}

static void test_locks_exclude_a_second_writer(BlockTestRig *rig)
{
    WorkerPool *pool = block_test_rig_pool(rig);
    BlockOpenOptions writer = {.filename = image("locked", DISK), .locking = true};
    BlockOpenOptions reader = {.filename = writer.filename, .locking = true, .read_only = true};
    BlockOpenOptions careless = {.filename = writer.filename};
    char expected[BLOCK_ERR_SIZE];
    BlockBackend *first = block_open_file(&writer, pool, err);
    BlockBackend *second;

    CHECK(first && !block_limits(first)->unlocked);
    snprintf(expected, sizeof(expected),
             "Failed to get \"write\" lock. Is another process using the image [%s]?",
             writer.filename);
    CHECK(!block_open_file(&writer, pool, err) && errno == EAGAIN && !strcmp(err, expected));
    CHECK(!block_open_file(&reader, pool, err) && strstr(err, "Failed to get shared \"write\""));
    second = block_open_file(&careless, pool, err);
    CHECK(second);
    block_close(second);
    block_close(first);

    first = block_open_file(&reader, pool, err);
    second = block_open_file(&reader, pool, err);
    CHECK(first && second);
    CHECK(!block_open_file(&writer, pool, err) && !strcmp(err, expected));
    block_close(first);
    block_close(second);
    first = block_open_file(&writer, pool, err);
    CHECK(first);
    block_close(first);
    passed("a second writer is refused, readers share, closing unlocks");
}

static void test_a_full_disk_is_an_error_for_the_guest(BlockTestRig *rig)
{
    struct rlimit old, limit;
    static char data[65536];

    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    for (int aio = BLOCK_AIO_IO_URING; aio <= BLOCK_AIO_THREADS; aio++) {
        BlockOpenOptions opts = {.filename = image("full", DISK), .aio = aio};
        BlockBackend *b = block_open_file(&opts, block_test_rig_pool(rig), err);
        BlockTestOp inside = {.op = BLOCK_WRITE, .bytes = 65536, .data = data};
        BlockTestOp across = {.op = BLOCK_WRITE, .offset = 65536, .bytes = 65536, .data = data};
        BlockTestOp beyond = {.op = BLOCK_WRITE, .offset = 131072, .bytes = 65536, .data = data};

        limit = (struct rlimit){98304, old.rlim_max};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        CHECK(run_one(rig, b, inside) == 0);
        CHECK(run_one(rig, b, across) == -EFBIG);
        CHECK(run_one(rig, b, beyond) == -EFBIG);
        CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
        CHECK(run_one(rig, b, beyond) == 0);
        block_close(b);
    }
    passed("a full disk is an error for the guest, also after a short write");
}

static void test_a_failed_flush_stays_failed(BlockTestRig *rig)
{
    BlockOpenOptions opts = {.filename = image("flush", DISK)};
    BlockBackend *b = block_open_file(&opts, block_test_rig_pool(rig), err);

    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_FLUSH}) == 0);
    CHECK(block_file_flushed((BlockFile *)b, -ENOSPC) == -ENOSPC);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_FLUSH}) == -ENOSPC);
    block_close(b);
    opts.no_flush = true;
    b = block_open_file(&opts, block_test_rig_pool(rig), err);
    CHECK(run_one(rig, b, (BlockTestOp){.op = BLOCK_FLUSH}) == 0);
    block_close(b);
    passed("a failed flush stays failed");
}

typedef struct Half {
    BlockTestRig *rig;
    BlockBackend *backend;
    uint64_t base;
    char fill;
} Half;

static void *write_half(void *opaque)
{
    Half *half = opaque;
    BlockTestOp ops[32];
    char data[4096];

    memset(data, half->fill, sizeof(data));
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 32; i++) {
            ops[i] = (BlockTestOp){.op = round % 2 ? BLOCK_READ : BLOCK_WRITE,
                                   .offset = half->base + (uint64_t)i * 4096,
                                   .bytes = 4096,
                                   .data = data};
        }
        block_test_run(half->rig, half->backend, ops, 32);
        for (int i = 0; i < 32; i++)
            CHECK(ops[i].ret == 0);
        for (size_t i = 0; i < sizeof(data); i++)
            CHECK(data[i] == half->fill);
    }
    return NULL;
}

static void test_two_contexts_share_a_backend(void)
{
    for (int aio = BLOCK_AIO_IO_URING; aio <= BLOCK_AIO_THREADS; aio++) {
        BlockOpenOptions opts = {.filename = image("shared", DISK), .aio = aio};
        WorkerPool *pool = worker_pool_new(4, 1000000000, NULL);
        BlockBackend *file = block_open_file(&opts, pool, err);
        BlockBackend *b = block_open_filter(file, 1000, 0, 0);
        Half halves[2] = {{block_test_rig_new(true), b, 0, 'a'},
                          {block_test_rig_new(true), b, DISK / 2, 'b'}};
        pthread_t threads[2];
        BlockStats stats;

        for (int i = 0; i < 2; i++)
            CHECK(pthread_create(&threads[i], NULL, write_half, &halves[i]) == 0);
        for (int i = 0; i < 2; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        block_stats(b, &stats);
        CHECK(stats.ops[BLOCK_READ] == 640 && stats.bytes[BLOCK_WRITE] == 640 * 4096);
        block_close(b);
        /* The pool goes first: a worker may still be waking a context it has completed into. */
        worker_pool_free(pool);
        for (int i = 0; i < 2; i++)
            block_test_rig_free(halves[i].rig);
    }
    passed("two contexts share a backend");
}

static void clean_up(void)
{
    static const char *const names[] = {"ro",   "model",  "ragged", "many",  "zero",   "empty",
                                        "fifo", "locked", "full",   "flush", "shared", "fast"};
    char path[128];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

int main(void)
{
    BlockTestRig *rig = block_test_rig_new(true);
    BlockTestRig *no_ring = block_test_rig_new(false);

    CHECK(rig && no_ring && mkdtemp(dir));
    atexit(clean_up);
    signal(SIGXFSZ, SIG_IGN);
    if (!block_test_rig_has_ring(rig))
        printf("note: no io_uring here, all tests use threads\n");
    test_null_completes_inside_submit(rig);
    test_latency_is_kept(rig);
    test_limits_are_enforced(rig);
    test_filter_fails_every_third(rig);
    test_engines_agree_with_the_model(rig, no_ring);
    test_a_ragged_end_reads_as_zeroes(rig);
    test_a_full_queue_loses_nothing(rig);
    test_whole_requests_never_reach_the_pool();
    test_zeroing_with_and_without_the_file_systems_help(rig);
    test_open_errors_are_explained(rig);
    test_locks_exclude_a_second_writer(rig);
    test_a_full_disk_is_an_error_for_the_guest(rig);
    test_a_failed_flush_stays_failed(rig);
    test_two_contexts_share_a_backend();
    block_test_rig_free(rig);
    block_test_rig_free(no_ring);
    return 0;
}
