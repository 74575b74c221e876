/* arch/contexts.h - what the tests of the ports share: a switch that shows every register the port
 * has to keep. Included by one file of a program.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_TESTS_CONTEXTS_H
#define COIR_TESTS_CONTEXTS_H

#include "arch/arch.h"

/* A function that stays one, with its own frame and address. */
#ifdef __clang__
#define KEEP __attribute__((noinline))
#else
#define KEEP __attribute__((noipa))
#endif

/* Keeps the call before it from becoming a jump. */
#define NO_TAIL_CALL() __asm__ volatile("" ::: "memory")

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifdef UNDER_ASAN
#include <sanitizer/asan_interface.h>
#endif
#ifdef COIR_VALGRIND
#include <valgrind/memcheck.h>
#define ON_VALGRIND RUNNING_ON_VALGRIND
#else
#define ON_VALGRIND 0
#endif

/* From low up, these bytes are a stack, or a part of one, that holds nothing: what abandoned
 * contexts have left there is no more. */
static inline void stack_renew(void *low, size_t bytes)
{
#ifdef UNDER_ASAN
    ASAN_UNPOISON_MEMORY_REGION(low, bytes);
#endif
#ifdef COIR_VALGRIND
    VALGRIND_STACK_REGISTER(low, (char *)low + bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(low, bytes);
#endif
    (void)low, (void)bytes;
}

/* With a port of our own this is the outermost frame; a build on Boost.Context has none. */
extern char coir__arch_entry[] __attribute__((weak));

/* The callee-saved registers, and in REGS_DWARF their numbers in unwind information. */
#if defined(__x86_64__) /* rbx rbp r12-r15 */
enum { REGS = 6 };
#define REGS_DWARF 3, 6, 12, 13, 14, 15
#elif defined(__aarch64__) /* x19-x29 d8-d15 */
enum { REGS = 19 };
#define REGS_DWARF 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 72, 73, 74, 75, 76, 77, 78, 79
#elif defined(__riscv_float_abi_double) /* s0-s11 fs0-fs11 */
enum { REGS = 24 };
#define REGS_DWARF                                                                                 \
    8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 40, 41, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59
#else /* s0-s11 */
enum { REGS = 12 };
#define REGS_DWARF 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27
#endif

struct regs {
    uint64_t r[REGS];
};

/* coir__arch_switch called with *regs in the callee-saved registers; *regs is then what they hold
 * on return. It keeps its caller's, and can be unwound through. */
COIR_HIDDEN void regs_switch(void **save, void *const *load, uintptr_t tp, struct regs *regs);

/* Patterns that differ in every register and for every seed. */
static inline struct regs regs_pattern(uint64_t seed)
{
    struct regs p;
    for (int i = 0; i < REGS; i++)
        p.r[i] = (seed * 64 + (uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
    return p;
}

/* clang-format off */
#define FUNCTION(name)                                                                             \
    ".text\n.p2align 4\n.globl " name "\n.hidden " name "\n.type " name ", %function\n"            \
    name ":\n.cfi_startproc\n"
#define FUNCTION_END(name) ".cfi_endproc\n.size " name ", .-" name "\n"

#if defined(__x86_64__)
#define EACH(_)                                                                                    \
    _("rbx", "0") _("rbp", "8") _("r12", "16") _("r13", "24") _("r14", "32") _("r15", "40")
#define KEPT(reg, at)    "movq %" reg ", " at "(%rsp)\n.cfi_rel_offset " reg ", " at "\n"
#define LOADED(reg, at)  "movq " at "(%rcx), %" reg "\n"
#define NOTED(reg, at)   "movq %" reg ", " at "(%rcx)\n"
#define GIVEN_BACK(reg, at) "movq " at "(%rsp), %" reg "\n"
__asm__(FUNCTION("regs_switch")
        "subq $56, %rsp\n.cfi_adjust_cfa_offset 56\n"
        "movq %rcx, 48(%rsp)\n"
        EACH(KEPT)
        EACH(LOADED)
        "call coir__arch_switch\n"
        "movq 48(%rsp), %rcx\n"
        EACH(NOTED)
        EACH(GIVEN_BACK)
        "addq $56, %rsp\n.cfi_adjust_cfa_offset -56\n"
        "ret\n"
        FUNCTION_END("regs_switch"));

#elif defined(__aarch64__)
#define EACH(_)                                                                                    \
    _("x19", "0") _("x20", "8") _("x21", "16") _("x22", "24") _("x23", "32") _("x24", "40")        \
    _("x25", "48") _("x26", "56") _("x27", "64") _("x28", "72") _("x29", "80")                     \
    _("d8", "88") _("d9", "96") _("d10", "104") _("d11", "112")                                    \
    _("d12", "120") _("d13", "128") _("d14", "136") _("d15", "144")
#define KEPT(reg, at)    "str " reg ", [sp, #" at "]\n.cfi_rel_offset " reg ", " at "\n"
#define LOADED(reg, at)  "ldr " reg ", [x3, #" at "]\n"
#define NOTED(reg, at)   "str " reg ", [x3, #" at "]\n"
#define GIVEN_BACK(reg, at) "ldr " reg ", [sp, #" at "]\n"
__asm__(FUNCTION("regs_switch")
        "sub sp, sp, #176\n.cfi_def_cfa_offset 176\n"
        "str x3, [sp, #152]\n"
        KEPT("x30", "160")
        EACH(KEPT)
        EACH(LOADED)
        "bl coir__arch_switch\n"
        "ldr x3, [sp, #152]\n"
        EACH(NOTED)
        EACH(GIVEN_BACK)
        GIVEN_BACK("x30", "160")
        "add sp, sp, #176\n.cfi_def_cfa_offset 0\n"
        "ret\n"
        FUNCTION_END("regs_switch"));

#else
#define EACH_GENERAL(_)                                                                            \
    _("", "s0", "0") _("", "s1", "8") _("", "s2", "16") _("", "s3", "24") _("", "s4", "32")        \
    _("", "s5", "40") _("", "s6", "48") _("", "s7", "56") _("", "s8", "64") _("", "s9", "72")      \
    _("", "s10", "80") _("", "s11", "88")
#ifdef __riscv_float_abi_double
#define EACH(_) EACH_GENERAL(_)                                                                    \
    _("f", "fs0", "96") _("f", "fs1", "104") _("f", "fs2", "112") _("f", "fs3", "120")             \
    _("f", "fs4", "128") _("f", "fs5", "136") _("f", "fs6", "144") _("f", "fs7", "152")            \
    _("f", "fs8", "160") _("f", "fs9", "168") _("f", "fs10", "176") _("f", "fs11", "184")
#else
#define EACH(_) EACH_GENERAL(_)
#endif
#define KEPT(f, reg, at)    f "sd " reg ", " at "(sp)\n.cfi_rel_offset " reg ", " at "\n"
#define LOADED(f, reg, at)  f "ld " reg ", " at "(a3)\n"
#define NOTED(f, reg, at)   f "sd " reg ", " at "(a3)\n"
#define GIVEN_BACK(f, reg, at) f "ld " reg ", " at "(sp)\n"
__asm__(FUNCTION("regs_switch")
        "addi sp, sp, -208\n.cfi_def_cfa_offset 208\n"
        "sd a3, 192(sp)\n"
        KEPT("", "ra", "200")
        EACH(KEPT)
        EACH(LOADED)
        "call coir__arch_switch\n"
        "ld a3, 192(sp)\n"
        EACH(NOTED)
        EACH(GIVEN_BACK)
        GIVEN_BACK("", "ra", "200")
        "addi sp, sp, 208\n.cfi_def_cfa_offset 0\n"
        "ret\n"
        FUNCTION_END("regs_switch"));
#endif
/* clang-format on */

#endif
