/* arch/switch_test.c - coir__arch_init and coir__arch_switch keep the promises of arch/arch.h.
 * SPDX-License-Identifier: MIT
 *
 * Contexts record what they see; the thread that runs the tests asserts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "contexts.h"

enum { STACK_BYTES = 64 * 1024, CONTEXTS = 3 };

static _Alignas(64) unsigned char stacks[CONTEXTS][STACK_BYTES];
static void *contexts[CONTEXTS], *home;

static void start(int i, void (*entry)(void))
{
    stack_renew(stacks[i], STACK_BYTES);
    contexts[i] = coir__arch_init(stacks[i] + STACK_BYTES, entry);
}

static void visit(int i)
{
    coir__arch_switch(&home, &contexts[i], 0);
}

static void go_home(int i)
{
    coir__arch_switch(&contexts[i], &home, 0);
}

static long laps;

static void count_laps(void)
{
    for (;;) {
        laps++;
        go_home(0);
    }
}

/* Goal: a switch returns to where it was called, as often as one likes. */
static void switching_there_and_back_resumes_both_sides(void **state)
{
    enum { ROUNDS = 100000 };
    (void)state;
    laps = 0;
    start(0, count_laps);
    for (long i = 1; i <= ROUNDS; i++) {
        visit(0);
        if (laps != i)
            fail_msg("lap %ld of %ld", laps, i);
    }
}

static int next_keeper;
static long spoilt_regs[CONTEXTS];

static void keep_regs(void)
{
    int me = next_keeper;
    for (uint64_t round = 0;; round++) {
        struct regs want = regs_pattern((uint64_t)me + round * CONTEXTS), got = want;
        regs_switch(&contexts[me], &home, 0, &got);
        spoilt_regs[me] += memcmp(&want, &got, sizeof want) != 0;
    }
}

/* Goal: each callee-saved register holds after a switch what it held before. Method: all sides fill
 * every one with values that nobody else uses. */
static void every_callee_saved_register_is_kept(void **state)
{
    enum { ROUNDS = 1000 };
    (void)state;
    memset(spoilt_regs, 0, sizeof spoilt_regs);
    for (int i = 0; i < CONTEXTS; i++) {
        start(i, keep_regs);
        next_keeper = i;
        visit(i);
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        int i = (int)(round * 7 % CONTEXTS);
        struct regs want = regs_pattern(1000000 + round), got = want;
        regs_switch(&home, &contexts[i], 0, &got);
        assert_memory_equal(&got, &want, sizeof want);
    }
    for (int i = 0; i < CONTEXTS; i++)
        assert_int_equal(spoilt_regs[i], 0);
}

static uintptr_t seen_frame, seen_aligned;
static char seen_text[32];

static void see_stack(void)
{
    _Alignas(16) volatile char object[16];
    uintptr_t at = (uintptr_t)object, frame = (uintptr_t)__builtin_frame_address(0);
    /* So that the compiler does not take for granted what is to be found out. */
    __asm__ volatile("" : "+r"(at), "+r"(frame));
    seen_aligned = at;
    seen_frame = frame;
    snprintf(seen_text, sizeof seen_text, "%.3f %Lg", 1.5, 2.5L);
    go_home(0);
}

/* Goal: entry runs on the given stack, aligned as the ABI says, wherever the stack's top is. */
static void entry_gets_an_aligned_stack_below_any_top(void **state)
{
    (void)state;
    for (int skew = 0; skew < 64; skew++) {
        unsigned char *top = stacks[0] + STACK_BYTES - 64 + skew;
        stack_renew(stacks[0], STACK_BYTES);
        memset(top, 0x5a, 64 - (size_t)skew);
        memset(seen_text, 0, sizeof seen_text);
        contexts[0] = coir__arch_init(top, see_stack);
        assert_in_range((uintptr_t)contexts[0], (uintptr_t)top - 288, (uintptr_t)top - 1);
        visit(0);
        assert_int_equal(seen_aligned % 16, 0);
        assert_in_range(seen_frame, (uintptr_t)top - 512, (uintptr_t)top);
        assert_string_equal(seen_text, "1.500 2.5");
        for (int i = 0; i < 64 - skew; i++)
            assert_int_equal(top[i], 0x5a);
    }
}

static char trace[64];
static int traced, ring_size, next_member;

static void ring_member(void)
{
    int me = next_member;
    for (;;) {
        trace[traced++] = (char)('a' + me);
        bool done = traced >= 4 * ring_size;
        next_member = (me + 1) % ring_size;
        coir__arch_switch(&contexts[me], done ? &home : &contexts[next_member], 0);
    }
}

/* Goal: contexts switch to one another, not only to the one that started them. */
static void contexts_pass_control_around_a_ring(void **state)
{
    (void)state;
    for (ring_size = 2; ring_size <= 3; ring_size++) {
        memset(trace, 0, sizeof trace);
        traced = next_member = 0;
        for (int i = 0; i < ring_size; i++)
            start(i, ring_member);
        visit(0);
        assert_string_equal(trace, ring_size == 2 ? "abababab" : "abcabcabcabc");
    }
}

enum { DEPTH = 200 };
static long deep_result;

/* Switches on the way down and on the way up, with something live in every frame. */
static KEEP long descend(void **self, void *const *peer, int depth)
{
    volatile long mine = 3L * depth;
    coir__arch_switch(self, peer, 0);
    long below = depth > 0 ? descend(self, peer, depth - 1) : 0;
    coir__arch_switch(self, peer, 0);
    return below + mine;
}

static void descend_once(void)
{
    deep_result = descend(&contexts[0], &home, DEPTH);
    go_home(0);
}

/* Goal: deep chains of calls on both sides return in order, however they are interleaved. */
static void deep_call_chains_survive_switches(void **state)
{
    (void)state;
    deep_result = 0;
    start(0, descend_once);
    assert_int_equal(descend(&home, &contexts[0], DEPTH), 3L * DEPTH * (DEPTH + 1) / 2);
    visit(0);
    assert_int_equal(deep_result, 3L * DEPTH * (DEPTH + 1) / 2);
}

/* Goal: all of a context lies above its word. Method: overwrite what is below, before it first runs
 * and while it is parked. */
static void nothing_below_the_context_word_is_needed(void **state)
{
    (void)state;
    laps = 0;
    spoilt_regs[0] = next_keeper = 0;
    start(0, keep_regs);
    for (int i = 0; i < 3; i++) {
        unsigned char *word = contexts[0];
        assert_in_range((uintptr_t)word, (uintptr_t)stacks[0], (uintptr_t)stacks[0] + STACK_BYTES);
        stack_renew(stacks[0], (size_t)(word - stacks[0]));
        memset(stacks[0], 0xa5, (size_t)(word - stacks[0]));
        visit(0);
    }
    assert_int_equal(spoilt_regs[0], 0);
}

static void *visit_on_this_thread(void *arg)
{
    (void)arg;
    visit(0);
    return NULL;
}

/* Goal: a context may be loaded by any thread. */
static void another_thread_resumes_a_context(void **state)
{
    (void)state;
    laps = 0;
    start(0, count_laps);
    for (int i = 1; i <= 10; i++) {
        pthread_t thread;
        visit(0);
        assert_int_equal(pthread_create(&thread, NULL, visit_on_this_thread, NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(laps, 2 * i);
    }
}

/* Like the block a thread pointer points at: on x86-64 its first word is its own address. The
 * pointer is to the middle, as some ABIs look below it. */
static _Alignas(64) uintptr_t foreign_block[256];
static uintptr_t own_tp, foreign_tp, seen_tp[4];

/* For code that runs on the foreign pointer: no stack protector, no sanitizer's bookkeeping. */
#ifdef __clang__
#define NO_TLS __attribute__((no_stack_protector, disable_sanitizer_instrumentation))
#else
#define NO_TLS __attribute__((no_stack_protector, no_sanitize("address,thread,undefined")))
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

#ifdef UNDER_ASAN
#include <sanitizer/asan_interface.h>
#endif

NO_TLS static void see_thread_pointer(void)
{
    seen_tp[0] = coir__arch_tp();
    coir__arch_switch(&contexts[0], &home, own_tp);
    seen_tp[1] = coir__arch_tp();
    coir__arch_switch(&contexts[0], &home, 0);
    seen_tp[2] = coir__arch_tp();
    coir__arch_tp_set(own_tp);
    seen_tp[3] = coir__arch_tp();
    go_home(0);
}

NO_TLS static void swap_thread_pointers(void)
{
    coir__arch_switch(&home, &contexts[0], foreign_tp);
    own_tp = own_tp == coir__arch_tp() ? own_tp : 0;
    coir__arch_switch(&home, &contexts[0], 0);
    coir__arch_switch(&home, &contexts[0], foreign_tp);
}

static void check_thread_pointer_swap(void)
{
#ifdef UNDER_TSAN
    skip();
#endif
#ifdef UNDER_ASAN
    if (__asan_get_current_fake_stack())
        skip(); /* what is inline in the library then asks for it, by a thread-local */
#endif
    foreign_block[128] = foreign_tp = (uintptr_t)&foreign_block[128];
    own_tp = coir__arch_tp();
    uintptr_t own = own_tp;
    start(0, see_thread_pointer);
    swap_thread_pointers();
    uintptr_t now = coir__arch_tp();
    assert_int_equal(own_tp, own);
    assert_int_equal(now, own);
    assert_int_equal(seen_tp[0], foreign_tp);
    assert_int_equal(seen_tp[1], own);
    assert_int_equal(seen_tp[2], foreign_tp);
    assert_int_equal(seen_tp[3], own);
}

/* Goal: the loaded context sees the thread pointer that was asked for, and 0 leaves it alone. */
static void a_switch_sets_the_thread_pointer(void **state)
{
    (void)state;
    coir__arch_probe();
    check_thread_pointer_swap();
}

/* Goal: the same where CPU or kernel have no instruction for it. */
static void a_switch_sets_the_thread_pointer_by_system_call(void **state)
{
    (void)state;
#ifdef __x86_64__
    coir__arch_fsgsbase = 0;
    check_thread_pointer_swap();
    coir__arch_probe();
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(switching_there_and_back_resumes_both_sides),
        cmocka_unit_test(every_callee_saved_register_is_kept),
        cmocka_unit_test(entry_gets_an_aligned_stack_below_any_top),
        cmocka_unit_test(contexts_pass_control_around_a_ring),
        cmocka_unit_test(deep_call_chains_survive_switches),
        cmocka_unit_test(nothing_below_the_context_word_is_needed),
        cmocka_unit_test(another_thread_resumes_a_context),
        cmocka_unit_test(a_switch_sets_the_thread_pointer),
        cmocka_unit_test(a_switch_sets_the_thread_pointer_by_system_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
