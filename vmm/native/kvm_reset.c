/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See kvm_reset.h. Source: Documentation/virt/kvm/api.rst; the order of the vCPU's parts is QEMU's
 * (special registers before what depends on them, the run state after the local APIC). */
#include "kvm_reset.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>

#include "kvm_ioctl.h"

#define MSR_IA32_TSC 0x10u
#define IRQCHIPS 3u /* PIC master, PIC slave, IOAPIC */

/* The parts that every kernel with an in-kernel irqchip has come first, the optional ones last. */
struct KvmVcpuImage {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    struct kvm_lapic_state lapic;
    struct kvm_mp_state mp_state;
    struct kvm_vcpu_events events;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct kvm_xsave xsave;
    bool has_xcrs, has_xsave;
    int error;
    unsigned msr_count;
    struct kvm_msr_entry msrs[];
};

typedef struct OneMsr {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[1];
} OneMsr;

struct KvmVmImage {
    struct kvm_irqchip irqchips[IRQCHIPS];
    struct kvm_pit_state2 pit;
};

static bool get_msr(int fd, uint32_t index, uint64_t *value)
{
    OneMsr one = {.head = {.nmsrs = 1}, .entry = {{.index = index}}};

    if (kvm_ioctl(fd, KVM_GET_MSRS, &one) != 1)
        return false;
    *value = one.entry[0].data;
    return true;
}

/* The indices KVM saves and restores; NULL with errno. Freed by the caller. */
static struct kvm_msr_list *msr_list(int kvm_fd)
{
    struct kvm_msr_list probe = {.nmsrs = 0};
    int ret = kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &probe);

    if (ret < 0 && ret != -E2BIG) {
        errno = -ret;
        return NULL;
    }
    struct kvm_msr_list *list = calloc(1, sizeof(*list) + probe.nmsrs * sizeof(list->indices[0]));
    if (!list)
        return NULL;
    list->nmsrs = probe.nmsrs;
    ret = kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
    if (ret < 0) {
        free(list);
        errno = -ret;
        return NULL;
    }
    return list;
}

static void take_msrs(KvmVcpuImage *image, const struct kvm_msr_list *list, int fd)
{
    for (unsigned i = 0; i < list->nmsrs; i++) {
        struct kvm_msr_entry *entry = &image->msrs[image->msr_count];
        uint64_t value;

        entry->index = list->indices[i];
        if (entry->index == MSR_IA32_TSC || !get_msr(fd, entry->index, &value))
            continue;
        entry->data = value;
        image->msr_count++;
    }
}

/* Only what has changed: some of the list can be read and not be written. */
static void put_msrs(const KvmVcpuImage *image, int fd)
{
    for (unsigned i = 0; i < image->msr_count; i++) {
        OneMsr one = {.head = {.nmsrs = 1}, .entry = {image->msrs[i]}};
        uint64_t now;

        if (get_msr(fd, one.entry[0].index, &now) && now != one.entry[0].data)
            (void)kvm_ioctl(fd, KVM_SET_MSRS, &one);
    }
}

static int take_registers(KvmVcpuImage *image, int fd)
{
    const struct {
        unsigned long request;
        void *to;
    } parts[] = {
        {KVM_GET_SREGS, &image->sregs},        {KVM_GET_REGS, &image->regs},
        {KVM_GET_LAPIC, &image->lapic},        {KVM_GET_MP_STATE, &image->mp_state},
        {KVM_GET_VCPU_EVENTS, &image->events}, {KVM_GET_DEBUGREGS, &image->debugregs},
    };

    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int ret = kvm_ioctl(fd, parts[i].request, parts[i].to);

        if (ret < 0)
            return ret;
    }
    image->has_xcrs = kvm_ioctl(fd, KVM_GET_XCRS, &image->xcrs) >= 0;
    image->has_xsave = kvm_ioctl(fd, KVM_GET_XSAVE, &image->xsave) >= 0;
    return 0;
}

KvmVcpuImage *kvm_vcpu_image_new(int kvm_fd, int vcpu_fd)
{
    struct kvm_msr_list *list = msr_list(kvm_fd);

    if (!list)
        return NULL;
    KvmVcpuImage *image = calloc(1, sizeof(*image) + list->nmsrs * sizeof(image->msrs[0]));
    if (image) {
        int ret = take_registers(image, vcpu_fd);

        if (ret < 0) {
            free(image);
            image = NULL;
            errno = -ret;
        } else {
            take_msrs(image, list, vcpu_fd);
        }
    }
    free(list);
    return image;
}

void kvm_vcpu_image_free(KvmVcpuImage *image)
{
    free(image);
}

static int put_all(KvmVcpuImage *image, int fd)
{
    int ret = kvm_ioctl(fd, KVM_SET_SREGS, &image->sregs);

    if (ret >= 0)
        ret = kvm_ioctl(fd, KVM_SET_REGS, &image->regs);
    if (ret >= 0 && image->has_xcrs)
        (void)kvm_ioctl(fd, KVM_SET_XCRS, &image->xcrs); /* as far as this CPUID allows */
    if (ret >= 0 && image->has_xsave)
        ret = kvm_ioctl(fd, KVM_SET_XSAVE, &image->xsave);
    if (ret >= 0) {
        put_msrs(image, fd);
        ret = kvm_ioctl(fd, KVM_SET_LAPIC, &image->lapic);
    }
    if (ret >= 0)
        ret = kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &image->events);
    if (ret >= 0)
        ret = kvm_ioctl(fd, KVM_SET_MP_STATE, &image->mp_state);
    if (ret >= 0)
        ret = kvm_ioctl(fd, KVM_SET_DEBUGREGS, &image->debugregs);
    return ret < 0 ? ret : 0;
}

void kvm_vcpu_image_put(Vcpu *vcpu, void *opaque)
{
    KvmVcpuImage *image = opaque;

    image->error = put_all(image, vcpu->kvm_fd);
}

int kvm_vcpu_image_error(const KvmVcpuImage *image)
{
    return image->error;
}

KvmVmImage *kvm_vm_image_new(int vm_fd)
{
    KvmVmImage *image = calloc(1, sizeof(*image));
    int ret = 0;

    if (!image)
        return NULL;
    for (unsigned chip = 0; chip < IRQCHIPS && ret >= 0; chip++) {
        image->irqchips[chip].chip_id = chip;
        ret = kvm_ioctl(vm_fd, KVM_GET_IRQCHIP, &image->irqchips[chip]);
    }
    if (ret >= 0)
        ret = kvm_ioctl(vm_fd, KVM_GET_PIT2, &image->pit);
    if (ret < 0) {
        free(image);
        errno = -ret;
        return NULL;
    }
    return image;
}

void kvm_vm_image_free(KvmVmImage *image)
{
    free(image);
}

int kvm_vm_image_put(const KvmVmImage *image, int vm_fd)
{
    for (unsigned chip = 0; chip < IRQCHIPS; chip++) {
        struct kvm_irqchip copy = image->irqchips[chip];
        int ret = kvm_ioctl(vm_fd, KVM_SET_IRQCHIP, &copy);

        if (ret < 0)
            return ret;
    }
    struct kvm_pit_state2 pit = image->pit;
    int ret = kvm_ioctl(vm_fd, KVM_SET_PIT2, &pit);

    return ret < 0 ? ret : 0;
}
