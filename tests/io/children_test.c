/* tests/io/children_test.c - children beside a running runtime: forked in a fiber, spawned, opened
 * by popen; what they write without end; and a handler of SIGCHLD that is the program's own.
 * SPDX-License-Identifier: MIT
 *
 * Goal: a child makes plain calls, or runs another program, and the parent's operations do not
 * notice. Method: other fibers have every kind of operation in flight while one forks; then all of
 * them are let go, and have to bring what they should. */
#include "calls_that_wait.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static const char *const sh = "/bin/sh";

/* Not the FIFOs', which share one name, nor those of both sides of one queue. */
static bool left_out(int call, int round)
{
    return call == OPEN_READ || call == OPEN_WRITE || call == (round % 2 ? ACCEPT : CONNECT);
}

struct waiter {
    struct waiting wait;
    struct side side;
    long result;
};

static void wait_in_call(void *arg)
{
    struct waiter *w = arg;
    w->result = do_call(&w->wait);
}

static void begin_calls(struct waiter *w, int round)
{
    for (int call = 0; call < CALLS; call++) {
        if (left_out(call, round))
            continue;
        w[call] = (struct waiter){ .wait.call = (enum call)call };
        set_up(&w[call].wait);
        side_start(&w[call].side, wait_in_call, &w[call]);
    }
    for (int call = 0; call < CALLS; call++)
        if (!left_out(call, round))
            until_waiting(&w[call].side);
}

static void end_calls(struct waiter *w, int round)
{
    for (int call = 0; call < CALLS; call++) {
        if (left_out(call, round))
            continue;
        feed(&w[call].wait);
        side_wait(&w[call].side);
        check_data(&w[call].wait, w[call].result);
        clean_up(&w[call].wait);
    }
}

/* Has this process a ring's memory? By plain calls only. */
static bool has_a_ring(void)
{
    static char text[1 << 20];
    size_t len = 0;
    ssize_t n;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (len + 1 < sizeof text && (n = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(fd);
    return len == 0 || strstr(text, "[io_uring]");
}

enum { CHILD_FINE = 7, CHILD_HAS_RING, CHILD_READ, CHILD_WROTE };

/* The child, on a copy of the fiber's stack: it answers what it is asked. */
static int be_a_child(int in, int out)
{
    char c = 0;
    if (has_a_ring())
        return CHILD_HAS_RING;
    if (read(in, &c, 1) != 1 || c != '?')
        return CHILD_READ;
    return write(out, "!", 1) == 1 ? CHILD_FINE : CHILD_WROTE;
}

static void fork_beside_calls(void *arg)
{
    enum { ROUNDS = 2 };
    static struct waiter w[CALLS];
    (void)arg;
    for (int round = 0; round < ROUNDS; round++) {
        int to[2], from[2], status = 0;
        char c = 0;
        make_ends(PIPE, to);
        make_ends(PIPE, from);
        begin_calls(w, round);
        pid_t pid = fork();
        if (pid == 0)
            _exit(be_a_child(to[0], from[1]));
        EXPECT_EQ(coir_write(to[1], "?", 1), 1);
        EXPECT_EQ(coir_read(from[0], &c, 1), 1);
        EXPECT_EQ(c, '!');
        EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
        EXPECT(WIFEXITED(status));
        EXPECT_EQ(WEXITSTATUS(status), CHILD_FINE);
        end_calls(w, round);
        close_ends(to);
        close_ends(from);
    }
}

/* The child runs another program, which has no descriptor of ours. */
static void exec_beside_calls(void *arg)
{
    static struct waiter w[CALLS];
    int from[2], status = 0;
    char text[64] = "";
    (void)arg;
    make_ends(PIPE, from);
    begin_calls(w, 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(from[1], 1);
        execl(sh, "sh", "-c", "ls -l /proc/self/fd | grep -c anon_inode", NULL);
        _exit(1);
    }
    close(from[1]);
    EXPECT(coir_read_full(from[0], text, sizeof text - 1) > 0);
    EXPECT(strcmp(text, "0\n") == 0);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), 1); /* grep's, which found none */
    end_calls(w, 0);
    close(from[0]);
}

/* posix_spawn with its output in a pipe, and no signal blocked. */
static pid_t start(const char *command, int *out)
{
    char *argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int ends[2];
    pid_t pid = -1;
    sigemptyset(&none);
    sigfillset(&all);
    make_ends(PIPE, ends);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    EXPECT_EQ(posix_spawn(&pid, sh, &actions, &attr, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    close(ends[1]);
    *out = ends[0];
    return pid;
}

/* As much as is wanted; then nobody reads any more, and the child ends by that. */
static void read_without_end(void *arg)
{
    const size_t wanted = (size_t)test_scaled(4 << 20, 1 << 18);
    (void)arg;
    size_t got = 0;
    int fd, status = 0;
    ssize_t n = 1;
    pid_t pid = start("exec yes", &fd);
    while (got < wanted && n > 0) {
        char piece[4099];
        n = coir_read(fd, piece, sizeof piece);
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != ((got + (size_t)i) % 2 ? '\n' : 'y'))
                note(__FILE__, __LINE__, "a byte", piece[i], 'y');
        got += n > 0 ? (size_t)n : 0;
    }
    EXPECT(got >= wanted);
    EXPECT_EQ(coir_close(fd), 0);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

static void several_read_without_end(void *arg)
{
    struct side sides[3];
    (void)arg;
    for (int i = 0; i < 3; i++)
        side_start(&sides[i], read_without_end, NULL);
    for (int i = 0; i < 3; i++)
        side_wait(&sides[i]);
}

/* stdio's own child, read by coir. */
static void pipes_of_stdio(void *arg)
{
    static struct waiter w[CALLS];
    char text[64] = "";
    (void)arg;
    begin_calls(w, 0);
    FILE *file = popen("echo hello; exit 3", "re");
    EXPECT(file != NULL);
    EXPECT_EQ(coir_read_full(fileno(file), text, sizeof text - 1), 6);
    EXPECT(strcmp(text, "hello\n") == 0);
    EXPECT_EQ(WEXITSTATUS(pclose(file)), 3);
    file = popen("exec cat >/dev/null", "we");
    EXPECT_EQ(coir_write_all(fileno(file), "much", 4), 4);
    EXPECT_EQ(pclose(file), 0);
    end_calls(w, 0);
}

/* A child that was forked keeps our socket open: that we have closed it is all that counts. What
 * comes for it later is nobody's, wakes nobody and costs nothing. */
static void keep_a_socket(void *arg)
{
    int ends[2], hold[2], status = 0;
    char c = 0;
    (void)arg;
    make_ends(TCP_STREAM, ends);
    make_ends(PIPE, hold);
    COIR_TIMEOUT(COIR_MS(1)) /* the engine knows it now */
        EXPECT_FAILS(coir_read(ends[0], &c, 1), ETIMEDOUT);
    pid_t pid = fork();
    if (pid == 0) {
        close(hold[1]);
        _exit(read(hold[0], &c, 1) == 0 ? CHILD_FINE : CHILD_READ);
    }
    EXPECT_EQ(coir_close(ends[0]), 0);
    EXPECT_EQ(coir_write(ends[1], "late", 4), 4);
    if (coir__worker_self())
        EXPECT(comes_to_rest());
    int other[2];
    make_ends(TCP_STREAM, other); /* of the same number, as it happens */
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_read(other[0], &c, 1), ETIMEDOUT);
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(coir_write(ends[1], "late", 4), 4);
        EXPECT_EQ(coir_write(other[1], "x", 1), 1);
        EXPECT_EQ(coir_read(other[0], &c, 1), 1);
        EXPECT_EQ(c, 'x');
    }
    close_ends(other);
    close(hold[1]);
    EXPECT_EQ(coir_waitpid(pid, &status, 0), pid);
    EXPECT_EQ(WEXITSTATUS(status), CHILD_FINE);
    close(hold[0]);
    close(ends[1]);
}

static _Atomic int told;

static void count_children(int sig)
{
    (void)sig;
    atomic_fetch_add(&told, 1);
}

static void reap_children(int sig)
{
    int err = errno;
    (void)sig;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        atomic_fetch_add(&told, 1);
    errno = err;
}

static void until_told(int n)
{
    while (atomic_load(&told) < n)
        nap();
}

/* A handler that only looks on is called, stays, and takes nothing away. */
static void handlers_look_on(void *arg)
{
    struct sigaction mine = { .sa_handler = count_children }, before, after;
    int status = 0, fd;
    (void)arg;
    sigaction(SIGCHLD, &mine, &before);
    atomic_store(&told, 0);
    for (int i = 0; i < 3; i++) {
        pid_t pid = start(i == 1 ? "exit 5" : "sleep 0.02; exit 5", &fd);
        EXPECT_EQ(coir_waitpid(i == 2 ? -1 : pid, &status, 0), pid);
        EXPECT_EQ(WEXITSTATUS(status), 5);
        close(fd);
        until_told(1);
    }
    atomic_store(&told, 0);
    EXPECT_EQ(WEXITSTATUS(coir_system("exit 6")), 6);
    until_told(1);
    sigaction(SIGCHLD, &before, &after);
    EXPECT(after.sa_handler == count_children);
}

/* One that takes every child is quicker, or is not: as with the plain call. */
static void handlers_reap(void *arg)
{
    struct sigaction mine = { .sa_handler = reap_children, .sa_flags = SA_RESTART }, before;
    int status, fd;
    (void)arg;
    sigaction(SIGCHLD, &mine, &before);
    for (int i = 0; i < 5; i++) {
        atomic_store(&told, 0);
        status = -1;
        pid_t pid = start(i % 2 ? "exit 5" : "sleep 0.01; exit 5", &fd);
        long got = minus_errno(coir_waitpid(i == 4 ? -1 : pid, &status, 0));
        if (got == pid)
            EXPECT_EQ(WEXITSTATUS(status), 5);
        else
            EXPECT_EQ(got, -ECHILD);
        if (got < 0)
            until_told(1);
        close(fd);
    }
    sigaction(SIGCHLD, &before, NULL);
}

/* Nobody is told, and no child stays: the wait is until it has ended, and finds none. */
static void ignored_children(void *arg)
{
    struct sigaction mine = { .sa_handler = SIG_IGN }, before;
    int fd;
    char c;
    (void)arg;
    sigaction(SIGCHLD, &mine, &before);
    pid_t pid = start("sleep 0.02; exit 5", &fd);
    EXPECT_FAILS(coir_waitpid(pid, NULL, 0), ECHILD);
    EXPECT_EQ(coir_read(fd, &c, 1), 0); /* it has ended */
    close(fd);
    pid = start("sleep 0.02; exit 5", &fd);
    EXPECT_FAILS(coir_waitpid(-1, NULL, 0), ECHILD);
    EXPECT_EQ(coir_read(fd, &c, 1), 0);
    close(fd);
    EXPECT_FAILS(coir_system("exit 6"), ECHILD);
    sigaction(SIGCHLD, &before, NULL);
}

BODY_TEST(a_forked_child_disturbs_no_operation, fork_beside_calls)
BODY_TEST(another_program_has_no_descriptor_of_ours, exec_beside_calls)
BODY_TEST(output_without_end_is_read_as_far_as_wanted, several_read_without_end)
BODY_TEST(popen_works_beside_operations, pipes_of_stdio)
BODY_TEST(what_a_child_keeps_open_is_closed_for_us, keep_a_socket)
BODY_TEST(a_handler_of_sigchld_looks_on, handlers_look_on)
BODY_TEST(a_handler_of_sigchld_may_reap, handlers_reap)
BODY_TEST(ignored_children_are_waited_for, ignored_children)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forked_child_disturbs_no_operation),
        cmocka_unit_test(another_program_has_no_descriptor_of_ours),
        cmocka_unit_test(output_without_end_is_read_as_far_as_wanted),
        cmocka_unit_test(popen_works_beside_operations),
        cmocka_unit_test(what_a_child_keeps_open_is_closed_for_us),
        cmocka_unit_test(a_handler_of_sigchld_looks_on),
        cmocka_unit_test(a_handler_of_sigchld_may_reap),
        cmocka_unit_test(ignored_children_are_waited_for),
    };
    return RUN_AT_HOME(tests);
}
