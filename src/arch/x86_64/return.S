/* arch/x86_64/return.S - a return that is predicted as a jump.      Contract: ../arch.h
 * SPDX-License-Identifier: MIT
 *
 * coir__arch_return(value: edi)
 * What `ret` would do, but the target is predicted by where such jumps went before, and not by the
 * return-stack buffer, which keeps its top entry. notrack: what is returned to begins with no
 * endbr64. */
        .text
        .p2align 4
        .globl  coir__arch_return
        .hidden coir__arch_return
        .type   coir__arch_return, @function
coir__arch_return:
        .cfi_startproc
        endbr64
        movl    %edi, %eax
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   coir__arch_return, .-coir__arch_return

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4, 16, 5                /* name, desc, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002, 4, 1        /* GNU_PROPERTY_X86_FEATURE_1_AND: IBT only */
        .long   0

        .section .note.GNU-stack, "", @progbits
