/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Device callbacks in Python. Compiled into the cffi module (the C library knows no Python).
 *
 * A Python callback on a vCPU exit runs under the BQL and must first get the GIL: that wait is
 * part of the hold, so it is measured here, before any Python code, and reported as its own
 * column. vCPU threads keep one Python thread state for life; making one per call would cost more
 * than the callback.
 *
 * An exception never crosses C: cffi's onerror handler (vmm/devices/python_region.py) stores it
 * and files a VM request; the guest reads all ones.
 */
#ifndef VMM_NATIVE_PYTHON_PYREGION_H
#define VMM_NATIVE_PYTHON_PYREGION_H

#include "iospace.h"
#include "vcpu.h"

typedef struct PyRegion {
    Bql *bql;
    void *handle; /* ffi.new_handle() of the Python object */
} PyRegion;

static uint64_t vmm_py_io_read(void *handle, uint64_t offset, unsigned size);
static void vmm_py_io_write(void *handle, uint64_t offset, uint64_t value, unsigned size);

static PyGILState_STATE take_gil(const PyRegion *region)
{
    BqlRec *rec = bql_recorder(region->bql);
    uint64_t before = rec ? bqlrec_ticks(rec) : 0;
    PyGILState_STATE state = PyGILState_Ensure();

    if (rec && bql_locked(region->bql))
        bql_gil_waited(region->bql, bqlrec_ticks(rec) - before);
    return state;
}

static uint64_t py_region_read(void *opaque, uint64_t offset, unsigned size)
{
    PyRegion *region = opaque;
    PyGILState_STATE state = take_gil(region);
    uint64_t value = vmm_py_io_read(region->handle, offset, size);

    PyGILState_Release(state);
    return value;
}

static void py_region_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PyRegion *region = opaque;
    PyGILState_STATE state = take_gil(region);

    vmm_py_io_write(region->handle, offset, value, size);
    PyGILState_Release(state);
}

static const IoRegionOps py_region_ops = {.read = py_region_read, .write = py_region_write};

static const IoRegionOps *python_region_ops(void)
{
    return &py_region_ops;
}

/* One Python thread state per vCPU thread, kept between calls. */
static __thread PyGILState_STATE thread_gil_state;
static __thread PyThreadState *thread_state;

static void python_thread_enter(void *opaque)
{
    (void)opaque;
    thread_gil_state = PyGILState_Ensure();
    thread_state = PyEval_SaveThread();
}

static void python_thread_leave(void *opaque)
{
    (void)opaque;
    PyEval_RestoreThread(thread_state);
    PyGILState_Release(thread_gil_state);
}

static void vcpu_set_use_python(VcpuSet *set)
{
    set->thread_enter = python_thread_enter;
    set->thread_leave = python_thread_leave;
}

#endif
