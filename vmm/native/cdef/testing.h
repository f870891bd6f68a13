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
