/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C source in front of the generated wrappers: the headers whose contents cdef/ declares. */
#include <stdbool.h>
#include <stdint.h>

#include "aio.h"
#include "bench_recorder.h"
#include "block.h"
#include "bql.h"
#include "debug_exit.h"
#include "guest_host.h"
#include "iothread.h"
#include "kvm_ioctl.h"
#include "main_loop.h"
#include "memory.h"
#include "rfb_hextile.h"
#include "rfb_tight.h"
#include "rfb_tiles.h"
#include "serial16550.h"
#include "testing_aio.h"
#include "testing_block.h"
#include "testing_driver.h"
#include "testing_virtio.h"
#include "thread.h"
#include "vcpu.h"
#include "vcpu_qtest.h"
#include "virtio_blk.h"
#include "virtio_mmio.h"
#include "virtqueue.h"
#include "worker_pool.h"

#if defined(__x86_64__)
#include "python/kvm.h"
#endif
#include "python/ops.h"
#include "python/pyregion.h"
