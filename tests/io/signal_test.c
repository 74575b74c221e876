/* tests/io/signal_test.c - waiting for signals.
 * SPDX-License-Identifier: MIT */
#include "api/signal.h"
#include "sides.h"

#include <signal.h>
#include <sys/wait.h>

static sigset_t one, both, interrupt; /* SIGUSR1; and SIGUSR2; SIGINT */

static void make_sets(void)
{
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    both = one;
    sigaddset(&both, SIGUSR2);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
}

struct wait {
    const sigset_t *set;
    int sig, result;
};

static void wait_for(void *arg)
{
    struct wait *w = arg;
    w->sig = 77;
    w->result = coir_sigwait(w->set, &w->sig);
}

static int wait_now(const sigset_t *set)
{
    int sig = 0;
    EXPECT_EQ(coir_sigwait(set, &sig), 0);
    return sig;
}

static void waits_are_over(void *arg)
{
    struct side side;
    struct wait w[] = { { .set = &one }, { .set = &both } };
    (void)arg;
    for (int i = 0; i < 2; i++) {
        side_start(&side, wait_for, &w[i]);
        until_waiting(&side);
        EXPECT_EQ(kill(getpid(), i ? SIGUSR2 : SIGUSR1), 0);
        side_wait(&side);
        EXPECT_EQ(w[i].result, 0);
        EXPECT_EQ(w[i].sig, i ? SIGUSR2 : SIGUSR1);
    }
}

/* Each one, lowest first. */
static void what_came_before_is_kept(void *arg)
{
    (void)arg;
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR1);
    EXPECT_EQ(wait_now(&both), SIGUSR1);
    EXPECT_EQ(wait_now(&one), SIGUSR1);
    EXPECT_EQ(wait_now(&both), SIGUSR2);
    COIR_TIMEOUT(COIR_MS(2)) {
        int sig = 0;
        EXPECT_EQ(coir_sigwait(&both, &sig), ETIMEDOUT);
        EXPECT_EQ(sig, 0);
    }
}

enum { CROWD = 8 };

static void each_goes_to_one(void *arg)
{
    struct side sides[CROWD];
    struct wait waits[CROWD];
    (void)arg;
    for (int i = 0; i < CROWD; i++) {
        waits[i].set = i % 2 ? &both : &one;
        side_start(&sides[i], wait_for, &waits[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        until_waiting(&sides[i]);
        waits[i].result = -1;
    }
    for (int i = 0; i < CROWD; i++)
        raise(SIGUSR1);
    for (int i = 0; i < CROWD; i++) {
        side_wait(&sides[i]);
        EXPECT_EQ(waits[i].result, 0);
        EXPECT_EQ(waits[i].sig, SIGUSR1);
    }
}

static void selects_see_them(void *arg)
{
    int sig = 0, sigs = 0;
    coir_case cases[] = { COIR_CASE_TIMER(coir_after(COIR_SEC(100))), COIR_CASE_SIGNAL(&one, &sig),
                          COIR_CASE_SIGNAL(&both, &sigs) };
    (void)arg;
    EXPECT_FAILS(coir_select(cases, 3, 0), ETIMEDOUT);
    raise(SIGUSR2);
    EXPECT_EQ(coir_select(cases, 3, -1), 2);
    EXPECT_EQ(sigs, SIGUSR2);
    raise(SIGUSR1);
    int index = coir_select(cases, 3, -1);
    EXPECT(index == 1 || index == 2);
    EXPECT_EQ(index == 1 ? sig : sigs, SIGUSR1);
    EXPECT_FAILS(coir_select(cases, 3, 1000), ETIMEDOUT);
}

static void mistakes(void *arg)
{
    sigset_t none, other, bad;
    int sig = 0;
    (void)arg;
    sigemptyset(&none);
    other = both;
    sigaddset(&other, SIGHUP);
    sigemptyset(&bad);
    sigaddset(&bad, SIGKILL);
    errno = 66;
    EXPECT_EQ(coir_sigwait(&none, &sig), EINVAL);
    EXPECT_EQ(coir_sigwait(&other, &sig), EINVAL);
    EXPECT_EQ(coir_sigwait(NULL, &sig), EINVAL);
    EXPECT_EQ(coir_sigwait(&one, NULL), EINVAL);
    EXPECT_EQ(errno, 66);
    EXPECT_FAILS(coir_signal_watch(NULL), EINVAL);
    EXPECT_FAILS(coir_signal_watch(&bad), EINVAL);
    EXPECT_EQ(coir_signal_watch(&none), 0);
    sigemptyset(&bad);
    sigaddset(&bad, coir__signal_of_interrupts()); /* the library's own */
    EXPECT_FAILS(coir_signal_watch(&bad), EINVAL);
    coir_case c = COIR_CASE_SIGNAL(&other, &sig);
    EXPECT_FAILS(coir_select(&c, 1, 0), EINVAL);
}

static void *wait_cancelled(void *arg)
{
    wait_for(arg);
    return NULL;
}

static void cancel_waits(void *arg)
{
    (void)arg;
    struct wait waits[] = { { .set = &one }, { .set = &both } };
    for (int i = 0; i < 2; i++) {
        coir_fiber *f = spawn_apart(wait_cancelled, &waits[i]);
        until_parked(f);
        EXPECT_EQ(coir_cancel(f), 0);
        join(f);
        EXPECT_EQ(waits[i].result, ECANCELED);
    }
}

static void a_cancel_ends_the_wait(void **state)
{
    (void)state;
    run_on_each(cancel_waits, NULL);
}

/* It has the handler, and the descriptor. */
static void children_are_not_meant(void *arg)
{
    int status = 0;
    (void)arg;
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGUSR1);
        _exit(0);
    }
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    COIR_TIMEOUT(COIR_MS(2)) {
        int sig = 0;
        EXPECT_EQ(coir_sigwait(&one, &sig), ETIMEDOUT);
    }
}

static void run_shell(void *arg)
{
    EXPECT_EQ(coir_system(arg), 0);
}

/* It begins to be watched while it is ignored for a shell. */
static void shells_leave_it_watched(void *arg)
{
    struct sigaction now;
    struct side side;
    struct wait w = { .set = &interrupt };
    (void)arg;
    side_start(&side, run_shell, "sleep 0.05");
    do
        sigaction(SIGINT, NULL, &now);
    while (now.sa_handler != SIG_IGN && (nap(), true));
    EXPECT_EQ(coir_signal_watch(&interrupt), 0);
    raise(SIGINT); /* ignored */
    side_wait(&side);
    raise(SIGINT);
    wait_for(&w);
    EXPECT_EQ(w.result, 0);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_EQ(coir_sigwait(&interrupt, &w.sig), ETIMEDOUT);
    signal(SIGINT, SIG_DFL);
    EXPECT_EQ(coir_signal_watch(&interrupt), 0); /* the handler was lost */
    raise(SIGINT);
    EXPECT_EQ(wait_now(&interrupt), SIGINT);
    signal(SIGINT, SIG_DFL);
}

/* A test's child is one that was forked. */
static void watch_first(void *arg)
{
    const struct body *body = arg;
    pthread_sigmask(SIG_BLOCK, &both, NULL);
    EXPECT_EQ(coir_signal_watch(&both), 0);
    body->fn(body->arg);
}

#define WATCHING_TEST(name, function)                                                              \
    static void name(void **state)                                                                 \
    {                                                                                              \
        struct body watching = { function, NULL };                                                 \
        (void)state;                                                                               \
        run_everywhere(watch_first, &watching);                                                    \
    }

WATCHING_TEST(a_signal_ends_the_wait, waits_are_over)
WATCHING_TEST(what_nobody_waited_for_is_kept, what_came_before_is_kept)
WATCHING_TEST(each_is_told_once, each_goes_to_one)
WATCHING_TEST(select_has_a_case_for_it, selects_see_them)
WATCHING_TEST(sets_that_are_wrong, mistakes)
WATCHING_TEST(a_childs_own_signals_are_its_own, children_are_not_meant)
WATCHING_TEST(a_shell_leaves_what_it_ignored_watched, shells_leave_it_watched)

/* In children, in which nothing is watched yet. */

static int watch_without_room(void *arg)
{
    struct rlimit limit;
    struct sigaction now;
    sigset_t set, mask;
    (void)arg;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int room = open("/dev/null", O_RDONLY | O_CLOEXEC);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)room + 1; /* for one, and there are two */
    close(room);
    setrlimit(RLIMIT_NOFILE, &limit);
    EXPECT_FAILS(coir_signal_watch(&set), EMFILE);
    EXPECT_EQ(dup(1), room);
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    sigaction(SIGHUP, NULL, &now);
    EXPECT(sigismember(&mask, SIGHUP) && sigismember(&mask, SIGALRM));
    EXPECT(now.sa_handler == SIG_DFL);
    return no_findings_status();
}

static void a_watch_that_fails_changes_nothing(void **state)
{
    (void)state;
    run_in_child(watch_without_room, NULL);
}

/* So that it can be told to end. */
static int wait_without_room(void *arg)
{
    struct rlimit limit;
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    EXPECT_EQ(coir_signal_watch(&both), 0);
    COIR_TIMEOUT(COIR_MS(1)) {
        int sig;
        EXPECT_EQ(coir_sigwait(&both, &sig), ETIMEDOUT); /* the runtime has all that it needs */
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 3; /* all in use */
    setrlimit(RLIMIT_NOFILE, &limit);
    COIR_TIMEOUT(COIR_MS(1)) {
        int sig;
        EXPECT_EQ(coir_sigwait(&both, &sig), ETIMEDOUT);
    }
    raise(SIGUSR1);
    EXPECT_EQ(wait_now(&both), SIGUSR1);
    return no_findings_status();
}

static void those_watched_together_need_no_room(void **state)
{
    (void)state;
    run_in_child(wait_without_room, NULL);
}

static int watch_as_descriptor_0(void *arg)
{
    (void)arg;
    close(0);
    alarm(WATCHDOG_SECONDS);
    EXPECT_EQ(coir_signal_watch(&one), 0);
    raise(SIGUSR1);
    EXPECT_EQ(wait_now(&one), SIGUSR1);
    return no_findings_status();
}

static void descriptor_0_is_as_good_as_any(void **state)
{
    (void)state;
    run_in_child(watch_as_descriptor_0, NULL);
}

/* The parent's numbers are the child's own by now. */
static int watch_anew(void *arg)
{
    (void)arg;
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    for (int fd = 3; fd < 16; fd++)
        EXPECT_EQ(open("/dev/null", O_WRONLY | O_CLOEXEC), fd);
    EXPECT_EQ(coir_signal_watch(&both), 0);
    for (int fd = 3; fd < 16; fd++)
        EXPECT_EQ(write(fd, "x", 1), 1);
    return no_findings_status();
}

static void a_childs_files_are_left_alone(void **state)
{
    (void)state;
    run_in_child(watch_anew, NULL);
}

/* First, so that the tests that follow find the descriptors there: a rung may be a child's. */
static void signals_can_be_watched(void **state)
{
    (void)state;
    assert_int_equal(coir_signal_watch(&both), 0);
    assert_int_equal(coir_signal_watch(&interrupt), 0);
    signal(SIGINT, SIG_DFL);
}

int main(void)
{
    make_sets();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_can_be_watched),
        cmocka_unit_test(a_signal_ends_the_wait),
        cmocka_unit_test(what_nobody_waited_for_is_kept),
        cmocka_unit_test(each_is_told_once),
        cmocka_unit_test(select_has_a_case_for_it),
        cmocka_unit_test(sets_that_are_wrong),
        cmocka_unit_test(a_cancel_ends_the_wait),
        cmocka_unit_test(a_childs_own_signals_are_its_own),
        cmocka_unit_test(a_shell_leaves_what_it_ignored_watched),
        cmocka_unit_test(a_watch_that_fails_changes_nothing),
        cmocka_unit_test(those_watched_together_need_no_room),
        cmocka_unit_test(descriptor_0_is_as_good_as_any),
        cmocka_unit_test(a_childs_files_are_left_alone),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
