/* arch/x86_64/init.c - the first frame of a stack.
 * SPDX-License-Identifier: MIT */
#include "../arch.h"

COIR_HIDDEN extern char coir__arch_entry[];

/* The frame that coir__arch_switch pops (switch.S). A new context needs three words of it; the
 * others are what the stack has there. (To clear them all may become a call of memset.) */
struct frame {
    uint64_t r15, r14, r13, r12, rbx, rbp;
    void *rip;
};

void *coir__arch_init(void *top, void (*entry)(void))
{
    /* coir__arch_entry calls, so rsp must be a multiple of 16 there: right above the frame. */
    struct frame *frame = (struct frame *)((uintptr_t)top & ~(uintptr_t)15) - 1;
    frame->rbp = 0;
    frame->rbx = (uint64_t)entry;
    frame->rip = coir__arch_entry;
    return frame;
}
