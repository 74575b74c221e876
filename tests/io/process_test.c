/* tests/io/process_test.c - waiting for children, and coir_system.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static pid_t start(const char *command)
{
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    pid_t pid = -1;
    EXPECT_EQ(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
    return pid;
}

/* A child that runs until it is killed. */
static pid_t start_sleeper(void)
{
    return start("exec sleep 1000");
}

struct wait {
    pid_t pid, got;
    int options, status, error;
};

static void wait_for(void *arg)
{
    struct wait *w = arg;
    w->got = coir_waitpid(w->pid, &w->status, w->options);
    w->error = errno;
}

/* Ended while somebody waits for it, and before. */
static void ends_are_told(void *arg)
{
    struct side side;
    int status = 0;
    (void)arg;
    struct wait w = { .pid = start_sleeper() };
    side_start(&side, wait_for, &w);
    until_waiting(&side);
    kill(w.pid, SIGTERM);
    side_wait(&side);
    EXPECT_EQ(w.got, w.pid);
    EXPECT(WIFSIGNALED(w.status) && WTERMSIG(w.status) == SIGTERM);
    pid_t pid = start("exit 7");
    siginfo_t info;
    EXPECT_EQ(coir_waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    EXPECT(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 7);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    EXPECT_FAILS(coir_waitpid(pid, &status, 0), ECHILD);
    EXPECT_FAILS(coir_waitid(P_PID, (id_t)pid, NULL, WEXITED), ECHILD);
    EXPECT_FAILS(coir_waitpid(-1, &status, 12345678), EINVAL);
}

/* Whatever child it is: the wait is on a thread. */
static void any_child_is_told(void *arg)
{
    struct side side;
    siginfo_t info;
    (void)arg;
    EXPECT_FAILS(coir_waitpid(-1, NULL, 0), ECHILD);
    pid_t pid = start_sleeper();
    EXPECT_EQ(coir_waitpid(-1, NULL, WNOHANG), 0);
    struct wait w = { .pid = -1 };
    side_start(&side, wait_for, &w);
    until_waiting(&side);
    kill(pid, SIGKILL);
    side_wait(&side);
    EXPECT_EQ(w.got, pid);
    EXPECT(WIFSIGNALED(w.status) && WTERMSIG(w.status) == SIGKILL);
    pid = start("exit 3");
    EXPECT_EQ(coir_waitid(P_ALL, 0, &info, WEXITED), 0);
    EXPECT(info.si_pid == pid && info.si_status == 3);
    pid = start("exit 4");
    EXPECT_EQ(coir_waitid(P_ALL, 0, NULL, WEXITED), 0);
}

static void stops_are_told(void *arg)
{
    (void)arg;
    pid_t pid = start_sleeper();
    int status = 0;
    kill(pid, SIGSTOP);
    EXPECT_EQ(coir_waitpid(pid, &status, WUNTRACED), pid);
    EXPECT(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    kill(pid, SIGCONT);
    EXPECT_EQ(coir_waitpid(pid, &status, WCONTINUED), pid);
    EXPECT(WIFCONTINUED(status));
    kill(pid, SIGKILL);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
}

/* The child goes on, and can be waited for again. */
static void deadlines_end_the_wait_only(void *arg)
{
    (void)arg;
    pid_t pid = start_sleeper();
    COIR_TIMEOUT(COIR_MS(2)) {
        EXPECT_FAILS(coir_waitpid(pid, NULL, 0), ETIMEDOUT);
    }
    COIR_TIMEOUT(COIR_MS(2)) {
        EXPECT_FAILS(coir_waitpid(-1, NULL, 0), ETIMEDOUT);
    }
    COIR_TIMEOUT(COIR_MS(2)) {
        EXPECT_FAILS(coir_waitpid(pid, NULL, WUNTRACED), ETIMEDOUT);
    }
    EXPECT_EQ(kill(pid, SIGKILL), 0);
    EXPECT_EQ(coir_waitpid(pid, NULL, 0), pid);
}

static void *wait_cancelled(void *arg)
{
    wait_for(arg);
    return NULL;
}

static void cancel_waits(void *arg)
{
    (void)arg;
    pid_t pid = start_sleeper();
    struct wait waits[] = { { .pid = pid }, { .pid = -1 }, { .pid = pid, .options = WUNTRACED } };
    for (int i = 0; i < 3; i++) {
        coir_fiber *f = spawn_apart(wait_cancelled, &waits[i]);
        until_parked(f);
        until_submitted();
        EXPECT_EQ(coir_cancel(f), 0);
        join(f);
        EXPECT_EQ(waits[i].got, -1);
        EXPECT_EQ(waits[i].error, ECANCELED);
    }
    kill(pid, SIGKILL);
    EXPECT_EQ(coir_waitpid(pid, NULL, 0), pid);
}

static void a_cancel_ends_the_wait(void **state)
{
    (void)state;
    run_on_each(cancel_waits, NULL);
}

enum { CROWD = 20 };

static void start_and_wait(void *arg)
{
    int status = 0;
    char command[16];
    int n = atomic_fetch_add((_Atomic int *)arg, 1);
    sprintf(command, "exit %d", n);
    pid_t pid = start(command);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), n);
}

static void crowds_are_told(void *arg)
{
    static struct side sides[CROWD];
    _Atomic int next = 0;
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        side_start(&sides[i], start_and_wait, &next);
    for (int i = 0; i < CROWD; i++)
        side_wait(&sides[i]);
}

/* Whatever its worker has blocked. */
static void kill_shells(void *arg)
{
    (void)arg;
    EXPECT_EQ(WTERMSIG(coir_system("kill -TERM $$; exit 1")), SIGTERM);
    EXPECT_EQ(WTERMSIG(coir_system("kill -PIPE $$; exit 1")), SIGPIPE);
}

static void shells_run(void *arg)
{
    struct sigaction before, after;
    struct side sides[3];
    (void)arg;
    for (int i = 0; i < 3; i++)
        side_start(&sides[i], kill_shells, NULL);
    for (int i = 0; i < 3; i++)
        side_wait(&sides[i]);
    sigaction(SIGINT, NULL, &before);
    EXPECT(coir_system(NULL) != 0);
    EXPECT_EQ(WEXITSTATUS(coir_system("exit 3")), 3);
    EXPECT_EQ(WEXITSTATUS(coir_system("no-such-command 2>/dev/null")), 127);
    EXPECT_EQ(WEXITSTATUS(coir_system("kill -INT $PPID; kill -QUIT $PPID; exit 9")), 9);
    COIR_TIMEOUT(COIR_MS(5)) {
        EXPECT_FAILS(coir_system("exec sleep 1000"), ETIMEDOUT);
    }
    EXPECT_FAILS(coir_waitpid(-1, NULL, 0), ECHILD); /* it is gone */
    sigaction(SIGINT, NULL, &after);
    EXPECT(before.sa_handler == after.sa_handler);
}

struct pidfd_wait {
    int fd;
    siginfo_t info;
};

static void wait_for_closed(void *arg)
{
    struct pidfd_wait *w = arg;
    EXPECT_FAILS(coir_waitid(P_PIDFD, (id_t)w->fd, &w->info, WEXITED), EBADF);
    EXPECT_EQ(w->info.si_pid, 0);
}

/* And the number is another child's at once. */
static void closed_descriptors_end_the_wait(void *arg)
{
    struct side side;
    pid_t first = start_sleeper(), second = start_sleeper();
    (void)arg;
    struct pidfd_wait w = { .fd = (int)syscall(SYS_pidfd_open, first, 0) };
    int other = (int)syscall(SYS_pidfd_open, second, 0), fd = w.fd;
    if (!EXPECT(fd >= 0 && other >= 0))
        return;
    side_start(&side, wait_for_closed, &w);
    until_waiting(&side);
    EXPECT_EQ(coir_close(fd), 0);
    EXPECT_EQ(dup2(other, fd), fd);
    kill(second, SIGKILL);
    side_wait(&side);
    kill(first, SIGKILL);
    EXPECT_EQ(coir_waitid(P_PIDFD, (id_t)fd, &w.info, WEXITED), 0);
    EXPECT_EQ(w.info.si_pid, second);
    EXPECT_EQ(coir_waitpid(first, NULL, 0), first);
    close(fd);
    close(other);
}

static void *look_at_mask(void *arg)
{
    (void)arg;
    int status = coir_system("grep -q 'SigBlk:.*[1-9a-f]' /proc/self/status");
    EXPECT_EQ(WEXITSTATUS(status), 1); /* there is none */
    return NULL;
}

/* Also from a thread that runs a function for a fiber. */
static void shells_block_nothing(void *arg)
{
    (void)arg;
    look_at_mask(NULL);
    EXPECT_EQ(coir_blocking(look_at_mask, NULL, NULL), 0);
}

BODY_TEST(a_childs_end_is_told, ends_are_told)
BODY_TEST(a_closed_pidfd_ends_the_wait, closed_descriptors_end_the_wait)
BODY_TEST(a_shell_has_no_signal_blocked, shells_block_nothing)
BODY_TEST(any_childs_end_is_told, any_child_is_told)
BODY_TEST(stops_and_continues_are_told, stops_are_told)
BODY_TEST(a_deadline_ends_the_wait_only, deadlines_end_the_wait_only)
BODY_TEST(each_gets_its_own_child, crowds_are_told)
BODY_TEST(system_is_the_shells_status, shells_run)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_childs_end_is_told),
        cmocka_unit_test(a_closed_pidfd_ends_the_wait),
        cmocka_unit_test(a_shell_has_no_signal_blocked),
        cmocka_unit_test(any_childs_end_is_told),
        cmocka_unit_test(stops_and_continues_are_told),
        cmocka_unit_test(a_deadline_ends_the_wait_only),
        cmocka_unit_test(a_cancel_ends_the_wait),
        cmocka_unit_test(each_gets_its_own_child),
        cmocka_unit_test(system_is_the_shells_status),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
