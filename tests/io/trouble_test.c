/* tests/io/trouble_test.c - peers that go away or never read, descriptors that are none, buffers
 * that are none: the right error, and no signal.
 * SPDX-License-Identifier: MIT */
#include "calls_that_wait.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

/* Every call that takes a descriptor, on one that is none. */
static void all_calls_on(int fd)
{
    char buf[16] = "";
    struct iovec iov = { buf, sizeof buf };
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof addr;
    struct sockaddr *any = (struct sockaddr *)&addr;
    EXPECT_FAILS(coir_read(fd, buf, sizeof buf), EBADF);
    EXPECT_FAILS(coir_read(fd, buf, 0), EBADF);
    EXPECT_FAILS(coir_write(fd, "x", 1), EBADF);
    EXPECT_FAILS(coir_write(fd, "", 0), EBADF);
    EXPECT_FAILS(coir_readv(fd, &iov, 1), EBADF);
    EXPECT_FAILS(coir_writev(fd, &iov, 1), EBADF);
    EXPECT_FAILS(coir_pread(fd, buf, 1, 0), EBADF);
    EXPECT_FAILS(coir_pwrite(fd, buf, 1, 0), EBADF);
    EXPECT_FAILS(coir_recv(fd, buf, 1, 0), EBADF);
    EXPECT_FAILS(coir_recv(fd, buf, 1, MSG_DONTWAIT), EBADF);
    EXPECT_FAILS(coir_recv(fd, buf, 1, MSG_WAITALL), EBADF);
    EXPECT_FAILS(coir_send(fd, "x", 1, 0), EBADF);
    EXPECT_FAILS(coir_send(fd, "x", 1, MSG_DONTWAIT), EBADF);
    EXPECT_FAILS(coir_accept(fd, any, &len), EBADF);
    EXPECT_FAILS(coir_accept4(fd, NULL, NULL, SOCK_NONBLOCK), EBADF);
    EXPECT_FAILS(coir_connect(fd, any, sizeof addr), EBADF);
    if (fd != AT_FDCWD)
        EXPECT_FAILS(coir_openat(fd, "x", O_RDONLY), EBADF);
    EXPECT_FAILS(coir_fsync(fd), EBADF);
    EXPECT_FAILS(coir_close(fd), EBADF);
    EXPECT_FAILS(coir_read_full(fd, buf, 1), EBADF);
    EXPECT_FAILS(coir_write_all(fd, buf, 1), EBADF);
}

static void nonsense(void *arg)
{
    (void)arg;
    const uint64_t one = 1;
    int closed = eventfd(0, EFD_CLOEXEC);
    /* For a thread this starts the runtime, which must not get the number. */
    EXPECT_EQ(coir_write(closed, &one, sizeof one), 8);
    close(closed);
    const int fds[] = { -1, closed, AT_FDCWD, INT32_MIN, INT32_MAX, 1000000, 4 << 20, 12345 };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        all_calls_on(fds[i]);
}

/* Memory that is not there, or may not be touched. */
static void bad_buffers(void *arg)
{
    (void)arg;
    expect_bad_pointers();
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int ends[2];
    make_ends(UNIX_STREAM, ends);
    EXPECT_EQ(write(ends[1], "data", 4), 4);
    char *const bad[] = { NULL, none, (char *)-1, (char *)((uintptr_t)1 << 60) };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct iovec iov[] = { { bad[i], 4 }, { none, 4 } };
        EXPECT_FAILS(coir_read(ends[0], bad[i], 4), EFAULT);
        EXPECT_FAILS(coir_write(ends[0], bad[i], 4), EFAULT);
        EXPECT_FAILS(coir_recv(ends[0], bad[i], 4, 0), EFAULT);
        EXPECT_FAILS(coir_send(ends[0], bad[i], 4, 0), EFAULT);
        EXPECT_FAILS(coir_readv(ends[0], iov, 2), EFAULT);
        EXPECT_FAILS(coir_writev(ends[0], iov, 2), EFAULT);
        EXPECT_FAILS(coir_readv(ends[0], (struct iovec *)bad[i], 2), EFAULT);
        EXPECT_FAILS(coir_writev(ends[0], (struct iovec *)bad[i], 2), EFAULT);
        EXPECT_FAILS(coir_connect(ends[0], (struct sockaddr *)bad[i], 16), EFAULT);
        EXPECT_FAILS(coir_open(bad[i], O_RDONLY), EFAULT);
        EXPECT_FAILS(coir_poll((struct pollfd *)bad[i], 1, 0), EFAULT);
        EXPECT_FAILS(coir_poll((struct pollfd *)bad[i], 100, -1), EFAULT);
    }
    char data[8] = "";
    EXPECT_EQ(coir_read(ends[0], data, sizeof data), 4);
    EXPECT(memcmp(data, "data", 4) == 0);
    close_ends(ends);
    munmap(none, 4096);
    expect_no_more_bad_pointers();
}

struct broken {
    enum call call;
    int ends[2];
    long result;
};

static void call_on_broken(void *arg)
{
    struct broken *b = arg;
    struct waiting w = { .call = b->call, .ends = { b->ends[0], -1 } };
    b->result = do_call(&w);
}

static void reset(int fd)
{
    struct linger now = { 1, 0 };
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

/* A peer that resets the connection ends what waits on it. */
static void resets_wake(void *arg)
{
    (void)arg;
    static const struct {
        enum call call;
        long result;
    } cases[] = {
        { READ, -ECONNRESET },
        { READV, -ECONNRESET },
        { RECV, -ECONNRESET },
        { RECV_ALL, -ECONNRESET },
        { PEEK, -ECONNRESET },
        { READ_FULL, -ECONNRESET },
        { WRITE, -ECONNRESET },
        { WRITEV, -ECONNRESET },
        { SEND, -ECONNRESET },
        { WRITE_ALL, -ECONNRESET },
        { POLL, 1 },
        { POLL_MANY, 20 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct side side;
        struct broken b = { .call = cases[i].call };
        make_ends(TCP_STREAM, b.ends);
        if (writes(b.call))
            fill(b.ends[0]);
        side_start(&side, call_on_broken, &b);
        until_waiting(&side);
        reset(b.ends[1]);
        side_wait(&side);
        EXPECT_EQ(all_or_some(b.call, b.result, cases[i].result), cases[i].result);
        EXPECT_FAILS(coir_write(b.ends[0], "x", 1), cases[i].result < 0 ? EPIPE : ECONNRESET);
        EXPECT_EQ(coir_close(b.ends[0]), 0);
    }
}

/* shutdown(2), of the peer or of one's own, ends reads with 0. */
static void shutdowns_wake(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++)
        for (int own = 0; own < 2; own++) {
            struct side side;
            char c;
            struct broken b = { .call = READ };
            make_ends((enum kind)kind, b.ends);
            side_start(&side, call_on_broken, &b);
            until_waiting(&side);
            EXPECT_EQ(shutdown(b.ends[!own], own ? SHUT_RD : SHUT_WR), 0);
            side_wait(&side);
            EXPECT_EQ(b.result, 0);
            EXPECT_EQ(coir_write(b.ends[0], "x", 1), 1);
            EXPECT_EQ(coir_read(b.ends[1], &c, 1), 1);
            close_ends(b.ends);
        }
}

/* A peer that never reads: only a deadline helps. */
static void silent_peers(void *arg)
{
    (void)arg;
    static const enum call calls[] = { WRITE, WRITEV, SEND, WRITE_ALL };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct broken b = { .call = calls[i] };
        make_ends(i % 2 ? UNIX_STREAM : TCP_STREAM, b.ends);
        fill(b.ends[0]);
        COIR_TIMEOUT(COIR_MS(5))
            call_on_broken(&b);
        EXPECT_EQ(b.result, -ETIMEDOUT);
        close_ends(b.ends);
    }
}

static int sigpipe_blocked(void)
{
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    return sigismember(&now, SIGPIPE);
}

static int sigpipe_pending(void)
{
    sigset_t now;
    sigpending(&now);
    return sigismember(&now, SIGPIPE);
}

static void write_into_nothing(void *arg)
{
    (void)arg;
    struct iovec iov[] = { { "x", 1 }, { "y", 1 } };
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        make_ends((enum kind)kind, ends);
        if (kind == TCP_STREAM)
            reset(ends[0]);
        else
            close(ends[0]);
        if (kind == TCP_STREAM)
            EXPECT_FAILS(coir_write(ends[1], "x", 1), ECONNRESET);
        EXPECT_FAILS(coir_write(ends[1], "x", 1), EPIPE);
        EXPECT_FAILS(coir_writev(ends[1], iov, 2), EPIPE);
        EXPECT_FAILS(coir_write_all(ends[1], "x", 1), EPIPE);
        if (kind != PIPE)
            EXPECT_FAILS(coir_send(ends[1], "x", 1, 0), EPIPE);
        EXPECT_EQ(coir_close(ends[1]), 0);
    }
}

struct stubborn {
    int ends[2];
    long result;
};

static void write_more_than_fits(void *arg)
{
    static char much[1 << 20];
    struct stubborn *s = arg;
    s->result = minus_errno(coir_write(s->ends[1], much, sizeof much));
    EXPECT_FAILS(coir_write(s->ends[1], "x", 1), EPIPE);
}

/* The reader goes away while the writer waits for room. */
static void readers_go_away(void *arg)
{
    (void)arg;
    for (int kind = 0; kind <= UNIX_STREAM; kind++) {
        struct side side;
        struct stubborn s;
        make_ends((enum kind)kind, s.ends);
        side_start(&side, write_more_than_fits, &s);
        until_waiting(&side);
        coir_sleep(COIR_MS(2));
        close(s.ends[0]);
        side_wait(&side);
        EXPECT(s.result > 0 && s.result < 1 << 20);
        EXPECT_EQ(coir_close(s.ends[1]), 0);
    }
}

static void no_sigpipe(void *arg)
{
    write_into_nothing(arg);
    readers_go_away(arg);
}

/* In a process in which SIGPIPE kills. */
static int run_with_default_sigpipe(void *arg)
{
    struct body body = { no_sigpipe, NULL };
    alarm(WATCHDOG_SECONDS);
    signal(SIGPIPE, SIG_DFL);
    for (const unsigned *w = test_workers; *w; w++) {
        run_on(*w, body_on_fiber, &body);
        EXPECT(!sigpipe_blocked());
        EXPECT(!sigpipe_pending());
    }
    sigset_t sigpipe;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, NULL);
    run_on(2, body_on_fiber, &body);
    EXPECT(sigpipe_blocked()); /* it was the program's wish */
    (void)arg;
    return no_findings_status();
}

static int threads_with_default_sigpipe(void *arg)
{
    struct body body = { no_sigpipe, NULL };
    (void)arg;
    signal(SIGPIPE, SIG_DFL);
    int status = body_on_thread(&body);
    EXPECT(!sigpipe_pending());
    return status | no_findings_status();
}

static void sigpipe_never_comes(void **state)
{
    (void)state;
    run_in_child(run_with_default_sigpipe, NULL);
    run_in_child(threads_with_default_sigpipe, NULL);
}

BODY_TEST(what_is_no_descriptor_is_ebadf, nonsense)
BODY_TEST(what_is_no_memory_is_efault, bad_buffers)
BODY_TEST(a_reset_wakes, resets_wake)
BODY_TEST(a_shutdown_wakes, shutdowns_wake)
BODY_TEST(a_silent_peer_costs_the_deadline, silent_peers)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_descriptor_is_ebadf),
        cmocka_unit_test(what_is_no_memory_is_efault),
        cmocka_unit_test(a_reset_wakes),
        cmocka_unit_test(a_shutdown_wakes),
        cmocka_unit_test(a_silent_peer_costs_the_deadline),
        cmocka_unit_test(sigpipe_never_comes),
    };
    return RUN_AT_HOME(tests);
}
