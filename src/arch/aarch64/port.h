/* arch/aarch64/port.h - see ../arch.h.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_ARCH_PORT_H
#define COIR_ARCH_PORT_H

/* AArch64 pages may be this large, and -fstack-clash-protection takes the guard to be. */
#define COIR__STACK_GUARD    65536u
#define COIR__INTERRUPTED_SP 432

static inline void coir__arch_probe(void)
{
}

/* The kernel keeps every register but x0. */
static inline long coir__syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

/* A plain return: a jump may only go to a landing pad, where branch targets are protected. */
static inline int coir__arch_return(int value)
{
    return value;
}

/* Most cores take `yield` for a nop; `isb` holds the pipeline up, about as x86's pause does. */
static inline void coir__arch_pause(void)
{
    __asm__ volatile("isb" ::: "memory");
}

static inline uintptr_t coir__arch_tp(void)
{
    uintptr_t tp;
    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(tp));
    return tp;
}

static inline void coir__arch_tp_set(uintptr_t tp)
{
    __asm__ volatile("msr tpidr_el0, %0" ::"r"(tp) : "memory");
}

/* FPCR; the exception flags are a register of their own (FPSR) and stay. */
static inline uint64_t coir__arch_fpu_save(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
}

static inline void coir__arch_fpu_load(uint64_t bits)
{
    __asm__ volatile("msr fpcr, %0" ::"r"(bits));
}

#endif
