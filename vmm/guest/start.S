/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From power-on to ring 3, in as few instructions as possible.
 *
 * Boot CPU: PVH entry (32-bit protected mode, no paging, ebx = hvm_start_info), long mode with the
 * low 4 GiB identity-mapped, kvmclock page registered, then iretq into bare_main() in ring 3.
 * Other CPUs: real mode at TRAMPOLINE (the SIPI vector), then the same way into bare_ap_main().
 *
 * Why ring 3 at once: a KVM without VMX/SVM (kvm_pvm) emulates ring 0 instruction by instruction,
 * about 0.7 us each, and runs ring 3 natively. IOPL 3 keeps in/out available there, and the page
 * tables let ring 3 touch RAM and device registers alike. Nothing ever returns to ring 0: there
 * is no IDT and no TSS, interrupts stay masked (IF=0) and an exception is a triple fault, which
 * ends the VM without a result line.
 */

.set TRAMPOLINE, 0x8000         /* SIPI vector 8; bare_start_cpus() copies the code there */

.set SEL_CODE64, 0x08
.set SEL_DATA, 0x10
.set SEL_CODE32, 0x18
.set SEL_USER_DATA, 0x23
.set SEL_USER_CODE, 0x2b

.set RFLAGS_RING3, 0x3002       /* IOPL 3, IF clear, reserved bit 1 */

.set MSR_EFER, 0xc0000080
.set MSR_KVM_SYSTEM_TIME_NEW, 0x4b564d01

/* ELF note XEN_ELFNOTE_PHYS32_ENTRY: where a PVH loader jumps to. */
.section .note.Xen, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start_pvh

.macro ENTER_LONG_MODE
    mov $0x620, %eax                /* CR4: PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $page_map_level4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $0x100, %eax                 /* LME */
    wrmsr
    mov %cr0, %eax
    or $0x80000001, %eax            /* PG, PE */
    and $~4, %eax                   /* not EM */
    mov %eax, %cr0
.endm

.macro LOAD_DATA_SEGMENTS
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
.endm

/* Continue at \entry in ring 3 on the stack in rsp (16-byte aligned). rdi and rsi survive. */
.macro DROP_TO_RING3 entry
    mov %rsp, %rax
    pushq $SEL_USER_DATA
    pushq %rax
    pushq $RFLAGS_RING3
    pushq $SEL_USER_CODE
    pushq $1f
    iretq
1:  xor %ebp, %ebp
    call \entry
2:  pause
    jmp 2b
.endm

.section .text.start, "ax"
.code32
.globl start_pvh
start_pvh:
    cli
    lgdt gdt_pointer
    mov %ebx, %edi                  /* bare_main's argument; CPUID below overwrites ebx */
    /* kvmclock tells the TSC frequency, but only ring 0 may ask for its page. */
    mov $0x40000000, %eax
    cpuid
    cmp $0x4b4d564b, %ebx           /* "KVMK" */
    jne 1f
    mov $0x40000001, %eax
    cpuid
    test $8, %eax                   /* KVM_FEATURE_CLOCKSOURCE2 */
    jz 1f
    mov $MSR_KVM_SYSTEM_TIME_NEW, %ecx
    mov $(kvmclock_page + 1), %eax  /* bit 0: enabled */
    xor %edx, %edx
    wrmsr
1:  ENTER_LONG_MODE
    ljmp $SEL_CODE64, $boot_cpu64

.code64
boot_cpu64:
    LOAD_DATA_SEGMENTS
    mov $boot_stack_top, %rsp
    mov %edi, %edi                  /* the upper half is undefined after the mode switch */
    DROP_TO_RING3 bare_main

.code32
ap32:
    LOAD_DATA_SEGMENTS
    ENTER_LONG_MODE
    ljmp $SEL_CODE64, $ap64

.code64
ap64:
    LOAD_DATA_SEGMENTS
    mov ap_mailbox + 0, %rsp
    mov ap_mailbox + 8, %rdi
    mov ap_mailbox + 16, %rsi
    DROP_TO_RING3 bare_ap_main

/* Copied to TRAMPOLINE; position matters only through the gdt pointer's address. */
.section .rodata.trampoline, "a"
.globl trampoline_begin, trampoline_end
.code16
trampoline_begin:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl TRAMPOLINE + (trampoline_gdt_pointer - trampoline_begin)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $SEL_CODE32, $ap32
trampoline_gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:

.data
.align 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff        /* 0x08 ring 0 code, 64-bit */
    .quad 0x00cf93000000ffff        /* 0x10 ring 0 data */
    .quad 0x00cf9b000000ffff        /* 0x18 ring 0 code, 32-bit */
    .quad 0x00cff3000000ffff        /* 0x20 ring 3 data */
    .quad 0x00affb000000ffff        /* 0x28 ring 3 code, 64-bit */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

/* struct ap_mailbox: stack, two arguments of bare_ap_main(). One CPU is started at a time. */
.align 8
.globl ap_mailbox
ap_mailbox:
    .quad 0, 0, 0

/* struct pvclock_vcpu_time_info; all zero unless the hypervisor fills it in. */
.align 64
.globl kvmclock_page
kvmclock_page:
    .fill 8, 8, 0

/* Low 4 GiB, 2 MiB pages, present | writable | user (7); leaf entries also large (0x80). */
.align 4096
page_map_level4:
    .quad page_directory_pointers + 7
    .fill 511, 8, 0
page_directory_pointers:
    .quad page_directories + 0x0007, page_directories + 0x1007
    .quad page_directories + 0x2007, page_directories + 0x3007
    .fill 508, 8, 0
page_directories:
    .set address, 0
    .rept 2048
    .quad address + 0x87
    .set address, address + 0x200000
    .endr

.bss
.align 16
    .skip 16384
boot_stack_top:

.section .note.GNU-stack, "", @progbits
