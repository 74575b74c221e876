/* arch/riscv64/init.c - the first frame of a stack.
 * SPDX-License-Identifier: MIT */
#include "../arch.h"

COIR_HIDDEN extern char coir__arch_entry[];

/* The frame that coir__arch_switch loads (switch.S). A new context needs three words of it; the
 * others are what the stack has there. (To clear them all may become a call of memset.) */
struct frame {
    uint64_t pad;
#ifdef __riscv_float_abi_double
    uint64_t fs11, fs10, fs9, fs8, fs7, fs6, fs5, fs4, fs3, fs2, fs1, fs0;
#endif
    uint64_t s11, s10, s9, s8, s7, s6, s5, s4, s3, s2, s1, s0;
    void *ra;
};

void *coir__arch_init(void *top, void (*entry)(void))
{
    struct frame *frame = (struct frame *)((uintptr_t)top & ~(uintptr_t)15) - 1;
    frame->s0 = 0;
    frame->s1 = (uint64_t)entry;
    frame->ra = coir__arch_entry;
    return frame;
}
