/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cffi declarations: vcpu, vm_request, vcpu_qtest, main_loop. See the headers for the contracts. */
enum VmRequestKind {
    VM_REQUEST_NONE,
    VM_REQUEST_DEBUG_EXIT,
    VM_REQUEST_SHUTDOWN,
    VM_REQUEST_RESET,
    VM_REQUEST_GUEST_CRASH,
    VM_REQUEST_INTERNAL_ERROR,
    VM_REQUEST_CALLBACK_ERROR,
    VM_REQUEST_TRIPLE_FAULT,
    ...
};
typedef struct VmRequest {
    int kind;
    int code;
    int vcpu;
    char message[512];
    ...;
} VmRequest;
typedef struct VmRequests VmRequests;
VmRequests *vm_requests_new(void);
void vm_requests_free(VmRequests *requests);
int vm_requests_fd(const VmRequests *requests);
void vm_request_file(VmRequests *requests, int kind, int code, int vcpu, const char *format, ...);
bool vm_request_take(VmRequests *requests, VmRequest *out);

enum VcpuState { VCPU_CREATED, VCPU_RUNNING, VCPU_PAUSED, VCPU_FINISHED, ... };
enum VcpuCommand { VCPU_CMD_RUN, VCPU_CMD_PAUSE, VCPU_CMD_FINISH, ... };
enum VcpuExit {
    VCPU_EXIT_PIO,
    VCPU_EXIT_MMIO,
    VCPU_EXIT_INTERRUPTED,
    VCPU_EXIT_EMULATION,
    VCPU_EXIT_OTHER,
    VCPU_EXIT_KINDS,
    ...
};
typedef struct VcpuOps VcpuOps;
typedef struct VcpuSet VcpuSet;
typedef struct Vcpu {
    unsigned index;
    enum VcpuState state;
    bool created, stop, stopped, unplug;
    int kvm_fd;
    size_t kvm_run_size;
    VmmThread *thread;
    ...;
} Vcpu;
const VcpuOps *ops_vcpu_qtest(void);
VcpuSet *vcpu_set_new(Bql *bql, IoSpace *iospace, GuestMemory *memory, VmRequests *requests);
void vcpu_set_free(VcpuSet *set);
void vcpu_set_use_main_loop(VcpuSet *set, AioContext *main_ctx);
Vcpu *vcpu_new(VcpuSet *set, const VcpuOps *ops, unsigned index, int host_cpu);
int vcpu_start(Vcpu *vcpu);
int vcpu_command(Vcpu *vcpu, int command);
void vcpu_join(Vcpu *vcpu);
void vcpu_free(Vcpu *vcpu);
void vcpu_kick(Vcpu *vcpu);
void vcpu_pause_all(Vcpu **vcpus, unsigned count);
void vcpu_resume_all(Vcpu **vcpus, unsigned count);
typedef void VcpuWorkFn(Vcpu *vcpu, void *opaque);
int vcpu_run_on(Vcpu *vcpu, VcpuWorkFn *fn, void *opaque);
uint64_t vcpu_exit_count(const Vcpu *vcpu, int kind);

typedef void QtestGuestFn(Vcpu *vcpu, void *opaque);
int vcpu_qtest_setup(Vcpu *vcpu, QtestGuestFn *fn, void *opaque);
void vcpu_qtest_teardown(Vcpu *vcpu);
void vcpu_qtest_restart(Vcpu *vcpu);
uint64_t qtest_access(Vcpu *vcpu, int kind, bool write, uint64_t addr, uint64_t value,
                      unsigned size);

typedef struct GuestHost GuestHost;
GuestHost *guest_host_new(const GuestMemory *mem, const char *command_line, uint64_t dma_base,
                          uint64_t dma_size);
void guest_host_set_vram(GuestHost *host, uint64_t gpa, uint64_t size, void *memory);
void guest_host_free(GuestHost *host);
void guest_host_reset(GuestHost *host);
void guest_host_run(Vcpu *vcpu, void *opaque);

int main_loop_select(AioContext *ctx, Bql *bql, int64_t timeout_ns, int *fds, int *events, int max,
                   uint64_t *left);
void main_loop_took_gil(Bql *bql, uint64_t left);
