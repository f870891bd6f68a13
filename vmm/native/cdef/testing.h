/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: testing. Mirrors the header of the same name; see there for the contract. */
/* testing_block.h */
typedef struct BlockTestOp {
    int op;
    unsigned flags;
    uint64_t offset, bytes;
    char *data;
    uint32_t misalign;
    uint32_t cut;
    int ret;
    int completions;
} BlockTestOp;
typedef struct BlockTestRig BlockTestRig;
BlockTestRig *block_test_rig_new(bool ring);
void block_test_rig_free(BlockTestRig *rig);
bool block_test_rig_has_ring(const BlockTestRig *rig);
WorkerPool *block_test_rig_pool(BlockTestRig *rig);
void block_test_run(BlockTestRig *rig, BlockBackend *backend, BlockTestOp *ops, int count);
/* testing_driver.h */
typedef struct TestingDriver TestingDriver;
typedef struct TestingBuffer {
    uint64_t gpa;
    uint32_t len;
    bool device_writes;
} TestingBuffer;
uint32_t testing_driver_read(TestingDriver *driver, uint64_t offset, unsigned size);
void testing_driver_write(TestingDriver *driver, uint64_t offset, uint32_t value, unsigned size);
uint32_t testing_driver_start(TestingDriver *driver, uint64_t features);
void testing_driver_reset(TestingDriver *driver);
uint64_t testing_driver_irqs(const TestingDriver *driver);
int testing_driver_add(TestingDriver *driver, unsigned queue, const TestingBuffer *buffers,
                       unsigned count, bool indirect, uint64_t cookie);
bool testing_driver_publish(TestingDriver *driver, unsigned queue);
void testing_driver_kick(TestingDriver *driver, unsigned queue);
bool testing_driver_take(TestingDriver *driver, unsigned queue, uint64_t *cookie, uint32_t *len);
typedef struct TestingBlkRequest {
    uint32_t type;
    uint64_t sector;
    uint64_t gpa;
    uint32_t len;
    bool device_writes;
    uint32_t piece;
    bool indirect;
} TestingBlkRequest;
int testing_driver_add_blk(TestingDriver *driver, unsigned queue, const TestingBlkRequest *req);
int testing_driver_blk_status(const TestingDriver *driver, uint64_t gpa, uint32_t len);
/* testing_virtio.h */
typedef struct TestingRigConfig {
    int placement;
    int irq_mode;
    unsigned num_queues;
    uint16_t queue_size;
    bool ring;
    uint64_t poll_max_ns;
    bool write_cache;
} TestingRigConfig;
typedef ... TestingRig;
TestingRig *testing_rig_new(const TestingRigConfig *config, BlockBackend *backend);
void testing_rig_free(TestingRig *rig);
void testing_rig_wait(TestingRig *rig, unsigned queue, uint64_t *cookie, uint32_t *len);
int testing_rig_request(TestingRig *rig, unsigned queue, const TestingBlkRequest *req,
                        uint32_t *used_len);
TestingDriver *testing_rig_driver(TestingRig *rig);
const GuestMemory *testing_rig_memory(TestingRig *rig);
VirtioBlk *testing_rig_blk(TestingRig *rig);
AioContext *testing_rig_context(TestingRig *rig, unsigned place);
uint64_t testing_rig_data_gpa(const TestingRig *rig);
uint64_t testing_rig_complaints(const TestingRig *rig);
/* testing_aio.h */
#define TESTING_AIO_SOURCES ...
#define TESTING_AIO_VICTIM ...
#define TESTING_AIO_THREADS ...
#define TESTING_AIO_SLOTS ...
enum TestingAioKind {
    TESTING_AIO_KICK,
    TESTING_AIO_SCHEDULE,
    TESTING_AIO_ONESHOT,
    TESTING_AIO_POST,
    TESTING_AIO_NOTIFY,
    TESTING_AIO_ADD,
    TESTING_AIO_REMOVE,
    TESTING_AIO_RENEW,
    TESTING_AIO_ARM,
    TESTING_AIO_DISARM,
    TESTING_AIO_WATCH,
    TESTING_AIO_FILL,
    ...
};
enum TestingAioBehaviour {
    TESTING_AIO_CONSUME,
    TESTING_AIO_REMOVE_SELF,
    TESTING_AIO_REMOVE_VICTIM,
    ...
};
typedef struct TestingAioOp {
    int thread, kind, index;
    int64_t value;
} TestingAioOp;
typedef struct TestingAioState {
    uint64_t consumed[...];
    bool registered[...];
    uint64_t scheduled[...];
    uint64_t fired[...];
    bool ready[...];
    uint64_t oneshots, posts;
    uint64_t strays;
    bool stuck;
} TestingAioState;
typedef ... TestingAio;
TestingAio *testing_aio_new(int fdmon, uint64_t poll_max_ns);
void testing_aio_free(TestingAio *rig);
void testing_aio_round(TestingAio *rig, const TestingAioOp *ops, int count, TestingAioState *out);
