/* arch/aarch64/switch.S - the switch for AArch64, AAPCS64.       Contract: ../arch.h
 * SPDX-License-Identifier: MIT
 *
 * coir__arch_switch(save: x0, load: x1, tp: x2)
 * Saves  x19-x30 d8-d15.   Not saved: caller-saved registers, the upper halves of v8-v15, FPCR and
 *        FPSR, signal mask.
 * Frame  sp -> | x29 | x30 | x19 ... x28 | d8 ... d15 |     init.c builds the same frame by hand
 *              +0    +8    +16           +96          +160  for one that has never run
 *        It begins as every AAPCS64 frame record does, so that the context word is also where a
 *        walk by frame pointers may begin.
 * Return by `ret` to what `bl` left in x30: keeps the return-stack predictor balanced.
 * CFI    both stacks have this shape when sp is swapped, so CFA = sp+160 holds before and after.
 * BTI    paciasp is a landing pad. The entry function is called by `blr` and needs one of its own.
 * PAC    x30 lies signed on the stack, by key A with the CFA as modifier; init.c signs the first
 *        one. The key belongs to the process, so a context may wake on another of its threads. On
 *        a CPU without PAC these are nops. Guarded control stacks: no, that bit is clear. */
        .text
        .p2align 5
        .globl  coir__arch_switch
        .hidden coir__arch_switch
        .type   coir__arch_switch, %function
coir__arch_switch:
        .cfi_startproc
        paciasp
        .cfi_negate_ra_state
        stp     x29, x30, [sp, #-160]!
        .cfi_def_cfa_offset 160
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        stp     x21, x22, [sp, #32]
        stp     x23, x24, [sp, #48]
        stp     x25, x26, [sp, #64]
        stp     x27, x28, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset x19, 16         /* until here the registers themselves are right */
        .cfi_rel_offset x20, 24
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mov     x9, sp
        str     x9, [x0]                /* save is complete: another thread may load it */
        ldr     x9, [x1]
        mov     sp, x9                  /* the other stack, same frame */
        cbz     x2, 1f
        msr     tpidr_el0, x2
1:      ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x29, x30, [sp], #160
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        autiasp
        .cfi_negate_ra_state
        ret
        .cfi_endproc
        .size   coir__arch_switch, .-coir__arch_switch

/* coir__arch_pose(context: x0, fn: x1, arg: x2). x19 holds the context, which is the frame above:
 * so what the unwinder finds here is that frame, with its signed x30, and not the caller's. */
        .p2align 4
        .globl  coir__arch_pose
        .hidden coir__arch_pose
        .type   coir__arch_pose, %function
coir__arch_pose:
        .cfi_startproc
        paciasp
        .cfi_negate_ra_state
        stp     x19, x30, [sp, #-16]!
        .cfi_def_cfa_offset 16
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x30, 8
        mov     x19, x0
        mov     x0, x2
        .cfi_remember_state
        .cfi_def_cfa x19, 160
        .cfi_offset x29, -160
        .cfi_offset x30, -152
        .cfi_offset x19, -144
        .cfi_offset x20, -136
        .cfi_offset x21, -128
        .cfi_offset x22, -120
        .cfi_offset x23, -112
        .cfi_offset x24, -104
        .cfi_offset x25, -96
        .cfi_offset x26, -88
        .cfi_offset x27, -80
        .cfi_offset x28, -72
        .cfi_offset d8, -64
        .cfi_offset d9, -56
        .cfi_offset d10, -48
        .cfi_offset d11, -40
        .cfi_offset d12, -32
        .cfi_offset d13, -24
        .cfi_offset d14, -16
        .cfi_offset d15, -8
        blr     x1
        mov     w0, #1
        .cfi_restore_state
        ldp     x19, x30, [sp], #16
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x30
        autiasp
        .cfi_negate_ra_state
        ret
        .cfi_endproc
        .size   coir__arch_pose, .-coir__arch_pose

/* The outermost frame of every fiber: coir__arch_init puts the entry function into x19. Unwinders
 * look up pc-1, hence the nop, and end where the return address is undefined. x29 is 0 for those
 * that walk frame pointers. `ret` comes here, so there is no landing pad. */
        .p2align 4
        .globl  coir__arch_entry
        .hidden coir__arch_entry
        .type   coir__arch_entry, %function
        .cfi_startproc
        .cfi_undefined x30
        .cfi_undefined x29
        nop
coir__arch_entry:
        mov     x29, xzr
        blr     x19
        brk     #1
        .cfi_endproc
        .size   coir__arch_entry, .-coir__arch_entry

        .section .note.gnu.property, "a", %note
        .p2align 3
        .long   4, 16, 5                /* name, desc, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000000, 4, 3        /* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI, PAC */
        .long   0

        .section .note.GNU-stack, "", %progbits
