/* arch/arch.h - the contract of a port. Each CPU has a folder with the same three files: switch.S,
 * init.c and port.h (x86_64 has probe.c, which asks the CPU what it can do, and return.S); they say
 * only what differs. The folder boost/ keeps the same contract on Boost.Context's fcontext.
 * SPDX-License-Identifier: MIT
 *
 * A *context* is one word: the saved stack pointer of a stack that is not running. Everything else
 * is on that stack, above it.
 *
 * What a switch keeps: the callee-saved general registers of the platform's ABI, and on aarch64 and
 * riscv64 the callee-saved floating-point registers. What it leaves alone: the floating-point
 * control bits (coir__arch_fpu_save), the signal mask.
 *
 * Return-stack discipline: the switch is called and returns by call and ret; it has one call site
 * (sched/park.c), so that the CPU's return predictor stays in step across it. Unwind information
 * holds at every instruction, and ends at coir__arch_entry, the outermost frame of every fiber.
 * Landing pads for branch protection (endbr64, bti) are there; shadow stacks are not switched, and
 * no object claims that they are. */
#ifndef COIR_ARCH_H
#define COIR_ARCH_H

#include <stddef.h>
#include <stdint.h>

#define COIR_HIDDEN __attribute__((visibility("hidden")))

/* Save the running context in *save and run *load; they are two words. Returns when somebody loads
 * *save. tp: the thread pointer that the loaded context shall see; 0: leave the register as it is.
 * Once *save is written another thread may load it, so nothing of the old stack is touched after
 * that. The write is a plain one: to tell another thread of it, the next context releases. */
COIR_HIDDEN void coir__arch_switch(void **save, void *const *load, uintptr_t tp);

/* A context that, when first loaded, runs entry() on the stack that ends at top (any alignment).
 * entry never returns. */
COIR_HIDDEN void *coir__arch_init(void *top, void (*entry)(void));

/* Call fn(arg) on the running stack, from a frame whose caller, to an unwinder, is the context,
 * which stays as it is: a backtrace taken by fn is that of the context, after the frames of fn
 * itself. The context does not run meanwhile. Returns 1; 0 where a switch cannot be unwound: fn was
 * not called. */
COIR_HIDDEN int coir__arch_pose(void *context, void (*fn)(void *), void *arg);

/* port.h defines, all static inline but for the first, which may be a function of probe.c:
 *   void coir__arch_probe(void)                find out, once per process and before the first
 *                                              switch with a thread pointer, what this CPU can do
 *   long coir__syscall(nr, a, b, c, d, e, f)   a raw system call: result or -errno. Sets no errno,
 *                                              cannot be interposed.
 *   void coir__arch_pause(void)                a hint inside spin loops
 *   uintptr_t coir__arch_tp(void)              the thread pointer
 *   void coir__arch_tp_set(uintptr_t)          set it
 *   uint64_t coir__arch_fpu_save(void)         the floating-point control bits (rounding, masks,
 *                                              denormals)
 *   void coir__arch_fpu_load(uint64_t)         set them
 *   int coir__arch_return(int value)           return value: what a function ends with that returns
 *                                              into another caller than the CPU's return predictor
 *                                              has next. By a jump where that is predicted better
 *                                              (docs/adr/0018)
 *   COIR__INTERRUPTED_SP                       where a signal handler's context (ucontext) has the
 *                                              stack pointer: the kernel's layout, in bytes
 *   COIR__STACK_GUARD                          bytes of guard below a stack: what the compiler's
 *                                              stack probes step over */
#if defined(__x86_64__)
#include "x86_64/port.h"
#elif defined(__aarch64__)
#include "aarch64/port.h"
#elif defined(__riscv) && __riscv_xlen == 64
#include "riscv64/port.h"
#else
#error "no port for this CPU"
#endif

/* coir__sys(nr, ...) with up to six arguments. */
#define COIR__SYS_N(a, b, c, d, e, f, g, n, ...) n
#define COIR__SYS_0(nr)                          coir__syscall(nr, 0, 0, 0, 0, 0, 0)
#define COIR__SYS_1(nr, a)                       coir__syscall(nr, (long)(a), 0, 0, 0, 0, 0)
#define COIR__SYS_2(nr, a, b)                    coir__syscall(nr, (long)(a), (long)(b), 0, 0, 0, 0)

#define COIR__SYS_3(nr, a, b, c) coir__syscall(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define COIR__SYS_4(nr, a, b, c, d)                                                                \
    coir__syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define COIR__SYS_5(nr, a, b, c, d, e)                                                             \
    coir__syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define COIR__SYS_6(nr, a, b, c, d, e, f)                                                          \
    coir__syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define coir__sys(...)                                                                             \
    COIR__SYS_N(__VA_ARGS__, COIR__SYS_6, COIR__SYS_5, COIR__SYS_4, COIR__SYS_3, COIR__SYS_2,      \
                COIR__SYS_1, COIR__SYS_0)                                                          \
    (__VA_ARGS__)

#endif
