/* arch/port_test.c - what a port.h offers: raw system calls, the thread pointer, the floating-point
 * control bits.
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "contexts.h"

/* Goal: the result, or -errno; errno itself stays. */
static void a_failed_system_call_returns_minus_errno(void **state)
{
    (void)state;
    errno = 12345;
    assert_int_equal(coir__sys(SYS_close, -1), -EBADF);
    assert_int_equal(coir__sys(SYS_mmap, NULL, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                     -EINVAL);
    assert_int_equal(coir__sys(100000), -ENOSYS);
    assert_int_equal(errno, 12345);
}

/* Goal: none to six arguments arrive, each in its place. */
static void system_calls_take_up_to_six_arguments(void **state)
{
    enum { PAGES = 3, PAGE = 65536 };
    (void)state;
    static char page[PAGE];
    assert_int_equal(coir__sys(SYS_getpid), getpid());
    int fd = (int)coir__sys(SYS_memfd_create, "pages", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (int i = 0; i < PAGES; i++) {
        memset(page, 'a' + i, sizeof page);
        assert_int_equal(coir__sys(SYS_write, fd, page, sizeof page), PAGE);
    }
    assert_int_equal(coir__sys(SYS_pread64, fd, page, 10, PAGE), 10);
    assert_memory_equal(page, "bbbbbbbbbb", 10);

    long at = coir__sys(SYS_mmap, NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 2 * PAGE);
    assert_true(at > 0);
    assert_int_equal(*(char *)at, 'c');
    assert_int_equal(coir__sys(SYS_munmap, at, PAGE), 0);
    assert_int_equal(coir__sys(SYS_close, fd), 0);

    int sock = socket(AF_UNIX, SOCK_STREAM, 0), one = 1, read_back = 0;
    socklen_t bytes = sizeof read_back;
    assert_int_equal(coir__sys(SYS_setsockopt, sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
    assert_int_equal(coir__sys(SYS_setsockopt, sock, SOL_SOCKET, SO_PASSCRED, &one, 1), -EINVAL);
    assert_int_equal(getsockopt(sock, SOL_SOCKET, SO_PASSCRED, &read_back, &bytes), 0);
    assert_int_equal(read_back, 1);
    close(sock);
}

static void *thread_pointer_of_thread(void *arg)
{
    *(uintptr_t *)arg = coir__arch_tp();
    return NULL;
}

/* Goal: the thread pointer can be read and set. Method: it differs between threads, and setting
 * what was read leaves the thread-locals alone. */
static void the_thread_pointer_can_be_read_and_set(void **state)
{
    static _Thread_local int local = 7;
    pthread_t thread;
    uintptr_t other = 0, own = coir__arch_tp();
    (void)state;
    assert_int_not_equal(own, 0);
    assert_int_equal(pthread_create(&thread, NULL, thread_pointer_of_thread, &other), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_not_equal(other, 0);
    assert_int_not_equal(other, own);
    coir__arch_tp_set(own);
    assert_int_equal(coir__arch_tp(), own);
    assert_int_equal(local, 7);
}

/* Goal: on x86-64 the instructions, where the CPU has them, agree with the system call. */
static void instruction_and_system_call_agree_on_the_thread_pointer(void **state)
{
    (void)state;
#ifdef __x86_64__
    coir__arch_fsgsbase = 0;
    uintptr_t by_call = coir__arch_tp();
    coir__arch_tp_set(by_call);
    coir__arch_probe();
    assert_int_equal(coir__arch_tp(), by_call);
    if (!coir__arch_fsgsbase)
        skip();
#else
    skip();
#endif
}

/* Rounding upwards and downwards, as the floating-point control bits say it; 0 is to nearest. */
#if defined(__x86_64__)
enum { UP = 0x4000, DOWN = 0x2000, ROUNDING = 0x6000 };
#define X87(mode)  ((uint64_t)(mode) >> 3 << 32)
#define BITS(mode) ((uint64_t)(mode) | X87(mode))
#elif defined(__aarch64__)
enum { UP = 1 << 22, DOWN = 2 << 22, ROUNDING = 3 << 22 };
#define BITS(mode) ((uint64_t)(mode))
#else
enum { UP = 3, DOWN = 2, ROUNDING = 7 };
#define BITS(mode) ((uint64_t)(mode))
#endif

static void round_by(int mode)
{
    coir__arch_fpu_load((coir__arch_fpu_save() & ~BITS(ROUNDING)) | BITS(mode));
}

/* Which way 1/3 is rounded: UP, DOWN, or -1 where the two units of x86 do not agree. Nearest is
 * down for double, and up for the x87's long double. */
static KEEP int rounding(void)
{
    volatile double one = 1, three = 3;
    volatile double third = one / three;
    int mode = third > 0x1.5555555555555p-2 ? UP : DOWN;
#ifdef __x86_64__
    volatile long double lone = 1, lthree = 3;
    volatile long double lthird = lone / lthree;
    if (mode != (lthird > 0xa.aaaaaaaaaaaaaaap-5L ? UP : DOWN))
        return -1;
#endif
    return mode;
}

/* Goal: the control bits can be saved and loaded, and loading means what it says. */
static void floating_point_control_bits_are_saved_and_loaded(void **state)
{
    (void)state;
    if (ON_VALGRIND) /* it computes with one rounding only */
        skip();
    uint64_t before = coir__arch_fpu_save();
    assert_int_equal(before & BITS(ROUNDING), 0);
    round_by(UP);
    uint64_t up = coir__arch_fpu_save();
    int up_rounds = rounding();
    round_by(DOWN);
    int down_rounds = rounding();
    coir__arch_fpu_load(up);
    int again = rounding();
    coir__arch_fpu_load(before);
    assert_int_equal(up & BITS(ROUNDING), BITS(UP));
    assert_int_equal(up_rounds, UP);
    assert_int_equal(down_rounds, DOWN);
    assert_int_equal(again, UP);
    assert_int_equal(coir__arch_fpu_save() & BITS(ROUNDING), 0);
}

enum { CONTEXTS = 2, STACK_BYTES = 32 * 1024 };
static _Alignas(64) unsigned char stacks[CONTEXTS][STACK_BYTES];
static void *contexts[CONTEXTS], *home;
static int next_member, wrong_rounding[CONTEXTS];
static uint64_t seen_bits;

static void switch_with_fpu(void **save, void *const *load)
{
    uint64_t bits = coir__arch_fpu_save();
    coir__arch_switch(save, load, 0);
    coir__arch_fpu_load(bits);
}

static void round_in_own_way(void)
{
    int me = next_member, mode = me ? UP : DOWN;
    round_by(mode);
    for (;;) {
        wrong_rounding[me] += rounding() != mode;
        switch_with_fpu(&contexts[me], &home);
    }
}

/* Goal: who saves the bits around a switch has them to himself. */
static void each_context_may_keep_its_own_rounding(void **state)
{
    (void)state;
    if (ON_VALGRIND) /* it computes with one rounding only */
        skip();
    uint64_t before = coir__arch_fpu_save();
    for (next_member = 0; next_member < CONTEXTS; next_member++) {
        wrong_rounding[next_member] = 0;
        stack_renew(stacks[next_member], STACK_BYTES);
        contexts[next_member] =
            coir__arch_init(stacks[next_member] + STACK_BYTES, round_in_own_way);
        switch_with_fpu(&home, &contexts[next_member]);
    }
    for (int i = 0; i < 10; i++)
        switch_with_fpu(&home, &contexts[i % CONTEXTS]);
    assert_int_equal(wrong_rounding[0], 0);
    assert_int_equal(wrong_rounding[1], 0);
    assert_int_equal(coir__arch_fpu_save() & BITS(ROUNDING), before & BITS(ROUNDING));
}

static void see_bits_and_round_up(void)
{
    seen_bits = coir__arch_fpu_save();
    round_by(UP);
    coir__arch_switch(&contexts[0], &home, 0);
}

/* Goal: the switch itself leaves the bits alone, both ways. Boost.Context's saves them. */
static void a_switch_leaves_floating_point_control_alone(void **state)
{
    (void)state;
    if (!coir__arch_entry)
        skip();
    stack_renew(stacks[0], STACK_BYTES);
    contexts[0] = coir__arch_init(stacks[0] + STACK_BYTES, see_bits_and_round_up);
    round_by(DOWN);
    coir__arch_switch(&home, &contexts[0], 0);
    uint64_t after = coir__arch_fpu_save();
    round_by(0);
    assert_int_equal(seen_bits & BITS(ROUNDING), BITS(DOWN));
    assert_int_equal(after & BITS(ROUNDING), BITS(UP));
}

static void a_pause_returns(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        coir__arch_pause();
}

/* Goal: a guard of whole pages, whatever size pages have. */
static void the_stack_guard_is_made_of_whole_pages(void **state)
{
    (void)state;
    assert_int_equal(COIR__STACK_GUARD % (unsigned long)sysconf(_SC_PAGESIZE), 0);
}

int main(void)
{
    coir__arch_probe();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_system_call_returns_minus_errno),
        cmocka_unit_test(system_calls_take_up_to_six_arguments),
        cmocka_unit_test(the_thread_pointer_can_be_read_and_set),
        cmocka_unit_test(instruction_and_system_call_agree_on_the_thread_pointer),
        cmocka_unit_test(floating_point_control_bits_are_saved_and_loaded),
        cmocka_unit_test(each_context_may_keep_its_own_rounding),
        cmocka_unit_test(a_switch_leaves_floating_point_control_alone),
        cmocka_unit_test(a_pause_returns),
        cmocka_unit_test(the_stack_guard_is_made_of_whole_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
