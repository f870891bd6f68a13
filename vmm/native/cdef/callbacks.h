/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: callbacks. Mirrors vmm/native/python/pyregion.h; see there. */
extern "Python" uint64_t vmm_py_io_read(void *handle, uint64_t offset, unsigned size);
extern "Python" void vmm_py_io_write(void *handle, uint64_t offset, uint64_t value, unsigned size);
typedef struct PyRegion {
    Bql *bql;
    void *handle;
} PyRegion;
const IoRegionOps *python_region_ops(void);
void vcpu_set_use_python(VcpuSet *set);
extern "Python" void vmm_py_log(void *handle, const char *message);
