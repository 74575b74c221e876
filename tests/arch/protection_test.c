/* arch/protection_test.c - the switch and the CPU's protection of branches and returns: landing
 * pads (CET's IBT, BTI), signed return addresses (PAC).
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/arch.h"

extern char coir__arch_entry[] __attribute__((weak)); /* missing in a build on Boost.Context */

/* Goal: an indirect call may enter the switch. Method: look at its first instruction. */
static void the_switch_begins_with_a_landing_pad(void **state)
{
    (void)state;
    if (!coir__arch_entry)
        skip();
#if defined(__x86_64__)
    static const unsigned char endbr64[4] = { 0xf3, 0x0f, 0x1e, 0xfa };
    assert_memory_equal((const void *)coir__arch_switch, endbr64, sizeof endbr64);
#elif defined(__aarch64__)
    uint32_t first;
    memcpy(&first, (const void *)coir__arch_switch, sizeof first);
    assert_int_equal(first, 0xd503233f); /* paciasp */
#else
    skip();
#endif
}

#ifdef __aarch64__
enum { STACK_BYTES = 32 * 1024 };
static _Alignas(64) unsigned char stack[STACK_BYTES];
static void *context, *home;
static long visits;

static void count_visits(void)
{
    for (;;) {
        visits++;
        coir__arch_switch(&context, &home, 0);
    }
}

enum { CPU_PACA = 1 << 30, CPU2_BTI = 1 << 17, GUARDED = 0x10 /* PROT_BTI */ };

/* Goal: the same where the CPU checks it. Method: run a copy of the switch on a guarded page. */
static void a_guarded_page_lets_indirect_calls_into_the_switch(void **state)
{
    (void)state;
    if (!coir__arch_entry || !(getauxval(AT_HWCAP2) & CPU2_BTI))
        skip();
    enum { PAGE = 65536 };
    size_t bytes = (size_t)(coir__arch_entry - (char *)coir__arch_switch);
    char *copy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(copy != MAP_FAILED);
    memcpy(copy, (const void *)coir__arch_switch, bytes);
    __builtin___clear_cache(copy, copy + bytes);
    assert_int_equal(mprotect(copy, PAGE, PROT_READ | PROT_EXEC | GUARDED), 0);

    void (*volatile guarded_switch)(void **, void *const *, uintptr_t) = (void *)copy;
    visits = 0;
    context = coir__arch_init(stack + STACK_BYTES, count_visits);
    guarded_switch(&home, &context, 0);
    guarded_switch(&home, &context, 0);
    assert_int_equal(visits, 2);

    pid_t pid = fork();
    if (pid == 0) {
        guarded_switch = (void *)(copy + 4); /* no landing pad: the check is really on */
        guarded_switch(&home, &context, 0);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    munmap(copy, PAGE);
}

enum { RETURN = 1, PLACES = 8 }; /* RETURN: the word of a frame where x30 is */

static uintptr_t unsigned_return(void)
{
    return ((uintptr_t *)context)[RETURN] & 0x0000ffffffffffff;
}

/* A new context, or one that has run, whose signed return address differs from the plain one: the
 * signature depends on the place, and one place in a hundred has the signature 0. */
static bool make_signed_context(bool run)
{
    for (int place = 0; place < PLACES; place++) {
        context = coir__arch_init(stack + STACK_BYTES - 16 * place, count_visits);
        if (run)
            coir__arch_switch(&home, &context, 0);
        if (unsigned_return() != ((uintptr_t *)context)[RETURN])
            return true;
    }
    return false;
}

/* Goal: a return address that was overwritten on a parked stack is not returned to. Method: plant
 * the right one, but not signed, in a new context and in one that has run. */
static void a_forged_return_address_is_refused(void **state)
{
    (void)state;
    if (!coir__arch_entry || !(getauxval(AT_HWCAP) & CPU_PACA))
        skip();
    for (int runs = 0; runs < 2; runs++) {
        assert_true(make_signed_context(runs));
        pid_t pid = fork();
        if (pid == 0) {
            ((uintptr_t *)context)[RETURN] = unsigned_return();
            coir__arch_switch(&home, &context, 0);
            _exit(2);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_switch_begins_with_a_landing_pad),
#ifdef __aarch64__
        cmocka_unit_test(a_guarded_page_lets_indirect_calls_into_the_switch),
        cmocka_unit_test(a_forged_return_address_is_refused),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
