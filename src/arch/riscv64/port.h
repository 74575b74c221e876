/* arch/riscv64/port.h - see ../arch.h.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_ARCH_PORT_H
#define COIR_ARCH_PORT_H

#define COIR__STACK_GUARD    4096u
#define COIR__INTERRUPTED_SP 192

static inline void coir__arch_probe(void)
{
}

/* The kernel keeps every register but a0. */
static inline long coir__syscall(long nr, long a, long b, long c, long d, long e, long f)
{
    register long a7 __asm__("a7") = nr;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d;
    register long a4 __asm__("a4") = e;
    register long a5 __asm__("a5") = f;
    __asm__ volatile("ecall"
                     : "+r"(a0)
                     : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                     : "memory");
    return a0;
}

/* A plain return. */
static inline int coir__arch_return(int value)
{
    return value;
}

/* `pause` of Zihintpause, in bytes: a fence that orders nothing where the CPU has no such hint. */
static inline void coir__arch_pause(void)
{
    __asm__ volatile(".4byte 0x0100000f" ::: "memory");
}

static inline uintptr_t coir__arch_tp(void)
{
    uintptr_t tp;
    __asm__ volatile("mv %0, tp" : "=r"(tp));
    return tp;
}

static inline void coir__arch_tp_set(uintptr_t tp)
{
    __asm__ volatile("mv tp, %0" ::"r"(tp) : "memory");
}

/* The rounding mode, frm: all there is to control. The exception flags stay. */
static inline uint64_t coir__arch_fpu_save(void)
{
    uint64_t frm = 0;
#ifdef __riscv_flen
    __asm__ volatile("frrm %0" : "=r"(frm));
#endif
    return frm;
}

static inline void coir__arch_fpu_load(uint64_t bits)
{
#ifdef __riscv_flen
    __asm__ volatile("fsrm %0" ::"r"(bits));
#else
    (void)bits;
#endif
}

#endif
