/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: block. Mirrors the header of the same name; see there for the contract. */
enum BlockOp { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES, ... };
enum BlockFlags { BLOCK_UNMAP, BLOCK_FUA, ... };
enum BlockAio { BLOCK_AIO_IO_URING, BLOCK_AIO_THREADS, ... };
#define BLOCK_OPS ...
#define BLOCK_ERR_SIZE ...
typedef struct BlockBackend BlockBackend;
typedef struct BlockLimits {
    uint64_t size;
    uint32_t logical_block;
    uint32_t max_iov;
    bool read_only, can_discard, can_write_zeroes;
    bool unlocked;
} BlockLimits;
typedef struct BlockOpenOptions {
    const char *filename;
    bool read_only;
    bool direct;
    bool locking;
    int aio;
    bool no_flush;
    bool no_discard;
} BlockOpenOptions;
typedef struct BlockStats {
    uint64_t ops[...], bytes[...], failed[...];
} BlockStats;
BlockBackend *block_open_file(const BlockOpenOptions *opts, WorkerPool *pool, char *err);
BlockBackend *block_open_null(uint64_t size, uint64_t latency_ns);
BlockBackend *block_open_filter(BlockBackend *child, uint64_t delay_ns, uint64_t error_every,
                                int error_errno);
void block_close(BlockBackend *backend);
void block_release_child(BlockBackend *backend);
int block_flush_wait(BlockBackend *backend, AioContext *ctx);
const BlockLimits *block_limits(const BlockBackend *backend);
const char *block_driver_name(const BlockBackend *backend);
void block_stats(const BlockBackend *backend, BlockStats *out);
