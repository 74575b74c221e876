/* tests/api/rest_test.c - deadlocks are named; and "all fibers are parked" is said when it is
 * certain, once, and never otherwise.
 * SPDX-License-Identifier: MIT
 *
 * Method: child processes, which hang; their stderr is read. A signal handler ends them, since
 * nothing else could. */
#include "../sched/kit.h"
#include "dump_kit.h"

#include <signal.h>
#include <sys/timerfd.h>

struct pair {
    coir_mutex a, b;
    _Atomic int have;
};

static void *a_then_b(void *arg)
{
    struct pair *p = arg;
    coir_mutex_lock(&p->a);
    p->have++;
    KIT_UNTIL(p->have == 2);
    coir_mutex_lock(&p->b);
    return NULL;
}

static void *b_then_a(void *arg)
{
    struct pair *p = arg;
    coir_mutex_lock(&p->b);
    p->have++;
    KIT_UNTIL(p->have == 2);
    coir_mutex_lock(&p->a);
    return NULL;
}

static void lock_crosswise(struct pair *p)
{
    coir_attr one = { .name = "one", .flags = COIR_SPREAD }, two = { .name = "two" };
    kit_nobody_steals(); /* dumps tell of them by workers, in order */
    coir_spawn_with(&one, a_then_b, p);
    coir_spawn_with(&two, b_then_a, p);
}

static void deadlock(void *arg)
{
    static struct pair p;
    (void)arg;
    lock_crosswise(&p);
}

static void end_child(int sig)
{
    (void)sig;
    _exit(7);
}

/* A timer of the kernel's ends the child, long after it has come to rest. */
static void end_by_alarm(unsigned s)
{
    signal(SIGALRM, end_child);
    alarm(s);
}

static int hang(void *workers)
{
    end_by_alarm(1);
    return fiber_test_run(*(const unsigned *)workers, deadlock, NULL);
}

static char text[1 << 16];

static int times_said(const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++)
        n++;
    return n;
}

static const char said[] = "coir: all fibers are parked, and nothing is left to wake them\n";

static void assert_deadlock_named(void)
{
    dump_assert(text,
                "\ndeadlock: fiber 0x* \"one\" waits for mutex 0x* held by fiber 0x* \"two\"; "
                "fiber 0x* \"two\" waits for mutex 0x* held by fiber 0x* \"one\"\n");
    assert_int_equal(times_said("\ndeadlock: "), 1);
}

static void two_fibers_in_a_deadlock_are_named_once_when_all_is_at_rest(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("has a thread of its own");
    if (TEST_TSAN) /* it has a thread of its own */
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        int status = test_child(hang, (void *)(uintptr_t)w, text, sizeof text);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_int_equal(strncmp(text, said, strlen(said)), 0);
        assert_int_equal(times_said(said), 1);
        assert_deadlock_named();
        dump_assert(dump_block(text, "one"), "parked for * ms: mutex ");
    }
}

static int hang_with_helpers(void *workers)
{
    setenv("COIR_DUMP_SIGNAL", "QUIT", 1);
    setenv("COIR_WATCHDOG", "100", 1);
    return hang(workers);
}

static void the_librarys_own_threads_do_not_count(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("has a thread of its own");
    if (TEST_TSAN)
        skip();
    int status = test_child(hang_with_helpers, (void *)(uintptr_t)&test_workers[1], text,
                            sizeof text);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(times_said(said), 1);
}

/* The same, and others beside it that are not at rest: then a dump names it. */
static void *dump_it(void *arg)
{
    struct pair *p = arg;
    KIT_UNTIL(p->have == 2);
    coir_sleep(COIR_MS(5));
    coir_dump(STDERR_FILENO);
    _exit(7);
}

static void deadlock_beside_others(void *arg)
{
    static struct pair p;
    (void)arg;
    lock_crosswise(&p);
    coir_spawn(dump_it, &p);
}

static int hang_beside_others(void *workers)
{
    return fiber_test_run(*(const unsigned *)workers, deadlock_beside_others, NULL);
}

static void a_deadlock_is_named_in_any_dump(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        int status = test_child(hang_beside_others, (void *)(uintptr_t)w, text, sizeof text);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_int_equal(times_said("all fibers are parked"), 0);
        assert_deadlock_named();
    }
}

/* Each of these hangs as well, but something could end that. */
static void *thread_that_sleeps(void *arg)
{
    pause();
    return arg;
}

static void deadlock_with_a_thread(void *arg)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_that_sleeps, NULL);
    deadlock(arg);
}

static void *read_for_ever(void *arg)
{
    int ends[2];
    char c;
    if (pipe(ends) == 0)
        coir_read(ends[0], &c, 1);
    return arg;
}

static void deadlock_and_a_read(void *arg)
{
    coir_spawn(read_for_ever, NULL);
    deadlock(arg);
}

static void *sleep_for_long(void *arg)
{
    coir_sleep(COIR_SEC(3600));
    return arg;
}

static void deadlock_and_a_sleep(void *arg)
{
    coir_spawn(sleep_for_long, NULL);
    deadlock(arg);
}

static void *compute(void *arg)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
    return arg;
}

static void deadlock_and_a_loop(void *arg)
{
    coir_attr attr = { .flags = COIR_SPREAD };
    deadlock(arg);
    coir_sleep(COIR_MS(10));
    coir_spawn_with(&attr, compute, NULL);
}

static void (*const hopeful[])(void *) = {
    deadlock_with_a_thread,
    deadlock_and_a_read,
    deadlock_and_a_sleep,
    deadlock_and_a_loop,
};

static int hang_hopefully(void *fn)
{
    end_by_alarm(1);
    return fiber_test_run(2, *(void (*const *)(void *))fn, NULL);
}

static void nothing_is_said_while_something_could_wake_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hopeful / sizeof *hopeful; i++) {
        int status = test_child(hang_hopefully, (void *)(uintptr_t)&hopeful[i], text, sizeof text);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_string_equal(text, "");
    }
}

/* The thread that could wake them goes, in the end. */
static void *thread_that_goes(void *arg)
{
    usleep(100 * 1000);
    return arg;
}

static void deadlock_with_a_thread_that_goes(void *arg)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_that_goes, NULL);
    pthread_detach(thread);
    deadlock(arg);
}

static int hang_in_the_end(void *arg)
{
    (void)arg;
    end_by_alarm(3);
    return fiber_test_run(2, deadlock_with_a_thread_that_goes, NULL);
}

static void it_is_said_when_the_last_thread_has_gone_a_second_ago(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("has a thread of its own");
    if (TEST_TSAN)
        skip();
    int status = test_child(hang_in_the_end, NULL, text, sizeof text);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(times_said(said), 1);
}

/* Workers fall asleep and are woken in quick turns by a plain thread that comes and goes. */
struct turns {
    coir_sem sem;
    int n;
};

static void *post(void *arg)
{
    struct turns *t = arg;
    coir_sem_post(&t->sem);
    return NULL;
}

static void *post_from_new_threads(void *arg)
{
    struct turns *t = arg;
    for (int i = 0; i < t->n; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, post, t);
        pthread_join(thread, NULL);
    }
    return NULL;
}

static void wait_for_posts(void *arg)
{
    struct turns *t = arg;
    pthread_t thread;
    pthread_create(&thread, NULL, post_from_new_threads, t);
    for (int i = 0; i < t->n; i++)
        if (coir_sem_wait(&t->sem) < 0)
            _exit(1);
    pthread_join(thread, NULL);
}

static int wait_for_threads_that_come_and_go(void *workers)
{
    struct turns t = { .n = test_scaled(5000, 100) };
    return fiber_test_run(*(const unsigned *)workers, wait_for_posts, &t);
}

static void threads_that_come_and_go_are_seen(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        int status = test_child(wait_for_threads_that_come_and_go, (void *)(uintptr_t)w, text,
                                sizeof text);
        assert_int_equal(status, 0);
        assert_string_equal(text, "");
    }
}

/* Workers run dry and steal, all the time: who has just stolen is not at rest. */
static void *fork_and_join(void *arg)
{
    enum { FANOUT = 10 };
    coir_fiber *f[FANOUT];
    for (int i = 0; i < FANOUT && arg; i++)
        f[i] = coir_spawn(fork_and_join, (void *)((intptr_t)arg - 1));
    for (int i = 0; i < FANOUT && arg; i++)
        coir_join(f[i], NULL);
    return NULL;
}

static void grow_a_tree(void *arg)
{
    fork_and_join(arg);
}

static int grow_trees(void *workers)
{
    int err = 0, n = test_scaled(200, 20);
    for (int i = 0; i < n && !err; i++)
        err = fiber_test_run(*(const unsigned *)workers, grow_a_tree, (void *)4);
    return err;
}

static void thieves_are_not_at_rest(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        int status = test_child(grow_trees, (void *)(uintptr_t)w, text, sizeof text);
        assert_int_equal(status, 0);
        assert_string_equal(text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_fibers_in_a_deadlock_are_named_once_when_all_is_at_rest),
        cmocka_unit_test(the_librarys_own_threads_do_not_count),
        cmocka_unit_test(a_deadlock_is_named_in_any_dump),
        cmocka_unit_test(nothing_is_said_while_something_could_wake_them),
        cmocka_unit_test(it_is_said_when_the_last_thread_has_gone_a_second_ago),
        cmocka_unit_test(threads_that_come_and_go_are_seen),
        cmocka_unit_test(thieves_are_not_at_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
