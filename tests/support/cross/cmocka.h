/* support/cross/cmocka.h - as much of cmocka as our tests use, for builds for another CPU, where
 * the library itself is missing. Found before the real header by -I in those builds only.
 * SPDX-License-Identifier: MIT
 *
 * It prints as cmocka 1.1 does: the progress on stdout, failures and the summary on stderr. A test
 * that fails leaves by longjmp, so assert on the thread that runs the tests only. A signal that
 * kills is not made a failed test of: it ends the program, which the exit status tells. */
#ifndef COIR_TESTS_CMOCKA_H
#define COIR_TESTS_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    CMFixtureFunction setup_func;
    CMFixtureFunction teardown_func;
    void *initial_state;
};

#define cmocka_unit_test(f) cmocka_unit_test_setup_teardown(f, NULL, NULL)
/* clang-format off */
#define cmocka_unit_test_setup_teardown(f, setup, teardown) { #f, f, setup, teardown, NULL }
/* clang-format on */

/* Where a test that fails or skips goes back to. Weak: one for all files of a program. */
__attribute__((weak)) jmp_buf cm_test_end;

enum cm_result { CM_RAN, CM_FAILED, CM_SKIPPED };

static inline __attribute__((format(printf, 1, 2))) void print_message(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

static inline __attribute__((format(printf, 1, 2))) void print_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
}

static inline __attribute__((noreturn)) void cm_fail(const char *file, int line)
{
    print_error("[   LINE   ] --- %s:%d: error: Failure!\n", file, line);
    longjmp(cm_test_end, CM_FAILED);
}

static inline void cm_true(int holds, const char *text, const char *file, int line)
{
    if (holds)
        return;
    print_error("[  ERROR   ] --- %s\n", text);
    cm_fail(file, line);
}

static inline void cm_int(unsigned long long a, unsigned long long b, int want, const char *file,
                          int line)
{
    if ((a == b) == want)
        return;
    print_error("[  ERROR   ] --- 0x%llx %s 0x%llx\n", a, want ? "!=" : "==", b);
    cm_fail(file, line);
}

static inline void cm_string(const char *a, const char *b, const char *file, int line)
{
    if (!strcmp(a, b))
        return;
    print_error("[  ERROR   ] --- \"%s\" != \"%s\"\n", a, b);
    cm_fail(file, line);
}

static inline void cm_memory(const void *a, const void *b, size_t bytes, const char *file, int line)
{
    const unsigned char *p = (const unsigned char *)a, *q = (const unsigned char *)b;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != q[i]) {
            print_error("[  ERROR   ] --- difference at offset %zu 0x%02x 0x%02x\n", i, p[i], q[i]);
            cm_fail(file, line);
        }
}

static inline void cm_range(unsigned long long v, unsigned long long low, unsigned long long high,
                            const char *file, int line)
{
    if (low <= v && v <= high)
        return;
    print_error("[  ERROR   ] --- %llu is not within the range %llu-%llu\n", v, low, high);
    cm_fail(file, line);
}

#define assert_true(c)               cm_true(!!(c), #c, __FILE__, __LINE__)
#define assert_false(c)              cm_true(!(c), #c, __FILE__, __LINE__)
#define assert_non_null(c)           cm_true((c) != NULL, #c, __FILE__, __LINE__)
#define assert_null(c)               cm_true((c) == NULL, #c, __FILE__, __LINE__)
#define assert_int_equal(a, b)       cm_int(CM_BITS(a), CM_BITS(b), 1, __FILE__, __LINE__)
#define assert_int_not_equal(a, b)   cm_int(CM_BITS(a), CM_BITS(b), 0, __FILE__, __LINE__)
#define assert_ptr_equal(a, b)       cm_int(CM_WORD(a), CM_WORD(b), 1, __FILE__, __LINE__)
#define assert_string_equal(a, b)    cm_string(a, b, __FILE__, __LINE__)
#define assert_memory_equal(a, b, n) cm_memory(a, b, n, __FILE__, __LINE__)
#define assert_in_range(v, low, high)                                                              \
    cm_range(CM_BITS(v), CM_BITS(low), CM_BITS(high), __FILE__, __LINE__)
#define skip() longjmp(cm_test_end, CM_SKIPPED)
#define fail_msg(...)                                                                              \
    (print_error("ERROR: " __VA_ARGS__), print_error("\n"), cm_fail(__FILE__, __LINE__))

#define CM_BITS(a) ((unsigned long long)(a))
#define CM_WORD(a) ((unsigned long long)(size_t)(a))

static inline enum cm_result cm_run(const struct CMUnitTest *t, void *state)
{
    volatile enum cm_result result = CM_RAN;
    if (t->setup_func && t->setup_func(&state)) {
        print_error("Could not run test: Test setup failed\n");
        return CM_FAILED;
    }
    switch (setjmp(cm_test_end)) {
    case CM_RAN:
        t->test_func(&state);
        break;
    case CM_FAILED:
        result = CM_FAILED;
        break;
    default:
        result = CM_SKIPPED;
    }
    if (t->teardown_func && t->teardown_func(&state)) {
        print_error("Could not run test: Test teardown failed\n");
        return CM_FAILED;
    }
    return result;
}

static inline void cm_list(const struct CMUnitTest *tests, const char *results, size_t count,
                           char which, size_t found, const char *word)
{
    if (!found)
        return;
    print_error("[  %s ] %zu test(s), listed below:\n", word, found);
    for (size_t i = 0; i < count; i++)
        if (results[i] == which)
            print_error("[  %s ] %s\n", word, tests[i].name);
    print_error("\n");
}

static inline int cm_run_group(const struct CMUnitTest *tests, size_t count,
                               CMFixtureFunction setup, CMFixtureFunction teardown)
{
    static const char *const words[] = { "[       OK ]", "[  FAILED  ]", "[  SKIPPED ]" };
    char results[count];
    size_t found[3] = { 0 };
    void *state = NULL;
    print_message("[==========] Running %zu test(s).\n", count);
    if (setup && setup(&state)) {
        print_error("[  FAILED  ] GROUP SETUP\n");
        return (int)count;
    }
    for (size_t i = 0; i < count; i++) {
        print_message("[ RUN      ] %s\n", tests[i].name);
        results[i] =
            (char)cm_run(&tests[i], tests[i].initial_state ? tests[i].initial_state : state);
        found[(int)results[i]]++;
        print_message("%s %s\n", words[(int)results[i]], tests[i].name);
    }
    if (teardown && teardown(&state)) {
        print_error("[  FAILED  ] GROUP TEARDOWN\n");
        found[CM_FAILED]++;
    }
    print_message("[==========] %zu test(s) run.\n", count);
    print_error("[  PASSED  ] %zu test(s).\n", found[CM_RAN]);
    cm_list(tests, results, count, CM_SKIPPED, found[CM_SKIPPED], "SKIPPED");
    cm_list(tests, results, count, CM_FAILED, found[CM_FAILED], "FAILED ");
    return (int)found[CM_FAILED];
}

#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cm_run_group(tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                  \
    (print_message("%s\n", name), cmocka_run_group_tests(tests, setup, teardown))

#endif
