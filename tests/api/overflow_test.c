/* tests/api/overflow_test.c - a fiber that runs out of stack is named, then dies as it would have.
 * SPDX-License-Identifier: MIT
 *
 * Method: a child process runs the fiber that overflows; its stderr and the way it died are looked
 * at. The child begins with the default actions: cmocka has handlers, and sanitizers too. */
#include "support/fiber_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BY_OLD_HANDLER = 42, SURVIVED = 43 };

struct crash {
    unsigned workers;
    coir_attr attr;
    void *(*fn)(void *);
    bool first_parks; /* the fiber has been parked before */
    int handler;      /* 0: none before; else SA_ flags of one that ends the process by exit */
};

/* Every frame is needed after the call it makes. */
static __attribute__((noinline)) int recurse(int depth, volatile char *above)
{
    volatile char frame[512];
    frame[0] = above ? (char)(above[0] + 1) : 0;
    if (depth > 0)
        frame[1] = (char)recurse(depth - 1, frame);
    return frame[0] + frame[1];
}

static void *overflow(void *arg)
{
    const struct crash *c = arg;
    if (c->first_parks)
        for (int i = 0; i < 3; i++)
            coir_sleep(1000);
    return (void *)(intptr_t)recurse(1 << 30, NULL);
}

__attribute__((no_sanitize("undefined"))) static void *write_to_null(void *arg)
{
    volatile int *volatile nowhere = NULL;
    (void)arg;
    expect_bad_pointers(); /* not right before it: valgrind's registers would be stale */
    coir_yield();
    *nowhere = 1;
    return NULL;
}

static void *raise_segv(void *arg)
{
    raise(SIGSEGV);
    return arg;
}

static void old_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    static const char words[] = "the program's own handler\n";
    if (write(STDERR_FILENO, words, sizeof words - 1) > 0)
        _exit(BY_OLD_HANDLER);
}

static void use_default_actions(void)
{
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    alarm(60);
}

static void in_main(void *arg)
{
    struct crash *c = arg;
    coir_join(coir_spawn_with(&c->attr, c->fn, c), NULL);
}

static int crash(void *arg)
{
    struct crash *c = arg;
    const coir_options options = { .workers = c->workers };
    use_default_actions();
    if (c->handler) {
        struct sigaction action = { .sa_sigaction = old_handler, .sa_flags = c->handler };
        sigaction(SIGSEGV, &action, NULL);
        sigaction(SIGBUS, &action, NULL);
    }
    coir_run(in_main, c, &options);
    return SURVIVED;
}

static char text[16384];

static int crash_child(struct crash *c)
{
    int status = test_child(crash, c, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SURVIVED)
        print_error("it survived: %s\n", text);
    return status;
}

static void assert_died_of_segv(int status)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* The message is one line: who, how large the stack was, and what to set. */
static void assert_named(const char *name, const char *bytes)
{
    char begin[128];
    snprintf(begin, sizeof begin, "coir: fiber %s overflowed its stack of %s bytes", name, bytes);
    if (strncmp(text, begin, strlen(begin)) != 0)
        print_error("stderr: %s\n", text);
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    char *end = strchr(text, '\n');
    assert_non_null(end);
    *end = 0;
    assert_non_null(strstr(text, "coir_attr.stack_bytes"));
    assert_non_null(strstr(text, "coir_options.stack_bytes"));
    assert_non_null(strstr(text, "COIR_STACK"));
    assert_string_equal(end + 1, "");
}

static void an_overflow_names_the_fiber_its_stack_and_the_cure(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t stack_bytes;
    } cases[] = { { "'deep'", "65536", 65536 },
                  { "'deep'", "262144", 0 },
                  { "'deep'", "1048576", 1000000 } };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < 3 * 4; i++) {
            struct crash c = { .workers = *w,
                               .fn = overflow,
                               .first_parks = i & 1,
                               .attr = { .name = "deep",
                                         .flags = i & 2 ? COIR_SPREAD : 0,
                                         .stack_bytes = cases[i / 4].stack_bytes } };
            assert_died_of_segv(crash_child(&c));
            assert_named(cases[i / 4].name, cases[i / 4].bytes);
        }
}

static void overflow_in_first(void *arg)
{
    overflow(arg);
}

static int crash_first(void *arg)
{
    const coir_options options = { .workers = 1, .stack_bytes = 32768 };
    use_default_actions();
    coir_run(overflow_in_first, arg, &options);
    return SURVIVED;
}

static void the_first_fiber_and_the_nameless_are_named_too(void **state)
{
    struct crash c = { .workers = 2, .fn = overflow };
    (void)state;
    assert_died_of_segv(crash_child(&c));
    char *begin = strstr(text, "coir: fiber overflowed its stack of 262144 bytes");
    assert_ptr_equal(begin, text);
    assert_died_of_segv(test_child(crash_first, &c, text, sizeof text));
    assert_named("'main'", "32768");
}

static void a_handler_from_before_still_gets_its_turn(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct crash c = { .workers = *w,
                           .fn = overflow,
                           .handler = SA_SIGINFO | SA_ONSTACK,
                           .attr = { .name = "deep", .flags = COIR_SPREAD } };
        int status = crash_child(&c);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), BY_OLD_HANDLER);
        char *second = strchr(text, '\n');
        assert_non_null(second);
        assert_non_null(strstr(second, "the program's own handler"));
        assert_non_null(strstr(text, "coir: fiber 'deep' overflowed"));
    }
}

/* A fault that is no overflow is not ours: no word about it. */
static void other_faults_go_on_as_ever_and_in_silence(void **state)
{
    void *(*const faults[])(void *) = { write_to_null, raise_segv };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < 4; i++) {
            struct crash c = { .workers = *w,
                               .fn = faults[i / 2],
                               .handler = i % 2 ? SA_SIGINFO | SA_ONSTACK : 0,
                               .attr = { .name = "other", .flags = COIR_SPREAD } };
            int status = crash_child(&c);
            assert_null(strstr(text, "overflowed"));
            if (i % 2) {
                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), BY_OLD_HANDLER);
                assert_string_equal(text, "the program's own handler\n");
            } else {
                assert_died_of_segv(status);
            }
        }
}

static void with_a_thread(void *arg)
{
    pthread_t thread;
    pthread_create(&thread, NULL, write_to_null, arg);
    coir_sleep(COIR_SEC(60));
}

static int crash_in_thread(void *arg)
{
    use_default_actions();
    coir_run(with_a_thread, arg, NULL);
    return SURVIVED;
}

static void a_plain_threads_fault_is_not_taken_for_a_fibers(void **state)
{
    (void)state;
    assert_died_of_segv(test_child(crash_in_thread, NULL, text, sizeof text));
    assert_null(strstr(text, "overflowed"));
}

/* Between runs the signals are as they were; a handler that came during a run stays. */
static void look_and_replace(void *arg)
{
    struct sigaction action = { .sa_sigaction = old_handler, .sa_flags = SA_SIGINFO };
    if (arg)
        sigaction(SIGBUS, &action, NULL);
}

static void the_handlers_are_put_back_after_a_run(void **state)
{
    struct sigaction segv, bus, after;
    (void)state;
    sigaction(SIGSEGV, NULL, &segv);
    sigaction(SIGBUS, NULL, &bus);
    for (const unsigned *w = test_workers; *w; w++) {
        assert_int_equal(fiber_test_run(*w, look_and_replace, NULL), 0);
        sigaction(SIGSEGV, NULL, &after);
        assert_true(after.sa_handler == segv.sa_handler);
        sigaction(SIGBUS, NULL, &after);
        assert_true(after.sa_handler == bus.sa_handler);
    }
    assert_int_equal(fiber_test_run(2, look_and_replace, &segv), 0);
    sigaction(SIGBUS, &bus, &after);
    assert_true(after.sa_sigaction == old_handler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overflow_names_the_fiber_its_stack_and_the_cure),
        cmocka_unit_test(the_first_fiber_and_the_nameless_are_named_too),
        cmocka_unit_test(a_handler_from_before_still_gets_its_turn),
        cmocka_unit_test(other_faults_go_on_as_ever_and_in_silence),
        cmocka_unit_test(a_plain_threads_fault_is_not_taken_for_a_fibers),
        cmocka_unit_test(the_handlers_are_put_back_after_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
