/* tests/api/env_test.c - the environment: what it sets, and that wrong values are reported and
 * ignored.
 * SPDX-License-Identifier: MIT
 *
 * Method: each case runs in a child process with its own environment; its stderr is compared. */
#include "support/fiber_test.h"

#include "api/cpus.h"
#include "sched/runtime.h"
#include "sched/stack.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { CPUS = 0, DEFAULT_STACK = 256 * 1024, LINES_MAX = 4 };

struct expected {
    const char *set[2 * LINES_MAX]; /* name, value, ... */
    coir_options options;
    unsigned workers; /* CPUS: as many as the process may use */
    size_t stack_bytes;
    const char *complaints[LINES_MAX]; /* what each line of stderr begins with */
};

static int wrong;

static void compare(void *arg)
{
    const struct expected *e = arg;
    const struct coir__config *config = &coir__worker_self()->rt->config;
    unsigned workers = e->workers == CPUS ? coir__cpus() : e->workers;
    if (config->workers != workers || (!TEST_TSAN && test_threads() != (int)workers))
        wrong |= 1;
    if (coir__stack_class_bytes(config->stack_class) != e->stack_bytes)
        wrong |= 2;
    if (strcmp(coir_io_engine(), TEST_ENGINE) != 0)
        wrong |= 4;
}

static int run_with_environment(void *arg)
{
    const struct expected *e = arg;
    unsetenv("COIR_WORKERS");
    unsetenv("COIR_STACK");
    unsetenv("COIR_IO");
    unsetenv("COIR_VERBOSE");
    for (int i = 0; i < 2 * LINES_MAX && e->set[i]; i += 2)
        setenv(e->set[i], e->set[i + 1], 1);
    if (coir_run(compare, arg, &e->options) < 0)
        return 100;
    return wrong;
}

static void check(const struct expected *e)
{
    static char text[4096];
    int status = test_child(run_with_environment, (void *)(uintptr_t)e, text, sizeof text);
    if (status)
        print_error("%s=%s: child's status 0x%x\n", e->set[0], e->set[1], status);
    assert_int_equal(status, 0);
    char *line = text;
    for (int i = 0; i < LINES_MAX && e->complaints[i]; i++) {
        if (strncmp(line, e->complaints[i], strlen(e->complaints[i])) != 0)
            print_error("stderr: %s", text);
        assert_int_equal(strncmp(line, e->complaints[i], strlen(e->complaints[i])), 0);
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    assert_string_equal(line, "");
}

static void right_values_are_taken(void **state)
{
    const struct expected cases[] = {
        { { NULL }, { 0 }, CPUS, DEFAULT_STACK, { NULL } },
        { { "COIR_WORKERS", "3" }, { 0 }, 3, DEFAULT_STACK, { NULL } },
        { { "COIR_WORKERS", "1", "COIR_STACK", "64K" }, { 0 }, 1, 65536, { NULL } },
        { { "COIR_STACK", "100000" }, { 0 }, CPUS, 131072, { NULL } },
        { { "COIR_STACK", "1m" }, { 0 }, CPUS, 1 << 20, { NULL } },
        { { "COIR_STACK", "1G", "COIR_IO", TEST_ENGINE }, { 0 }, CPUS, 1 << 30, { NULL } },
        { { "COIR_IO", "auto", "COIR_VERBOSE", "0" }, { 0 }, CPUS, DEFAULT_STACK, { NULL } },
        { { "COIR_WORKERS", "", "COIR_STACK", "", "COIR_IO", "" },
          { 0 },
          CPUS,
          DEFAULT_STACK,
          { NULL } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

static void wrong_values_are_reported_in_one_line_each_and_ignored(void **state)
{
    static const char *const workers[] = { "0",  "1025", "-1", "+2",  "two",
                                           "3x", " 3",   "2 ", "1.5", "99999999999999999999" };
    static const char *const stacks[] = { "0",    "1",    "16383", "2G",      "-64K",        "K",
                                          "64KB", "huge", "1e6",   "0x10000", "99999999999G" };
    static const char *const engines[] = { "none", "URING", "uring,epoll", "epolll", "0" };
    char begin[128];
    (void)state;
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        snprintf(begin, sizeof begin, "coir: COIR_WORKERS=%s is ignored", workers[i]);
        struct expected e = {
            { "COIR_WORKERS", workers[i] }, { 0 }, CPUS, DEFAULT_STACK, { begin }
        };
        check(&e);
    }
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        snprintf(begin, sizeof begin, "coir: COIR_STACK=%s is ignored", stacks[i]);
        struct expected e = { { "COIR_STACK", stacks[i] }, { 0 }, CPUS, DEFAULT_STACK, { begin } };
        check(&e);
    }
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
        snprintf(begin, sizeof begin, "coir: COIR_IO=%s is ignored", engines[i]);
        struct expected e = { { "COIR_IO", engines[i] }, { 0 }, CPUS, DEFAULT_STACK, { begin } };
        check(&e);
    }
    const struct expected all = {
        { "COIR_WORKERS", "many", "COIR_STACK", "big", "COIR_IO", "fast" },
        { 0 },
        CPUS,
        DEFAULT_STACK,
        { "coir: COIR_STACK=", "coir: COIR_IO=", "coir: COIR_WORKERS=" }
    };
    check(&all);
}

/* A value that the program gives is not looked for in the environment. */
static void options_come_before_the_environment(void **state)
{
    const struct expected cases[] = {
        { { "COIR_WORKERS", "3", "COIR_STACK", "64K" },
          { .workers = 2, .stack_bytes = 1 << 20 },
          2,
          1 << 20,
          { NULL } },
        { { "COIR_WORKERS", "many", "COIR_STACK", "big", "COIR_IO", "fast" },
          { .workers = 2, .stack_bytes = 1 << 20, .io = TEST_ENGINE },
          2,
          1 << 20,
          { NULL } },
        { { "COIR_WORKERS", "3", "COIR_STACK", "64K" }, { .workers = 1 }, 1, 65536, { NULL } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&cases[i]);
}

static void verbose_tells_what_the_runtime_starts_with(void **state)
{
    const char *no_ring = test_qemu() ? "coir: io_uring does not work here: " : NULL;
    char begin_one[64], begin_three[64];
    snprintf(begin_one, sizeof begin_one,
             "coir: %s, 1 worker, stacks of 256 KiB, guarded by ", TEST_ENGINE);
    snprintf(begin_three, sizeof begin_three, "coir: %s, 3 workers, stacks of 1024 KiB, ",
             TEST_ENGINE);
    const struct expected one = { { "COIR_VERBOSE", "1", "COIR_WORKERS", "1" },
                                  { 0 },
                                  1,
                                  DEFAULT_STACK,
                                  { no_ring ? no_ring : begin_one, no_ring ? begin_one : NULL } };
    const struct expected three = { { "COIR_VERBOSE", "yes", "COIR_STACK", "1M" },
                                    { .workers = 3 },
                                    3,
                                    1 << 20,
                                    { no_ring ? no_ring : begin_three,
                                      no_ring ? begin_three : NULL } };
    (void)state;
    check(&one);
    check(&three);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_values_are_taken),
        cmocka_unit_test(wrong_values_are_reported_in_one_line_each_and_ignored),
        cmocka_unit_test(options_come_before_the_environment),
        cmocka_unit_test(verbose_tells_what_the_runtime_starts_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
