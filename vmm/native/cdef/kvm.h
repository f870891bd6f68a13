/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: the part of the kernel's KVM ABI (Documentation/virt/kvm/api.rst) in use. */
const VcpuOps *ops_vcpu_kvm(void);
/* A work item for vcpu_run_on(). */
void kvm_vcpu_get_state(Vcpu *vcpu, void *opaque);
typedef struct KvmVcpuImage KvmVcpuImage;
KvmVcpuImage *kvm_vcpu_image_new(int kvm_fd, int vcpu_fd);
void kvm_vcpu_image_free(KvmVcpuImage *image);
void kvm_vcpu_image_put(Vcpu *vcpu, void *opaque);
int kvm_vcpu_image_error(const KvmVcpuImage *image);
typedef struct KvmVmImage KvmVmImage;
KvmVmImage *kvm_vm_image_new(int vm_fd);
void kvm_vm_image_free(KvmVmImage *image);
int kvm_vm_image_put(const KvmVmImage *image, int vm_fd);
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long arg);

#define KVM_GET_API_VERSION ...
#define KVM_CREATE_VM ...
#define KVM_CHECK_EXTENSION ...
#define KVM_GET_VCPU_MMAP_SIZE ...
#define KVM_SET_USER_MEMORY_REGION ...
#define KVM_MEM_LOG_DIRTY_PAGES ...
#define KVM_GET_DIRTY_LOG ...
#define KVM_SET_TSS_ADDR ...
#define KVM_SET_IDENTITY_MAP_ADDR ...
#define KVM_CREATE_IRQCHIP ...
#define KVM_CREATE_PIT2 ...
#define KVM_CREATE_VCPU ...
#define KVM_GET_SUPPORTED_CPUID ...
#define KVM_SET_CPUID2 ...
#define KVM_GET_SREGS ...
#define KVM_SET_SREGS ...
#define KVM_GET_REGS ...
#define KVM_SET_REGS ...
#define KVM_ENABLE_CAP ...
#define KVM_IOEVENTFD ...
#define KVM_IRQFD ...
#define KVM_GET_STATS_FD ...
#define KVM_GET_CLOCK ...
#define KVM_SET_CLOCK ...
#define KVM_KVMCLOCK_CTRL ...
#define KVM_CAP_IRQCHIP ...
#define KVM_CAP_USER_MEMORY ...
#define KVM_CAP_IOEVENTFD ...
#define KVM_CAP_IRQFD ...
#define KVM_CAP_IMMEDIATE_EXIT ...
#define KVM_CAP_EXIT_ON_EMULATION_FAILURE ...
#define KVM_IOEVENTFD_FLAG_DATAMATCH ...
#define KVM_IOEVENTFD_FLAG_PIO ...
#define KVM_IOEVENTFD_FLAG_DEASSIGN ...
#define KVM_IRQFD_FLAG_DEASSIGN ...

struct kvm_userspace_memory_region {
    uint32_t slot;
    uint32_t flags;
    uint64_t guest_phys_addr;
    uint64_t memory_size;
    uint64_t userspace_addr;
    ...;
};
struct kvm_dirty_log {
    uint32_t slot;
    void *dirty_bitmap;
    ...;
};
struct kvm_clock_data {
    uint64_t clock;
    uint32_t flags;
    ...;
};
struct kvm_pit_config {
    uint32_t flags;
    ...;
};
struct kvm_enable_cap {
    uint32_t cap;
    uint32_t flags;
    unsigned long long args[4];
    ...;
};
struct kvm_ioeventfd {
    uint64_t datamatch;
    uint64_t addr;
    uint32_t len;
    int32_t fd;
    uint32_t flags;
    ...;
};
struct kvm_irqfd {
    uint32_t fd;
    uint32_t gsi;
    uint32_t flags;
    ...;
};
struct kvm_cpuid_entry2 {
    uint32_t function;
    uint32_t index;
    uint32_t flags;
    uint32_t eax, ebx, ecx, edx;
    ...;
};
struct kvm_cpuid2 {
    uint32_t nent;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[];
};
struct kvm_regs {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
};
struct kvm_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint8_t type;
    uint8_t present, dpl, db, s, l, g, avl;
    uint8_t unusable;
    ...;
};
struct kvm_dtable {
    uint64_t base;
    uint16_t limit;
    ...;
};
struct kvm_sregs {
    struct kvm_segment cs, ds, es, fs, gs, ss;
    struct kvm_segment tr, ldt;
    struct kvm_dtable gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t efer;
    uint64_t apic_base;
    ...;
};
typedef struct KvmVcpuState {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    int error;
} KvmVcpuState;
