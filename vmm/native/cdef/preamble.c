/* SPDX-License-Identifier: GPL-2.0-or-later */
/* C source in front of the generated wrappers: the headers whose contents cdef/ declares. */
#include <linux/kvm.h>

#include "aio.h"
#include "block.h"
#include "bql.h"
#include "debug_exit.h"
#include "guest_host.h"
#include "kvm_ioctl.h"
#include "kvm_state.h"
#include "main_loop.h"
#include "serial16550.h"
#include "testing_block.h"
#include "vcpu.h"
#include "vcpu_qtest.h"
#include "iothread.h"
#include "virtio_blk.h"
#include "virtio_mmio.h"
#include "worker_pool.h"
#include "thread.h"

#include "python/ops.h"
#include "python/pyregion.h"
