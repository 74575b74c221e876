/* arch/aarch64/init.c - the first frame of a stack.
 * SPDX-License-Identifier: MIT */
#include "../arch.h"

COIR_HIDDEN extern char coir__arch_entry[];

/* The frame that coir__arch_switch loads (switch.S). A new context needs three words of it; the
 * others are what the stack has there. (To clear them all may become a call of memset.) */
struct frame {
    uint64_t x29;
    void *x30;
    uint64_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
    uint64_t d8, d9, d10, d11, d12, d13, d14, d15;
};

/* What paciasp would make of x30 at this sp. */
static inline void *sign(void *address, void *sp)
{
    register void *x17 __asm__("x17") = address;
    register void *x16 __asm__("x16") = sp;
    __asm__("hint #8" : "+r"(x17) : "r"(x16)); /* pacia1716 */
    return x17;
}

void *coir__arch_init(void *top, void (*entry)(void))
{
    struct frame *end = (struct frame *)((uintptr_t)top & ~(uintptr_t)15);
    struct frame *frame = end - 1;
    frame->x29 = 0;
    frame->x30 = sign(coir__arch_entry, end);
    frame->x19 = (uint64_t)entry;
    return frame;
}
