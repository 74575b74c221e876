/* tests/api/dump_signal_test.c - COIR_DUMP_SIGNAL: which signals, and what they do.
 * SPDX-License-Identifier: MIT
 *
 * Method: child processes with the variable set, which send the signal to themselves. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include <signal.h>

static char text[1 << 16];

struct signalled {
    const char *value; /* of the variable */
    int sig;           /* that it means; 0: none, and there is a complaint */
    bool computes;     /* the fiber, on the only worker */
    bool blocked;      /* in all threads of the program */
};

static struct sigaction during;

/* Until a dump has come: until stderr, the parent's pipe, has had something written to it by the
 * helper, which the parent sees; here a pause is all there is to wait by. */
static void wait_for_dump(bool computes)
{
    int64_t until_ns = coir_now() + COIR_MS(500);
    if (!computes)
        coir_sleep(COIR_MS(500));
    else
        while (coir_now() < until_ns)
            ;
}

static void send_it(void *arg)
{
    const struct signalled *s = arg;
    sigaction(s->sig, NULL, &during);
    kill(getpid(), s->sig);
    wait_for_dump(s->computes);
}

static int run_signalled(void *arg)
{
    const struct signalled *s = arg;
    struct sigaction own = { .sa_handler = SIG_IGN }, after;
    sigset_t set;
    setenv("COIR_DUMP_SIGNAL", s->value, 1);
    if (!s->sig)
        return fiber_test_run(1, kit_empty, NULL);
    sigemptyset(&set);
    sigaddset(&set, s->sig);
    if (s->blocked)
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(s->sig, &own, NULL);
    int threads = test_threads();
    int err = fiber_test_run(1, send_it, arg);
    sigaction(s->sig, NULL, &after);
    return err | (during.sa_handler == SIG_IGN) << 1 | (after.sa_handler != SIG_IGN) << 2 |
           !kit_threads_become(threads) << 3;
}

static void check(const struct signalled *s)
{
    int status = test_child(run_signalled, (void *)(uintptr_t)s, text, sizeof text);
    if (status)
        print_error("%s: 0x%x\n%s", s->value, status, text);
    assert_int_equal(status, 0);
}

static void a_signal_prints_a_dump_and_its_handler_goes_with_the_runtime(void **state)
{
    const struct signalled cases[] = {
        { .value = "QUIT", .sig = SIGQUIT },      { .value = "SIGUSR1", .sig = SIGUSR1 },
        { .value = "12", .sig = SIGUSR2 },        { .value = "40", .sig = 40 },
        { .value = "TERM", .sig = SIGTERM, .blocked = true },
    };
    (void)state;
    if (TEST_TSAN) /* it puts handlers off */
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(&cases[i]);
        assert_int_equal(strncmp(text, "coir: 1 fiber: ", 15), 0);
        dump_assert(dump_block(text, "main"), ", parked for * ms: sleep\n");
    }
}

static void it_answers_also_when_every_worker_computes(void **state)
{
    const struct signalled s = { .value = "QUIT", .sig = SIGQUIT, .computes = true };
    (void)state;
    if (TEST_TSAN)
        skip();
    check(&s);
    dump_assert(dump_block(text, "main"), ", running\n");
}

static void wrong_values_are_reported_and_ignored(void **state)
{
    static const char *const wrong[] = { "0",   "-1",   "65",      "KILL", "SIGSTOP", "9",  "11",
                                         "URG", "SEGV", "sigquit", "QUITE", "1K",     "SIG", "33" };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct signalled s = { .value = wrong[i] };
        char line[128];
        check(&s);
        snprintf(line, sizeof line, "coir: COIR_DUMP_SIGNAL=%s is ignored: it wants a signal, "
                                    "such as QUIT, SIGUSR1 or 10\n", wrong[i]);
        assert_string_equal(text, line);
    }
    const struct signalled empty = { .value = "" };
    check(&empty);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_prints_a_dump_and_its_handler_goes_with_the_runtime),
        cmocka_unit_test(it_answers_also_when_every_worker_computes),
        cmocka_unit_test(wrong_values_are_reported_and_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
