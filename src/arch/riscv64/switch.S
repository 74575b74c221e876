/* arch/riscv64/switch.S - the switch for RV64, LP64 and LP64D.       Contract: ../arch.h
 * SPDX-License-Identifier: MIT
 *
 * coir__arch_switch(save: a0, load: a1, tp: a2)
 * Saves  ra s0-s11, with the LP64D ABI also fs0-fs11.   Not saved: caller-saved registers (all of
 *        the vector unit's are), fcsr, signal mask.
 * Frame  sp -> | pad | fs11 ... fs0 | s11 ... s1 | s0 | ra |     init.c builds the same frame by
 *              +0    +8             +104   +184    +192 +200 +208  hand for one that has never run
 *        LP64 has no fs: s11 is at +8, and the frame ends at +112.
 *        s0 and ra lie where every RISC-V frame record has them, right below the CFA.
 * Return by `ret` to what `call` left in ra: keeps the return-address predictor balanced.
 * CFI    both stacks have this shape when sp is swapped, so CFA = sp+FRAME holds before and after.
 * Landing pads and shadow stacks (Zicfilp, Zicfiss): neither, and no note claims them. */
#ifdef __riscv_float_abi_double
#define FRAME 208
#else
#define FRAME 112
#endif
        .text
        .p2align 5
        .globl  coir__arch_switch
        .hidden coir__arch_switch
        .type   coir__arch_switch, @function
coir__arch_switch:
        .cfi_startproc
        addi    sp, sp, -FRAME
        .cfi_def_cfa_offset FRAME
        sd      ra, FRAME-8(sp)
        sd      s0, FRAME-16(sp)
        sd      s1, FRAME-24(sp)
        sd      s2, FRAME-32(sp)
        sd      s3, FRAME-40(sp)
        sd      s4, FRAME-48(sp)
        sd      s5, FRAME-56(sp)
        sd      s6, FRAME-64(sp)
        sd      s7, FRAME-72(sp)
        sd      s8, FRAME-80(sp)
        sd      s9, FRAME-88(sp)
        sd      s10, FRAME-96(sp)
        sd      s11, FRAME-104(sp)
        .cfi_offset ra, -8              /* until here the registers themselves are right */
        .cfi_offset s0, -16
        .cfi_offset s1, -24
        .cfi_offset s2, -32
        .cfi_offset s3, -40
        .cfi_offset s4, -48
        .cfi_offset s5, -56
        .cfi_offset s6, -64
        .cfi_offset s7, -72
        .cfi_offset s8, -80
        .cfi_offset s9, -88
        .cfi_offset s10, -96
        .cfi_offset s11, -104
#ifdef __riscv_float_abi_double
        fsd     fs0, FRAME-112(sp)
        fsd     fs1, FRAME-120(sp)
        fsd     fs2, FRAME-128(sp)
        fsd     fs3, FRAME-136(sp)
        fsd     fs4, FRAME-144(sp)
        fsd     fs5, FRAME-152(sp)
        fsd     fs6, FRAME-160(sp)
        fsd     fs7, FRAME-168(sp)
        fsd     fs8, FRAME-176(sp)
        fsd     fs9, FRAME-184(sp)
        fsd     fs10, FRAME-192(sp)
        fsd     fs11, FRAME-200(sp)
        .cfi_offset fs0, -112
        .cfi_offset fs1, -120
        .cfi_offset fs2, -128
        .cfi_offset fs3, -136
        .cfi_offset fs4, -144
        .cfi_offset fs5, -152
        .cfi_offset fs6, -160
        .cfi_offset fs7, -168
        .cfi_offset fs8, -176
        .cfi_offset fs9, -184
        .cfi_offset fs10, -192
        .cfi_offset fs11, -200
#endif
        sd      sp, 0(a0)               /* save is complete: another thread may load it */
        ld      sp, 0(a1)               /* the other stack, same frame */
        beqz    a2, 1f
        mv      tp, a2
1:
#ifdef __riscv_float_abi_double
        fld     fs11, FRAME-200(sp)
        fld     fs10, FRAME-192(sp)
        fld     fs9, FRAME-184(sp)
        fld     fs8, FRAME-176(sp)
        fld     fs7, FRAME-168(sp)
        fld     fs6, FRAME-160(sp)
        fld     fs5, FRAME-152(sp)
        fld     fs4, FRAME-144(sp)
        fld     fs3, FRAME-136(sp)
        fld     fs2, FRAME-128(sp)
        fld     fs1, FRAME-120(sp)
        fld     fs0, FRAME-112(sp)
        .cfi_restore fs0
        .cfi_restore fs1
        .cfi_restore fs2
        .cfi_restore fs3
        .cfi_restore fs4
        .cfi_restore fs5
        .cfi_restore fs6
        .cfi_restore fs7
        .cfi_restore fs8
        .cfi_restore fs9
        .cfi_restore fs10
        .cfi_restore fs11
#endif
        ld      s11, FRAME-104(sp)
        ld      s10, FRAME-96(sp)
        ld      s9, FRAME-88(sp)
        ld      s8, FRAME-80(sp)
        ld      s7, FRAME-72(sp)
        ld      s6, FRAME-64(sp)
        ld      s5, FRAME-56(sp)
        ld      s4, FRAME-48(sp)
        ld      s3, FRAME-40(sp)
        ld      s2, FRAME-32(sp)
        ld      s1, FRAME-24(sp)
        ld      s0, FRAME-16(sp)
        ld      ra, FRAME-8(sp)
        .cfi_restore s11
        .cfi_restore s10
        .cfi_restore s9
        .cfi_restore s8
        .cfi_restore s7
        .cfi_restore s6
        .cfi_restore s5
        .cfi_restore s4
        .cfi_restore s3
        .cfi_restore s2
        .cfi_restore s1
        .cfi_restore s0
        .cfi_restore ra
        addi    sp, sp, FRAME
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   coir__arch_switch, .-coir__arch_switch

/* coir__arch_pose(context: a0, fn: a1, arg: a2). s1 holds the context, which is the frame above: so
 * what the unwinder finds here is that frame, and not the caller's. */
        .p2align 4
        .globl  coir__arch_pose
        .hidden coir__arch_pose
        .type   coir__arch_pose, @function
coir__arch_pose:
        .cfi_startproc
        addi    sp, sp, -16
        .cfi_def_cfa_offset 16
        sd      ra, 8(sp)
        sd      s1, 0(sp)
        .cfi_offset ra, -8
        .cfi_offset s1, -16
        mv      s1, a0
        mv      a0, a2
        .cfi_remember_state
        .cfi_def_cfa s1, FRAME
        .cfi_offset ra, -8
        .cfi_offset s0, -16
        .cfi_offset s1, -24
        .cfi_offset s2, -32
        .cfi_offset s3, -40
        .cfi_offset s4, -48
        .cfi_offset s5, -56
        .cfi_offset s6, -64
        .cfi_offset s7, -72
        .cfi_offset s8, -80
        .cfi_offset s9, -88
        .cfi_offset s10, -96
        .cfi_offset s11, -104
#ifdef __riscv_float_abi_double
        .cfi_offset fs0, -112
        .cfi_offset fs1, -120
        .cfi_offset fs2, -128
        .cfi_offset fs3, -136
        .cfi_offset fs4, -144
        .cfi_offset fs5, -152
        .cfi_offset fs6, -160
        .cfi_offset fs7, -168
        .cfi_offset fs8, -176
        .cfi_offset fs9, -184
        .cfi_offset fs10, -192
        .cfi_offset fs11, -200
#endif
        jalr    a1
        li      a0, 1
        .cfi_restore_state
        ld      s1, 0(sp)
        ld      ra, 8(sp)
        .cfi_restore s1
        .cfi_restore ra
        addi    sp, sp, 16
        .cfi_def_cfa_offset 0
        ret
        .cfi_endproc
        .size   coir__arch_pose, .-coir__arch_pose

/* The outermost frame of every fiber: coir__arch_init puts the entry function into s1. Unwinders
 * look up pc-1, hence the nop, and end where the return address is undefined. s0 is 0 for those
 * that walk frame pointers. */
        .p2align 4
        .globl  coir__arch_entry
        .hidden coir__arch_entry
        .type   coir__arch_entry, @function
        .cfi_startproc
        .cfi_undefined ra
        .cfi_undefined s0
        nop
coir__arch_entry:
        li      s0, 0
        jalr    s1
        ebreak
        .cfi_endproc
        .size   coir__arch_entry, .-coir__arch_entry

        .section .note.GNU-stack, "", @progbits
