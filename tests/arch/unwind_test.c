/* arch/unwind_test.c - unwind information: from inside a context, and at each instruction of the
 * switch, as a debugger, a profiler's signal handler or a C++ exception needs it.
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>
#include <unwind.h>

#include "contexts.h"
#include "traps.h"

enum { STACK_BYTES = 256 * 1024, FRAMES_MAX = 64 };

static _Alignas(64) unsigned char stack[STACK_BYTES];
static void *context, *home;

/* What an unwinder found: where the function of each frame starts, and the registers that the frame
 * of regs_switch has. */
struct chain {
    bool from_trap; /* leave out what comes before the frame that was interrupted */
    int frames;
    uintptr_t starts[FRAMES_MAX];
    struct regs regs;
    _Unwind_Reason_Code end;
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *frame, void *arg)
{
    static const unsigned char numbers[REGS] = { REGS_DWARF };
    struct chain *chain = arg;
    int interrupted = 0;
    uintptr_t pc = _Unwind_GetIPInfo(frame, &interrupted);
    chain->from_trap = chain->from_trap && !interrupted;
    if (chain->from_trap || !pc) /* libgcc calls once more at the end, with 0 */
        return _URC_NO_REASON;
    if (chain->frames == FRAMES_MAX)
        return _URC_NORMAL_STOP;
    uintptr_t start = _Unwind_GetRegionStart(frame);
    chain->starts[chain->frames++] = start;
    if (start == (uintptr_t)regs_switch)
        for (int i = 0; i < REGS; i++)
            chain->regs.r[i] = _Unwind_GetGR(frame, numbers[i]);
    return _URC_NO_REASON;
}

static KEEP void unwind(struct chain *chain)
{
    chain->end = _Unwind_Backtrace(note_frame, chain);
}

/* The unwind information of coir__arch_entry starts at the nop before its label. */
static bool same_function(uintptr_t start, const void *function)
{
    uintptr_t at = (uintptr_t)function;
    return start == at || (function == coir__arch_entry && start < at && at - start <= 4);
}

static bool begins_with(const struct chain *chain, const void *const *functions, int count)
{
    for (int i = 0; i < count; i++)
        if (i >= chain->frames || !same_function(chain->starts[i], functions[i]))
            return false;
    return true;
}

static struct chain inside;

static KEEP void look_up(void)
{
    unwind(&inside);
    NO_TAIL_CALL();
}

static KEEP void look_up_from_further_down(void)
{
    look_up();
    NO_TAIL_CALL();
}

static void look_up_and_go_home(void)
{
    look_up_from_further_down();
    coir__arch_switch(&context, &home, 0);
    look_up();
    coir__arch_switch(&context, &home, 0);
}

/* Goal: a backtrace from inside a context goes out to its first frame, and ends there. */
static void a_backtrace_ends_at_the_first_frame(void **state)
{
    (void)state;
    const void *deep[] = { unwind, look_up, look_up_from_further_down, look_up_and_go_home,
                           coir__arch_entry };
    const void *after[] = { unwind, look_up, look_up_and_go_home, coir__arch_entry };
    bool own = coir__arch_entry != NULL;

    stack_renew(stack, sizeof stack);
    memset(stack, 0xff, sizeof stack);
    context = coir__arch_init(stack + STACK_BYTES, look_up_and_go_home);
    memset(&inside, 0, sizeof inside);
    coir__arch_switch(&home, &context, 0);
    assert_true(begins_with(&inside, deep, own ? 5 : 4));
    assert_int_equal(inside.end, _URC_END_OF_STACK);
    if (own)
        assert_int_equal(inside.frames, 5);

    memset(&inside, 0, sizeof inside);
    coir__arch_switch(&home, &context, 0);
    assert_true(begins_with(&inside, after, own ? 4 : 3));
    assert_int_equal(inside.end, _URC_END_OF_STACK);
    if (own)
        assert_int_equal(inside.frames, 4);
}

/* Home's outer() calls inner(), which calls regs_switch; the context's body() calls leaf(), which
 * calls regs_switch. Each side fills the registers with a pattern of its own. */
enum { HOME = 1, FIBER = 2 };
static uintptr_t tp;
static bool body_runs;

static KEEP void leaf(void)
{
    struct regs regs = regs_pattern(FIBER);
    trap_leg_begins();
    regs_switch(&context, &home, tp, &regs);
    NO_TAIL_CALL();
}

static KEEP void body(void)
{
    body_runs = true;
    for (;;)
        leaf();
}

static KEEP void inner(void)
{
    struct regs regs = regs_pattern(HOME);
    trap_leg_begins();
    regs_switch(&home, &context, tp, &regs);
    NO_TAIL_CALL();
}

static KEEP void outer(void)
{
    inner();
    NO_TAIL_CALL();
}

/* TRAP_LEGS: to the new context and back, to the parked one and back. */
static void go_there_and_back_twice(void)
{
    body_runs = false;
    stack_renew(stack, sizeof stack);
    context = coir__arch_init(stack + STACK_BYTES, body);
    outer();
    outer();
}

/* What the traps found. Plain memory: traps come one at a time, on the thread that looks later. */
static struct {
    bool seen[1024]; /* by byte offset from coir__arch_switch */
    int count, wrong, wrong_frames;
    uintptr_t wrong_at;
} traps;

static bool as_expected(const struct chain *chain, uintptr_t pc, uintptr_t sp)
{
    const void *at_home[] = { coir__arch_switch, regs_switch, inner, outer };
    const void *in_fiber[] = { coir__arch_switch, regs_switch, leaf, body, coir__arch_entry };
    const void *fresh[] = { coir__arch_switch, coir__arch_entry };
    if (chain->end != _URC_END_OF_STACK)
        return false;
    if (pc >= (uintptr_t)coir__arch_entry)
        return begins_with(chain, fresh + 1, 1) && chain->frames == 1;
    bool on_fiber = sp >= (uintptr_t)stack && sp <= (uintptr_t)stack + STACK_BYTES;
    if (on_fiber && !body_runs)
        return begins_with(chain, fresh, 2) && chain->frames == 2;
    struct regs want = regs_pattern(on_fiber ? FIBER : HOME);
    if (memcmp(&want, &chain->regs, sizeof want) != 0)
        return false;
    return on_fiber ? begins_with(chain, in_fiber, 5) && chain->frames == 5
                    : begins_with(chain, at_home, 4);
}

static void unwind_from_trap(uintptr_t pc, uintptr_t sp)
{
    struct chain chain = { .from_trap = true };
    uintptr_t offset = pc - (uintptr_t)coir__arch_switch;
    unwind(&chain);
    if (!as_expected(&chain, pc, sp) && traps.wrong++ == 0) {
        traps.wrong_at = offset;
        traps.wrong_frames = chain.frames;
    }
    if (offset < sizeof traps.seen && !traps.seen[offset]) {
        traps.seen[offset] = true;
        traps.count++;
    }
}

/* Goal: at each instruction of the port, on the stack that is left and on the one that is entered,
 * an unwinder finds the callers, their registers, and the end. */
static void a_signal_handler_can_unwind_from_each_instruction(void **state)
{
    enum { INSTRUCTIONS_MIN = 25 };
    (void)state;
    if (!coir__arch_entry || ON_VALGRIND) /* it has no trap flag */
        skip();
    tp = 0;
    assert_true(trap_each_instruction(go_there_and_back_twice, unwind_from_trap));
    tp = coir__arch_tp();
    assert_true(trap_each_instruction(go_there_and_back_twice, unwind_from_trap));
#ifdef __x86_64__
    coir__arch_probe();
    assert_true(trap_each_instruction(go_there_and_back_twice, unwind_from_trap));
#endif
    print_message("trapped at %d instructions\n", traps.count);
    if (traps.wrong > 0)
        fail_msg("%d wrong, the first at coir__arch_switch+%lu with %d frames", traps.wrong,
                 (unsigned long)traps.wrong_at, traps.wrong_frames);
    assert_true(traps.count >= INSTRUCTIONS_MIN);
    assert_true(traps.seen[coir__arch_entry - (char *)coir__arch_switch]);
}

#ifdef __x86_64__
static int returned, returns_seen, returns_wrong;

static KEEP int return_across(void)
{
    return coir__arch_return(77);
}

static KEEP void return_to_here(void)
{
    returned = return_across();
    NO_TAIL_CALL();
}

static void unwind_from_return(uintptr_t pc, uintptr_t sp)
{
    const void *want[] = { coir__arch_return, return_to_here };
    const void *called[] = { coir__arch_return, return_across }; /* a build without tail calls */
    struct chain chain = { .from_trap = true };
    (void)pc, (void)sp;
    unwind(&chain);
    returns_seen++;
    returns_wrong += !begins_with(&chain, want, 2) && !begins_with(&chain, called, 2);
}
#endif

/* Goal: so it is in a return by a jump, which comes back with the value. */
static void a_return_by_a_jump_can_be_unwound(void **state)
{
    (void)state;
#ifdef __x86_64__
    return_to_here();
    assert_int_equal(returned, 77);
    if (ON_VALGRIND)
        skip();
    assert_true(trap_each_instruction(return_to_here, unwind_from_return));
    assert_int_equal(returns_seen, 4);
    assert_int_equal(returns_wrong, 0);
#else
    skip(); /* it is a return */
#endif
}

static KEEP void park_there(void)
{
    struct regs regs = regs_pattern(FIBER);
    regs_switch(&context, &home, 0, &regs);
    NO_TAIL_CALL();
}

static KEEP void park_for_ever(void)
{
    for (;;)
        park_there();
}

static KEEP void unwind_for_pose(void *chain)
{
    unwind(chain);
    NO_TAIL_CALL();
}

/* Goal: a backtrace of a context that does not run is that which it would take itself, with its
 * registers, and it runs on as if nothing had been. */
static void a_context_can_be_unwound_from_outside(void **state)
{
    const void *fresh[] = { unwind, unwind_for_pose, coir__arch_pose, coir__arch_entry };
    const void *parked[] = { unwind,     unwind_for_pose, coir__arch_pose, regs_switch,
                             park_there, park_for_ever,   coir__arch_entry };
    (void)state;
    stack_renew(stack, sizeof stack);
    context = coir__arch_init(stack + STACK_BYTES, park_for_ever);
    struct chain chain = { 0 };
    int posed = coir__arch_pose(context, unwind_for_pose, &chain);
    assert_int_equal(posed, coir__arch_entry != NULL);
    if (!posed)
        skip();
    assert_true(begins_with(&chain, fresh, 4));
    assert_int_equal(chain.frames, 4);
    assert_int_equal(chain.end, _URC_END_OF_STACK);
    struct regs want = regs_pattern(FIBER);
    for (int i = 0; i < 3; i++) {
        coir__arch_switch(&home, &context, 0);
        memset(&chain, 0, sizeof chain);
        coir__arch_pose(context, unwind_for_pose, &chain);
        assert_true(begins_with(&chain, parked, 7));
        assert_int_equal(chain.frames, 7);
        assert_int_equal(chain.end, _URC_END_OF_STACK);
        assert_memory_equal(&chain.regs, &want, sizeof want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backtrace_ends_at_the_first_frame),
        cmocka_unit_test(a_context_can_be_unwound_from_outside),
        cmocka_unit_test(a_return_by_a_jump_can_be_unwound),
        cmocka_unit_test(a_signal_handler_can_unwind_from_each_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
