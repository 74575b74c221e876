/* tests/io/refused_test.c - io_uring is switched off, by a sandbox or by sysctl: then epoll takes
 * its place; or, where io_uring is asked for, the runtime does not start, says why, and leaves
 * nothing behind.
 * SPDX-License-Identifier: MIT */
#include "seccomp.h"
#include "sides.h"

#include <stdlib.h>

struct refusal {
    int nr;  /* the system call that is refused */
    int err; /* how */
};

static const struct refusal refusals[] = {
    { SYS_io_uring_setup, EPERM },  { SYS_io_uring_setup, ENOSYS }, { SYS_io_uring_setup, EACCES },
    { SYS_io_uring_setup, EINVAL }, { SYS_io_uring_enter, EPERM },  { SYS_io_uring_enter, ENOSYS },
};

static void must_not_run(void *arg)
{
    (void)arg;
    note(__FILE__, __LINE__, "ran", 1, 0);
}

static void *must_not_spawn(void *arg)
{
    must_not_run(arg);
    return NULL;
}

static int refused_runtime(void *arg)
{
    const struct refusal *r = arg;
    char c;
    int ends[2];
    alarm(60);
    make_ends(PIPE, ends);
    if (refuse(r->nr, r->err) < 0)
        return NO_SECCOMP;
    int fds = test_fds_open(), threads = test_threads();
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, must_not_run, NULL), r->err);
    EXPECT_FAILS(coir_read(ends[0], &c, 1), r->err);
    EXPECT_FAILS(coir_write(ends[1], "x", 1), r->err);
    EXPECT_FAILS(coir_open("/dev/null", O_RDONLY), r->err);
    struct pollfd p = { ends[0], POLLIN, 0 };
    EXPECT_FAILS(coir_poll(&p, 1, -1), r->err);
    EXPECT(coir_spawn(must_not_spawn, NULL) == NULL);
    EXPECT_EQ(errno, r->err);
    EXPECT_EQ(strcmp(coir_io_engine(), "none"), 0);
    EXPECT_EQ(coir_close(ends[0]), 0); /* needs none */
    close(ends[1]);
    EXPECT_EQ(test_fds_open(), fds - 2);
    EXPECT_EQ(threads_left(threads), threads);
    return no_findings_status();
}

/* EAGAIN would be taken for something else. */
static int without_threads(void *arg)
{
    char c;
    int ends[2];
    (void)arg;
    alarm(60);
    make_ends(PIPE, ends);
    if (refuse(SYS_clone3, EAGAIN) < 0 || refuse(SYS_clone, EAGAIN) < 0)
        return NO_SECCOMP;
    EXPECT_FAILS(coir_read(ends[0], &c, 1), ENOMEM);
    EXPECT_FAILS(coir_poll(&(struct pollfd){ ends[0], POLLIN, 0 }, 1, -1), ENOMEM);
    EXPECT(coir_spawn(must_not_spawn, NULL) == NULL);
    EXPECT_EQ(errno, EAGAIN);
    return no_findings_status();
}

static void a_call_without_a_thread_to_wait_is_out_of_memory(void **state)
{
    (void)state;
    run_filtered(without_threads, NULL);
}

static int program_main(int argc, char **argv)
{
    (void)argc;
    must_not_run(argv);
    return 0;
}

static int refused_program(void *arg)
{
    const struct refusal *r = arg;
    char name[] = "program", *argv[] = { name, NULL };
    alarm(60);
    if (refuse(r->nr, r->err) < 0)
        return NO_SECCOMP;
    int res = coir_main(1, argv, program_main);
    if (res == -1 && errno == r->err && atomic_load(&findings.n) == 0)
        exit(0); /* cleanly, with everything that exit does */
    return 1;
}

static void runs_fail_with_the_errno(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        run_filtered(refused_runtime, (void *)&refusals[i]);
    }
}

static void programs_say_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char text[512], start[128];
        int status = test_child(refused_program, (void *)&refusals[i], text, sizeof text);
        if (status == NO_SECCOMP << 8)
            skip();
        snprintf(start, sizeof start, "program: the runtime cannot start: %s",
                 strerror(refusals[i].err));
        assert_int_equal(status, 0);
        assert_int_equal(strncmp(text, start, strlen(start)), 0);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    }
}

/* What has to wait, and a file. */
static void *write_later(void *arg)
{
    coir_sleep(COIR_MS(2));
    EXPECT_EQ(coir_write(*(int *)arg, "x", 1), 1);
    return NULL;
}

static void use_epoll(void *arg)
{
    char c, text[8] = "";
    int ends[2];
    (void)arg;
    EXPECT_EQ(strcmp(coir_io_engine(), "epoll"), 0);
    make_ends(PIPE, ends);
    coir_fiber *f = spawn_apart(write_later, &ends[1]);
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    join(f);
    close_ends(ends);
    int fd = coir_open("/proc/self/comm", O_RDONLY);
    EXPECT(fd >= 0);
    EXPECT(coir_read(fd, text, sizeof text - 1) > 0);
    EXPECT_EQ(coir_close(fd), 0);
}

static int fall_back(void *arg)
{
    const struct refusal *r = arg;
    alarm(60);
    unsetenv("COIR_IO");
    if (refuse(r->nr, r->err) < 0)
        return NO_SECCOMP;
    int fds = test_fds_open();
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, use_epoll, NULL), 0);
    EXPECT_EQ(test_fds_open(), fds);
    return no_findings_status();
}

static void epoll_takes_the_place_of_what_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        run_filtered(fall_back, (void *)&refusals[i]);
    }
}

/* A filter that kills. */
static int stay_away(void *arg)
{
    static const int calls[] = { SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register };
    (void)arg;
    alarm(60);
    setenv("COIR_IO", "epoll", 1);
    for (int i = 0; i < 3; i++)
        if (seccomp_answer(calls[i], SECCOMP_RET_KILL_PROCESS, 0) < 0)
            return NO_SECCOMP;
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, use_epoll, NULL), 0);
    return no_findings_status();
}

static void who_asks_for_epoll_makes_no_call_of_io_uring(void **state)
{
    (void)state;
    run_filtered(stay_away, NULL);
}

static int refused_close(void *arg)
{
    (void)arg;
    int fd = dup(0);
    if (refuse(SYS_close, EINTR) < 0)
        return NO_SECCOMP;
    EXPECT_EQ(coir_close(fd), 0);
    return no_findings_status();
}

/* close(2) frees the number also when it is interrupted: no error for the caller. */
static void an_interrupted_close_has_closed(void **state)
{
    (void)state;
    run_filtered(refused_close, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_fail_with_the_errno),
        cmocka_unit_test(programs_say_why),
        cmocka_unit_test(a_call_without_a_thread_to_wait_is_out_of_memory),
        cmocka_unit_test(an_interrupted_close_has_closed),
        cmocka_unit_test(epoll_takes_the_place_of_what_is_refused),
        cmocka_unit_test(who_asks_for_epoll_makes_no_call_of_io_uring),
    };
    watchdog();
    setenv("COIR_IO", "uring", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
