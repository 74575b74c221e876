/* arch/x86_64/switch.S - the switch for x86-64, System V ABI.       Contract: ../arch.h
 * SPDX-License-Identifier: MIT
 *
 * coir__arch_switch(save: rdi, load: rsi, tp: rdx)
 * Saves  rbx rbp r12-r15.   Not saved: caller-saved registers, MXCSR, x87 control word,
 *        signal mask.
 * Frame  sp -> | r15 | r14 | r13 | r12 | rbx | rbp | return |     init.c builds the same frame by
 *              +0    +8    +16   +24   +32   +40   +48      +56   hand for one that has never run
 * Return by `ret`: keeps the return-stack buffer balanced.
 * CFI    both stacks have this shape when rsp is swapped, so CFA = rsp+56 holds before and after.
 * CET    endbr64 yes; shadow stacks no: the note leaves that bit clear. */
        .text
        .p2align 5
        .globl  coir__arch_switch
        .hidden coir__arch_switch
        .type   coir__arch_switch, @function
coir__arch_switch:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)            /* save is complete: another thread may load it */
        movq    (%rsi), %rsp            /* the other stack, same frame */
        testq   %rdx, %rdx
        jnz     2f
1:      popq    %r15
        .cfi_remember_state
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        ret
        .cfi_restore_state
2:      cmpb    $0, coir__arch_fsgsbase(%rip)
        je      3f
        .byte   0xf3, 0x48, 0x0f, 0xae, 0xd2    /* wrfsbase %rdx */
        jmp     1b
3:      movl    $158, %eax              /* arch_prctl(ARCH_SET_FS, tp) */
        movl    $0x1002, %edi
        movq    %rdx, %rsi
        syscall
        jmp     1b
        .cfi_endproc
        .size   coir__arch_switch, .-coir__arch_switch

/* coir__arch_pose(context: rdi, fn: rsi, arg: rdx). rbx holds the context, which is the frame
 * above: so what the unwinder finds here is that frame, and not the caller's. */
        .p2align 4
        .globl  coir__arch_pose
        .hidden coir__arch_pose
        .type   coir__arch_pose, @function
coir__arch_pose:
        .cfi_startproc
        endbr64
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        movq    %rdi, %rbx
        movq    %rdx, %rdi
        .cfi_remember_state
        .cfi_def_cfa rbx, 56
        .cfi_offset rbp, -16
        .cfi_offset rbx, -24
        .cfi_offset r12, -32
        .cfi_offset r13, -40
        .cfi_offset r14, -48
        .cfi_offset r15, -56
        call    *%rsi
        movl    $1, %eax
        .cfi_restore_state
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        ret
        .cfi_endproc
        .size   coir__arch_pose, .-coir__arch_pose

/* The outermost frame of every fiber: coir__arch_init puts the entry function into rbx. Unwinders
 * look up pc-1, hence the nop, and end where the return address is undefined. rbp is 0 for those
 * that walk frame pointers. */
        .p2align 4
        .globl  coir__arch_entry
        .hidden coir__arch_entry
        .type   coir__arch_entry, @function
        .cfi_startproc
        .cfi_undefined rip
        .cfi_undefined rbp
        nop
coir__arch_entry:
        xorl    %ebp, %ebp
        call    *%rbx
        ud2
        .cfi_endproc
        .size   coir__arch_entry, .-coir__arch_entry

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4, 16, 5                /* name, desc, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002, 4, 1        /* GNU_PROPERTY_X86_FEATURE_1_AND: IBT only */
        .long   0

        .section .note.GNU-stack, "", @progbits
