/* arch/traps.h - stop at each instruction of the switch while a journey through it is made.
 * Included by one file of a program.
 * SPDX-License-Identifier: MIT
 *
 * The handler runs on a stack of its own, and first overwrites what is below the stack pointer of
 * the code that it stopped: the port owns nothing there, so no unwinder may need it. */
#ifndef COIR_TESTS_TRAPS_H
#define COIR_TESTS_TRAPS_H

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "contexts.h"

/* Called at each instruction that is about to run, in a signal handler. */
typedef void trap_fn(uintptr_t pc, uintptr_t sp);

static trap_fn *trap_call;

static bool trap_covers(uintptr_t pc)
{
    enum { ENTRY_BYTES = 12, RETURN_BYTES = 10 };
#ifdef __x86_64__
    if (pc >= (uintptr_t)coir__arch_return && pc < (uintptr_t)coir__arch_return + RETURN_BYTES)
        return true;
#endif
    return pc >= (uintptr_t)coir__arch_switch && pc < (uintptr_t)coir__arch_entry + ENTRY_BYTES;
}

static void trap_take(uintptr_t pc, uintptr_t sp)
{
    enum { BELOW = 512 };
    if (!trap_covers(pc))
        return;
    memset((void *)(sp - BELOW), 0xee, BELOW);
    trap_call(pc, sp);
}

#ifdef __x86_64__
/* The trap flag stops after each instruction of the program; after a system call one later. */
enum { TRAP_LEGS = 1 };

/* clang-format off */
__asm__(FUNCTION("trap_flag_set") "pushfq\norq $0x100, (%rsp)\npopfq\nret\n"
        FUNCTION_END("trap_flag_set")
        FUNCTION("trap_flag_clear") "pushfq\nandq $~0x100, (%rsp)\npopfq\nret\n"
        FUNCTION_END("trap_flag_clear"));
/* clang-format on */
COIR_HIDDEN void trap_flag_set(void);
COIR_HIDDEN void trap_flag_clear(void);

static void trap_handler(int sig, siginfo_t *info, void *arg)
{
    const greg_t *r = ((ucontext_t *)arg)->uc_mcontext.gregs;
    (void)sig, (void)info;
    trap_take((uintptr_t)r[REG_RIP], (uintptr_t)r[REG_RSP]);
}

static inline void trap_leg_begins(void)
{
}

static bool trap_each(void (*journey)(void))
{
    trap_flag_set();
    journey();
    trap_flag_clear();
    return true;
}
#else
/* One instruction becomes a breakpoint, for one leg of the journey: the handler puts it back. So
 * the journey is made once for each instruction and leg. */
enum { TRAP_LEGS = 4 };

static unsigned char *trap_at, trap_original[4];
static int trap_legs_ahead;
static bool trap_planted;

static size_t trap_bytes(const unsigned char *at)
{
#ifdef __riscv
    return (*at & 3) == 3 ? 4 : 2;
#else
    (void)at;
    return 4;
#endif
}

static void trap_put(const void *code, size_t bytes)
{
    memcpy(trap_at, code, bytes);
    __builtin___clear_cache((char *)trap_at, (char *)trap_at + bytes);
}

static void trap_remove(void)
{
    if (trap_planted)
        trap_put(trap_original, trap_bytes(trap_original));
    trap_planted = false;
}

/* The journey says so, right before each switch. */
static void trap_leg_begins(void)
{
    size_t bytes = trap_bytes(trap_at);
#ifdef __riscv
    uint32_t breakpoint = bytes == 4 ? 0x00100073 : 0x9002; /* ebreak, c.ebreak */
#else
    uint32_t breakpoint = 0xd4200000; /* brk #0 */
#endif
    trap_remove();
    if (trap_legs_ahead-- != 0)
        return;
    memcpy(trap_original, trap_at, bytes);
    trap_planted = true;
    trap_put(&breakpoint, bytes);
}

static void trap_handler(int sig, siginfo_t *info, void *arg)
{
    const mcontext_t *m = &((ucontext_t *)arg)->uc_mcontext;
    (void)sig, (void)info;
    trap_remove();
#ifdef __riscv
    trap_take(m->__gregs[REG_PC], m->__gregs[REG_SP]);
#else
    trap_take(m->pc, m->sp);
#endif
}

static bool trap_each(void (*journey)(void))
{
    unsigned char *from = (unsigned char *)coir__arch_switch;
    unsigned char *end = (unsigned char *)coir__arch_entry;
    end += trap_bytes(end);
    end += trap_bytes(end); /* the call, from which there is no return */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)from & -page;
    size_t pages = ((uintptr_t)end | (page - 1)) + 1 - first;
    if (mprotect((void *)first, pages, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return false;
    for (trap_at = from; trap_at < end; trap_at += trap_bytes(trap_at)) {
        for (int leg = 0; leg < TRAP_LEGS; leg++) {
            trap_legs_ahead = leg;
            journey();
            trap_remove();
        }
    }
    return mprotect((void *)first, pages, PROT_READ | PROT_EXEC) == 0;
}
#endif

/* Make the journey, of TRAP_LEGS switches, stopping at each instruction of the port. False: the
 * system does not allow that. */
static bool trap_each_instruction(void (*journey)(void), trap_fn *call)
{
    static unsigned char own_stack[64 * 1024];
    const stack_t alternate = { .ss_sp = own_stack, .ss_size = sizeof own_stack };
    const struct sigaction trap = { .sa_sigaction = trap_handler,
                                    .sa_flags = SA_SIGINFO | SA_ONSTACK };
    stack_t stack_before;
    struct sigaction before;
    trap_call = call;
    if (sigaltstack(&alternate, &stack_before) < 0)
        return false;
    bool done = sigaction(SIGTRAP, &trap, &before) == 0 && trap_each(journey) &&
                sigaction(SIGTRAP, &before, NULL) == 0;
    return sigaltstack(&stack_before, NULL) == 0 && done;
}

#endif
