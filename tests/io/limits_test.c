/* tests/io/limits_test.c - a process that may have no more descriptors, or no more memory: the call
 * fails with the right error, nothing is lost, and once there is room again it works.
 * SPDX-License-Identifier: MIT
 *
 * Method: child processes that lower their own limits. */
#include "sides.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static int highest_fd(void)
{
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 0), highest = fd;
    close(fd);
    for (int i = 0; i < 200; i++)
        if (fcntl(i, F_GETFD) >= 0)
            highest = i;
    return highest;
}

static void set_limit(int what, rlim_t to)
{
    struct rlimit limit;
    EXPECT_EQ(getrlimit(what, &limit), 0);
    limit.rlim_cur = to < limit.rlim_max ? to : limit.rlim_max;
    EXPECT_EQ(setrlimit(what, &limit), 0);
}

enum { MANY_FDS = 1000 };

/* No number is left. */
static void no_more_fds(void)
{
    set_limit(RLIMIT_NOFILE, (rlim_t)highest_fd() + 1);
    int fd;
    while ((fd = fcntl(0, F_DUPFD, 0)) >= 0)
        ; /* the gaps; given back by close_gaps */
}

static void close_gaps(const char *before)
{
    for (int i = 0; i < 200; i++)
        if (!before[i])
            close(i);
    set_limit(RLIMIT_NOFILE, MANY_FDS);
}

static void mark_open(char *open_now)
{
    for (int i = 0; i < 200; i++)
        open_now[i] = fcntl(i, F_GETFD) >= 0;
}

static int port_of(int listener, char text[8])
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    return sprintf(text, "%d", ntohs(addr.sin_port));
}

/* All calls that make a descriptor; err: what they have to fail with, 0: they work. */
static void make_some(int listener, const char *port, int err)
{
    int fd[6];
    fd[0] = coir_accept(listener, NULL, NULL);
    EXPECT_EQ(fd[0] < 0 ? errno : 0, err);
    fd[1] = coir_accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    EXPECT_EQ(fd[1] < 0 ? errno : 0, err);
    fd[2] = coir_open("/dev/null", O_RDWR);
    EXPECT_EQ(fd[2] < 0 ? errno : 0, err);
    fd[3] = coir_openat(AT_FDCWD, "/dev/null", O_RDWR);
    EXPECT_EQ(fd[3] < 0 ? errno : 0, err);
    fd[4] = coir_tcp_listen("localhost", "0", 0);
    EXPECT_EQ(fd[4] < 0 ? errno : 0, err);
    fd[5] = coir_tcp_dial("localhost", port);
    EXPECT_EQ(fd[5] < 0 ? errno : 0, err);
    for (int i = 0; i < 6; i++)
        if (fd[i] >= 0)
            EXPECT_EQ(coir_close(fd[i]), 0);
}

static void calls_without_fds(void *arg)
{
    (void)arg;
    char port[8], before[200], c = 0;
    int ends[2], clients[2];
    make_ends(UNIX_STREAM, ends);
    int listener = coir_tcp_listen("localhost", "0", 0);
    port_of(listener, port);
    for (int i = 0; i < 2; i++)
        clients[i] = coir_tcp_dial("localhost", port);
    int fds = test_fds_open();
    mark_open(before);
    no_more_fds();
    make_some(listener, port, EMFILE);
    EXPECT_EQ(coir_write(ends[1], "x", 1), 1); /* what needs no descriptor works */
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    struct pollfd p = { ends[1], POLLOUT, 0 };
    EXPECT_EQ(coir_poll(&p, 1, -1), 1);
    close_gaps(before);
    EXPECT_EQ(test_fds_open(), fds);
    make_some(listener, port, 0); /* the connections have waited */
    close(clients[0]);
    close(clients[1]);
    close(listener);
    close_ends(ends);
}

static int emfile_in_calls(void *arg)
{
    struct body body = { calls_without_fds, NULL };
    alarm(WATCHDOG_SECONDS);
    set_limit(RLIMIT_NOFILE, MANY_FDS);
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, body_on_fiber, &body), 0);
    (void)arg;
    return no_findings_status();
}

static int emfile_in_thread_calls(void *arg)
{
    struct body body = { calls_without_fds, NULL };
    (void)arg;
    set_limit(RLIMIT_NOFILE, MANY_FDS);
    return body_on_thread(&body);
}

static void no_descriptor_is_left_for_calls(void **state)
{
    (void)state;
    if (TEST_VALGRIND)
        skip(); /* it keeps the limit from the kernel, so the ring does not hear of it */
    run_in_child(emfile_in_calls, NULL);
    if (!test_qemu()) /* without preadv2 a read needs the runtime, which cannot start */
        run_in_child(emfile_in_thread_calls, NULL);
}

static void echo_once(void *arg)
{
    int ends[2];
    char c = 0;
    make_ends(PIPE, ends);
    EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    close_ends(ends);
    ++*(int *)arg;
}

static int emfile_in_run(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    set_limit(RLIMIT_NOFILE, MANY_FDS);
    int fds = test_fds_open(), first = highest_fd() + 1, threads = test_threads();
    for (const unsigned *w = test_workers; *w; w++) {
        int runs = 0, failures = 0;
        /* A ring and an eventfd for each worker; what the first fiber needs is two more. */
        for (int room = 0; room <= 2 * (int)*w + 3; room++) {
            char before[200];
            mark_open(before);
            no_more_fds();
            set_limit(RLIMIT_NOFILE, (rlim_t)(first + room));
            int err = room < 2 * (int)*w ? fiber_test_run(*w, echo_once, &runs) : 0;
            close_gaps(before);
            EXPECT_EQ(err, room < 2 * (int)*w ? EMFILE : 0);
            failures += err == EMFILE;
            EXPECT_EQ(test_fds_open(), fds);
            EXPECT_EQ(threads_left(threads), threads);
        }
        EXPECT_EQ(runs, 0);
        EXPECT_EQ(failures, 2 * (int)*w);
        EXPECT_EQ(fiber_test_run(*w, echo_once, &runs), 0);
        EXPECT_EQ(runs, 1);
        EXPECT_EQ(test_fds_open(), fds);
    }
    return no_findings_status();
}

/* A plain thread's first call starts the runtime, and its failure is the call's. */
static int emfile_in_automatic(void *arg)
{
    char before[200], c = 0;
    int ends[2], runs = 0;
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    set_limit(RLIMIT_NOFILE, MANY_FDS);
    make_ends(PIPE, ends);
    int fds = test_fds_open(), threads = test_threads();
    mark_open(before);
    no_more_fds();
    struct pollfd p = { ends[0], POLLIN, 0 };
    EXPECT_FAILS(coir_read(ends[0], &c, 1), EMFILE);
    EXPECT_FAILS(coir_write(ends[1], "x", 1), EMFILE);
    EXPECT_FAILS(coir_poll(&p, 1, -1), EMFILE);
    EXPECT_FAILS(coir_open("/dev/null", O_RDONLY), EMFILE);
    EXPECT_EQ(coir_poll(&p, 1, 0), 0); /* needs no runtime */
    close_gaps(before);
    EXPECT_EQ(test_fds_open(), fds);
    EXPECT_EQ(threads_left(threads), threads);
    EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    EXPECT_EQ(coir_close(ends[0]), 0); /* the failed calls are not counted any more */
    echo_once(&runs);
    close(ends[1]);
    return no_findings_status();
}

static void no_descriptor_is_left_for_a_runtime(void **state)
{
    (void)state;
    run_in_child(emfile_in_run, NULL);
    run_in_child(emfile_in_automatic, NULL);
}

/* Nothing can be mapped any more. */
static void no_more_memory(void)
{
    set_limit(RLIMIT_AS, 1);
}

static void memory_again(void)
{
    set_limit(RLIMIT_AS, RLIM_INFINITY);
}

static void calls_without_memory(void *arg)
{
    enum { ON_STACK = 3 }; /* io/poll.c: so many need no memory */
    enum { MANY = 500, HIGH = 700 };
    (void)arg;
    struct pollfd *fds = calloc(MANY, sizeof *fds);
    int event = eventfd(0, EFD_CLOEXEC), high = fcntl(event, F_DUPFD_CLOEXEC, HIGH);
    int unknown = fcntl(event, F_DUPFD_CLOEXEC, HIGH + 1024);
    uint64_t value = 7;
    for (int i = 0; i < MANY; i++)
        fds[i] = (struct pollfd){ event, POLLIN, 0 };
    EXPECT_EQ(coir_poll(fds, 1, 1), 0); /* from here on the table knows this number */
    no_more_memory();
    EXPECT_FAILS(coir_poll(fds, MANY, 1), ENOMEM);
    EXPECT_FAILS(coir_poll(fds, ON_STACK + 1, -1), ENOMEM);
    EXPECT_EQ(coir_poll(fds, ON_STACK, 1), 0);
    EXPECT_FAILS(coir_write(high, &value, sizeof value), ENOMEM);
    fds[1].fd = high;
    EXPECT_FAILS(coir_poll(fds, ON_STACK, -1), ENOMEM);
    fds[1].fd = event;
    EXPECT_EQ(coir_close(unknown), 0); /* always closes */
    EXPECT_FAILS(fcntl(unknown, F_GETFD), EBADF);
    memory_again();
    EXPECT_EQ(coir_poll(fds, MANY, 1), 0);
    EXPECT_EQ(coir_write(high, &value, sizeof value), 8);
    EXPECT_EQ(coir_read(event, &value, sizeof value), 8); /* the one that failed wrote nothing */
    EXPECT_EQ(value, 7);
    EXPECT_EQ(coir_close(event), 0);
    EXPECT_EQ(coir_close(high), 0);
    free(fds);
}

/* The table remembers the numbers it has seen: a child for each try. */
static int enomem_in_calls(void *arg)
{
    struct body body = { calls_without_memory, NULL };
    alarm(WATCHDOG_SECONDS);
    EXPECT_EQ(fiber_test_run(*(const unsigned *)arg, body_on_fiber, &body), 0);
    return no_findings_status();
}

static int enomem_in_thread_calls(void *arg)
{
    struct body body = { calls_without_memory, NULL };
    (void)arg;
    return body_on_thread(&body);
}

static void no_memory_is_left_for_calls(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("limits no memory");
    if (TEST_SANITIZED || TEST_VALGRIND)
        skip(); /* they live in the same process, and have no memory left either */
    for (const unsigned *w = test_workers; *w; w++)
        run_in_child(enomem_in_calls, (void *)w);
    run_in_child(enomem_in_thread_calls, NULL);
}

static rlim_t bytes_mapped(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    EXPECT(file && fscanf(file, "%lu", &pages) == 1);
    if (file)
        fclose(file);
    return pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* The memory for a runtime runs out at every stage of its start. */
static int enomem_in_run(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    int runs = 0, failures = 0;
    EXPECT_EQ(fiber_test_run(2, echo_once, &runs), 0);
    int fds = test_fds_open(), threads = test_threads(), maps = test_maps();
    for (rlim_t room = 0; runs < 4 && failures < 4000; room += room < 1 << 20 ? 1 << 14 : 1 << 22) {
        rlim_t before = bytes_mapped();
        set_limit(RLIMIT_AS, before + room);
        int err = fiber_test_run(2, echo_once, &runs);
        memory_again();
        EXPECT(err == 0 || err == ENOMEM || err == EAGAIN);
        failures += err != 0;
        EXPECT_EQ(test_fds_open(), fds);
        EXPECT_EQ(threads_left(threads), threads);
        if (err)
            EXPECT(test_maps() <= maps + 2); /* glibc keeps a thread's stack */
    }
    EXPECT(failures > 10);
    EXPECT_EQ(runs, 4);
    return no_findings_status();
}

static void no_memory_is_left_for_a_runtime(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("limits no memory");
    if (TEST_SANITIZED || TEST_VALGRIND)
        skip();
    run_in_child(enomem_in_run, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_descriptor_is_left_for_calls),
        cmocka_unit_test(no_descriptor_is_left_for_a_runtime),
        cmocka_unit_test(no_memory_is_left_for_calls),
        cmocka_unit_test(no_memory_is_left_for_a_runtime),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
