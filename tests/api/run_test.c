/* tests/api/run_test.c - coir/runtime.h: coir_run, coir_main and their options.
 * SPDX-License-Identifier: MIT */
#include "support/expect.h"
#include "support/fiber_test.h"

#include "sched/runtime.h"
#include "sched/stack.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct seen {
    int ran, threads, result, err;
    long tid;
    unsigned workers;
    size_t stack_bytes;
    const char *engine;
    int argc;
    char **argv;
};

static void look(void *arg)
{
    struct seen *s = arg;
    struct coir__runtime *rt = coir__worker_self()->rt;
    s->ran++;
    s->threads = test_threads();
    s->tid = syscall(SYS_gettid);
    s->workers = rt->config.workers;
    s->stack_bytes = coir__stack_class_bytes(rt->config.stack_class);
    s->engine = coir_io_engine();
}

static void the_engine_is_none_before_the_first_start(void **state)
{
    struct seen s = { 0 };
    (void)state;
    assert_string_equal(coir_io_engine(), "none"); /* this test comes first */
    assert_int_equal(coir_run(look, &s, NULL), 0);
    assert_string_equal(s.engine, TEST_ENGINE);
    assert_string_equal(coir_io_engine(), TEST_ENGINE);
}

static void the_caller_is_the_first_worker(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct seen s = { 0 };
        int before = test_threads();
        assert_int_equal(fiber_test_run(*w, look, &s), 0);
        assert_int_equal(s.ran, 1);
        assert_int_equal(s.workers, *w);
        assert_int_equal(s.threads, before + (int)*w - 1);
        assert_int_equal(s.tid, syscall(SYS_gettid));
        assert_int_equal(test_threads(), before);
    }
}

static void without_options_it_takes_the_cpus_it_may_use(void **state)
{
    struct seen s = { 0 };
    cpu_set_t all, one;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    assert_int_equal(coir_run(look, &s, NULL), 0);
    assert_int_equal(s.workers, CPU_COUNT(&all));
    assert_int_equal(s.stack_bytes, 256 * 1024);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(coir_run(look, &s, NULL), 0);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
    assert_int_equal(s.workers, 1);
}

static void a_wrong_option_is_einval_and_nothing_runs(void **state)
{
    const coir_options wrong[] = {
        { .workers = 1025 },
        { .workers = UINT32_MAX },
        { .flags = 2 },
        { .flags = 1u << 31 | COIR_UNGUARDED },
        { .stack_bytes = 1 },
        { .stack_bytes = 16383 },
        { .stack_bytes = ((size_t)1 << 30) + 1 },
        { .stack_bytes = SIZE_MAX },
        { .io = "" },
        { .io = "URING" },
        { .io = "kqueue" },
        { .drain_ns = -1 },
        { .reserved = { 1 } },
        { .reserved = { 0, 0, 0, 1 } },
    };
    struct seen s = { 0 };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        assert_int_equal(coir_run(look, &s, &wrong[i]), -1);
        assert_int_equal(errno, EINVAL);
    }
    errno = 0;
    assert_int_equal(coir_run(NULL, &s, NULL), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(s.ran, 0);
}

static void options_are_taken(void **state)
{
    const struct {
        coir_options options;
        size_t stack_bytes;
    } cases[] = {
        { { .workers = 3, .io = TEST_ENGINE }, 256 * 1024 },
        { { .workers = 1, .io = "auto", .stack_bytes = 16384 }, 16384 },
        { { .workers = 2, .stack_bytes = 16385, .flags = COIR_UNGUARDED }, 32768 },
        { { .workers = 2, .stack_bytes = (size_t)1 << 30 }, (size_t)1 << 30 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen s = { 0 };
        assert_int_equal(coir_run(look, &s, &cases[i].options), 0);
        assert_int_equal(s.workers, cases[i].options.workers);
        assert_int_equal(s.stack_bytes, cases[i].stack_bytes);
    }
}

static void *run_it(void *arg)
{
    struct seen *s = arg;
    struct seen inner = { 0 };
    s->result = coir_run(look, &inner, NULL);
    s->err = errno;
    s->ran += inner.ran;
    return NULL;
}

static void run_again_inside(void *arg)
{
    struct seen *s = arg;
    pthread_t thread;
    run_it(&s[0]);
    coir_join(coir_spawn(run_it, &s[1]), NULL);
    pthread_create(&thread, NULL, run_it, &s[2]);
    pthread_join(thread, NULL);
}

static void a_second_coir_run_is_ebusy(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct seen s[3] = { { 0 } };
        assert_int_equal(fiber_test_run(*w, run_again_inside, s), 0);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(s[i].result, -1);
            assert_int_equal(s[i].err, EBUSY);
            assert_int_equal(s[i].ran, 0);
        }
        run_it(&s[0]);
        assert_int_equal(s[0].result, 0);
        assert_int_equal(s[0].ran, 1);
    }
}

/* Several threads want to be the one: at any time one is, the others are told. */
struct rush {
    _Atomic int inside, overlapped, won, busy, other;
    int rounds;
};

static void alone(void *arg)
{
    struct rush *r = arg;
    r->overlapped += atomic_fetch_add(&r->inside, 1) != 0;
    coir_yield();
    atomic_fetch_sub(&r->inside, 1);
}

static void *rush_in(void *arg)
{
    struct rush *r = arg;
    const coir_options options = { .workers = 2 };
    for (int i = 0; i < r->rounds; i++)
        if (coir_run(alone, r, &options) == 0)
            atomic_fetch_add(&r->won, 1);
        else
            atomic_fetch_add(errno == EBUSY ? &r->busy : &r->other, 1);
    return NULL;
}

static void of_many_threads_one_runs_at_a_time(void **state)
{
    struct rush r = { .rounds = test_scaled(200, 20) };
    pthread_t threads[4];
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rush_in, &r), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(r.overlapped, 0);
    assert_int_equal(r.other, 0);
    assert_true(r.won > 0);
    assert_int_equal(r.won + r.busy, 4 * r.rounds);
}

static struct seen main_saw;

static int main_fn(int argc, char **argv)
{
    main_saw.argc = argc;
    main_saw.argv = argv;
    look(&main_saw);
    return coir_self() && coir_sleep(1000) == 0 ? 42 : -2;
}

static void coir_main_runs_fn_as_a_fiber_and_returns_its_result(void **state)
{
    char *argv[] = { "program", "argument", NULL };
    (void)state;
    assert_int_equal(coir_main(2, argv, main_fn), 42);
    assert_int_equal(main_saw.argc, 2);
    assert_ptr_equal(main_saw.argv, argv);
    assert_int_equal(main_saw.ran, 1);
}

static void main_inside(void *arg)
{
    char *argv[] = { "program", NULL };
    struct seen *s = arg;
    s->result = coir_main(1, argv, main_fn);
    s->err = errno;
}

static int main_in_a_run(void *arg)
{
    struct seen s = { 0 };
    (void)arg;
    if (fiber_test_run(1, main_inside, &s) != 0)
        return 1;
    return s.result == -1 && s.err == EBUSY ? 0 : 2;
}

static void coir_main_says_in_one_line_why_it_cannot_start(void **state)
{
    char text[512];
    (void)state;
    assert_int_equal(test_child(main_in_a_run, NULL, text, sizeof text), 0);
    assert_true(strncmp(text, "program: ", 9) == 0);
    assert_non_null(strstr(text, strerror(EBUSY)));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* base.h: a void call preserves errno, so the end of a block does not hide why it failed. */
static void keep_errno(void *arg)
{
    struct seen *s = arg;
    errno = EXDEV;
    COIR_TIMEOUT(COIR_SEC(1))
        errno = EDOM;
    s->ran += errno == EDOM;
    COIR_SHIELD(COIR_SEC(1))
        errno = ERANGE;
    s->ran += errno == ERANGE;
    COIR_TIMEOUT(1)
        coir_sleep(COIR_SEC(1));
    s->ran += errno == ETIMEDOUT;
    errno = EILSEQ;
    coir_yield();
    s->ran += errno == EILSEQ;
}

static void void_calls_preserve_errno(void **state)
{
    struct seen here = { 0 };
    (void)state;
    keep_errno(&here);
    assert_int_equal(here.ran, 4);
    for (const unsigned *w = test_workers; *w; w++) {
        struct seen s = { 0 };
        assert_int_equal(fiber_test_run(*w, keep_errno, &s), 0);
        assert_int_equal(s.ran, 4);
    }
}

/* It takes every failure for one that passes. */
static void *try_again_for_ever(void *arg)
{
    coir_chan *chan = arg;
    int c;
    for (;;) {
        coir_sleep(COIR_MS(1));
        coir_chan_recv(chan, &c);
    }
    return NULL;
}

static void leave_one_who_tries_again(void *arg)
{
    const coir_attr attr = { .flags = COIR_DETACHED };
    EXPECT(coir_spawn_with(&attr, try_again_for_ever, arg) != NULL);
    coir_yield();
}

static void a_detached_fiber_that_tries_again_for_ever_ends_no_later_than_the_drain(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        coir_options options = { .workers = *w, .drain_ns = COIR_MS(10) };
        coir_chan *chan = coir_chan_new(sizeof(int), 0);
        assert_int_equal(coir_run(leave_one_who_tries_again, chan, &options), 0);
        coir_chan_free(chan);
    }
    assert_no_findings();
}

int main(void)
{
    unsetenv("COIR_WORKERS");
    unsetenv("COIR_STACK");
    unsetenv("COIR_IO");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_engine_is_none_before_the_first_start),
        cmocka_unit_test(the_caller_is_the_first_worker),
        cmocka_unit_test(without_options_it_takes_the_cpus_it_may_use),
        cmocka_unit_test(a_wrong_option_is_einval_and_nothing_runs),
        cmocka_unit_test(options_are_taken),
        cmocka_unit_test(a_second_coir_run_is_ebusy),
        cmocka_unit_test(of_many_threads_one_runs_at_a_time),
        cmocka_unit_test(coir_main_runs_fn_as_a_fiber_and_returns_its_result),
        cmocka_unit_test(coir_main_says_in_one_line_why_it_cannot_start),
        cmocka_unit_test(void_calls_preserve_errno),
        cmocka_unit_test(a_detached_fiber_that_tries_again_for_ever_ends_no_later_than_the_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
