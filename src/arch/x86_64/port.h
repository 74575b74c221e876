/* arch/x86_64/port.h - see ../arch.h.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_ARCH_PORT_H
#define COIR_ARCH_PORT_H

#define COIR__STACK_GUARD    4096u
#define COIR__INTERRUPTED_SP 160

/* The kernel keeps every register but rax (the result), rcx and r11. */
static inline long coir__syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

COIR_HIDDEN int coir__arch_return(int value); /* return.S */

static inline void coir__arch_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/* rdfsbase and wrfsbase, 3 ns, where CPU and kernel allow them (coir__arch_probe); else arch_prctl,
 * 100 ns. */
COIR_HIDDEN void coir__arch_probe(void);
extern COIR_HIDDEN unsigned char coir__arch_fsgsbase;

enum {
    COIR__NR_ARCH_PRCTL = 158,
    COIR__ARCH_SET_GS = 0x1001,
    COIR__ARCH_SET_FS = 0x1002,
    COIR__ARCH_GET_FS = 0x1003
};

static inline uintptr_t coir__arch_tp(void)
{
    uintptr_t tp = 0;
    if (coir__arch_fsgsbase)
        __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0xae, 0xc0" : "=a"(tp)); /* rdfsbase %rax */
    else
        coir__syscall(COIR__NR_ARCH_PRCTL, COIR__ARCH_GET_FS, (long)&tp, 0, 0, 0, 0);
    return tp;
}

static inline void coir__arch_tp_set(uintptr_t tp)
{
    if (coir__arch_fsgsbase)
        __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0xae, 0xd0" /* wrfsbase %rax */
                         :
                         : "a"(tp)
                         : "memory");
    else
        coir__syscall(COIR__NR_ARCH_PRCTL, COIR__ARCH_SET_FS, (long)tp, 0, 0, 0, 0);
}

/* MXCSR in the low half, the x87 control word above it. */
static inline uint64_t coir__arch_fpu_save(void)
{
    uint32_t mxcsr;
    uint16_t cw;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(cw));
    return mxcsr | (uint64_t)cw << 32;
}

static inline void coir__arch_fpu_load(uint64_t bits)
{
    uint32_t mxcsr = (uint32_t)bits;
    uint16_t cw = (uint16_t)(bits >> 32);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" ::"m"(mxcsr), "m"(cw));
}

/* The worker accessor of the freestanding build: the GS base points at a word that holds the
 * worker. */
static inline void *coir__arch_self(void)
{
    void *self;
    __asm__ volatile("movq %%gs:0, %0" : "=r"(self));
    return self;
}

/* *self points at itself: it is the worker's first word. */
static inline void coir__arch_self_set(void *self)
{
    if (coir__arch_fsgsbase)
        __asm__ volatile(".byte 0xf3, 0x48, 0x0f, 0xae, 0xd8" ::"a"(self)); /* wrgsbase %rax */
    else
        coir__syscall(COIR__NR_ARCH_PRCTL, COIR__ARCH_SET_GS, (long)self, 0, 0, 0, 0);
}

#endif
