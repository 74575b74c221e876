/* tests/api/env_test.c - options and environment: what is taken, what is reported and ignored.
 * SPDX-License-Identifier: MIT
 *
 * The environment is read when a runtime starts, so each case is a child process. */
#include "support/fiber_test.h"

#include "sched/runtime.h"
#include "sched/stack.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct setting {
    const char *name, *value;
};

/* What the first fiber sees of its runtime goes out through the exit status. */
static int measured;

static void count_workers(void *arg)
{
    (void)arg;
    measured = (int)coir__worker_self()->rt->config.workers;
}

static void measure_stack(void *arg)
{
    (void)arg;
    measured = (int)(coir__stack_class_bytes(coir__worker_self()->rt->config.stack_class) >> 10);
}

static int run_with(const struct setting *s, void (*fn)(void *), const coir_options *options)
{
    setenv(s->name, s->value, 1);
    if (coir_run(fn, NULL, options) < 0)
        return 255;
    return measured % 251;
}

static int workers_of(void *arg)
{
    return run_with(arg, count_workers, NULL);
}

static int stack_of(void *arg)
{
    return run_with(arg, measure_stack, NULL);
}

static int workers_with_option(void *arg)
{
    coir_options options = { .workers = 3 };
    return run_with(arg, count_workers, &options);
}

static int result_of(int (*fn)(void *), const char *name, const char *value, char *text,
                     size_t size)
{
    struct setting s = { name, value };
    int status = test_child(fn, &s, text, size);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : -1;
}

static void the_environment_sets_what_the_program_left_open(void **state)
{
    char text[1024];
    (void)state;
    assert_int_equal(result_of(workers_of, "COIR_WORKERS", "5", text, sizeof text), 5);
    assert_string_equal(text, "");
    assert_int_equal(result_of(workers_with_option, "COIR_WORKERS", "5", text, sizeof text), 3);
    assert_int_equal(result_of(stack_of, "COIR_STACK", "65536", text, sizeof text), 64);
    assert_int_equal(result_of(stack_of, "COIR_STACK", "64K", text, sizeof text), 64);
    assert_int_equal(result_of(stack_of, "COIR_STACK", "100k", text, sizeof text), 128);
    assert_string_equal(text, "");
    assert_int_equal(result_of(workers_of, "COIR_WORKERS", "", text, sizeof text), cpus());
    assert_string_equal(text, "");
}

static int lines(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        n++;
    return n;
}

static void a_wrong_value_is_reported_in_one_line_and_ignored(void **state)
{
    static const struct setting wrong[] = {
        { "COIR_WORKERS", "0" },    { "COIR_WORKERS", "-1" },    { "COIR_WORKERS", "1025" },
        { "COIR_WORKERS", "two" },  { "COIR_WORKERS", "2 " },    { "COIR_WORKERS", "99999999999999999999" },
        { "COIR_STACK", "1" },      { "COIR_STACK", "16383" },   { "COIR_STACK", "2G" },
        { "COIR_STACK", "64KB" },   { "COIR_STACK", "0x10000" }, { "COIR_STACK", "99999999999G" },
        { "COIR_IO", "epolll" },    { "COIR_IO", "URING" },
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int (*fn)(void *) = strcmp(wrong[i].name, "COIR_STACK") ? workers_of : stack_of;
        int expected = strcmp(wrong[i].name, "COIR_STACK") ? cpus() : 256 % 251;
        assert_int_equal(result_of(fn, wrong[i].name, wrong[i].value, text, sizeof text), expected);
        assert_int_equal(lines(text), 1);
        assert_non_null(strstr(text, wrong[i].name));
        assert_non_null(strstr(text, wrong[i].value));
        assert_non_null(strstr(text, "ignored"));
    }
}

static void verbose_says_in_one_line_what_started(void **state)
{
    char text[1024];
    (void)state;
    assert_int_equal(result_of(workers_of, "COIR_VERBOSE", "1", text, sizeof text), cpus());
    assert_int_equal(lines(text), 1);
    assert_non_null(strstr(text, "uring"));
    assert_int_equal(result_of(workers_of, "COIR_VERBOSE", "0", text, sizeof text), cpus());
    assert_string_equal(text, "");
}

static void nothing(void *arg)
{
    (void)arg;
}

static int try_options(coir_options options)
{
    errno = 0;
    return coir_run(nothing, NULL, &options) < 0 ? errno : 0;
}

static void options_out_of_range_are_einval(void **state)
{
    (void)state;
    assert_int_equal(try_options((coir_options){ .workers = 1025 }), EINVAL);
    assert_int_equal(try_options((coir_options){ .flags = 2 }), EINVAL);
    assert_int_equal(try_options((coir_options){ .stack_bytes = 1 }), EINVAL);
    assert_int_equal(try_options((coir_options){ .stack_bytes = SIZE_MAX }), EINVAL);
    assert_int_equal(try_options((coir_options){ .stack_bytes = ((size_t)1 << 30) + 1 }), EINVAL);
    assert_int_equal(try_options((coir_options){ .io = "kqueue" }), EINVAL);
    assert_int_equal(try_options((coir_options){ .drain_ns = -1 }), EINVAL);
    assert_int_equal(try_options((coir_options){ .reserved = { 0, 0, 0, 1 } }), EINVAL);
    assert_int_equal(coir_run(NULL, NULL, NULL) < 0 ? errno : 0, EINVAL);
    assert_int_equal(try_options((coir_options){ .workers = 1, .io = "uring" }), 0);
    assert_int_equal(try_options((coir_options){ .workers = 1, .stack_bytes = 16384 }), 0);
}

static void the_engine_has_a_name_once_it_is_chosen(void **state)
{
    (void)state;
    assert_int_equal(fiber_test_run(1, nothing, NULL), 0);
    assert_string_equal(coir_io_engine(), "uring");
}

int main(void)
{
    unsetenv("COIR_WORKERS");
    unsetenv("COIR_STACK");
    unsetenv("COIR_IO");
    unsetenv("COIR_VERBOSE");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_sets_what_the_program_left_open),
        cmocka_unit_test(a_wrong_value_is_reported_in_one_line_and_ignored),
        cmocka_unit_test(verbose_says_in_one_line_what_started),
        cmocka_unit_test(options_out_of_range_are_einval),
        cmocka_unit_test(the_engine_has_a_name_once_it_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
