/* io/epoll_test.c - what only the epoll engine has: threads for what cannot be told not to wait,
 * descriptors that it arms, and flags that it lends.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include "io/pool.h"

#include <dirent.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* A terminal neither knows RWF_NOWAIT nor O_NONBLOCK here. */
struct terminal {
    int master, slave;
};

static struct terminal open_terminal(void)
{
    struct terminal t;
    struct termios raw = { .c_cc[VMIN] = 1 };
    EXPECT_EQ(openpty(&t.master, &t.slave, NULL, &raw, NULL), 0);
    return t;
}

struct reading {
    int fd;
    ssize_t n;
    int err;
    char buf[64];
};

static void *read_once(void *arg)
{
    struct reading *r = arg;
    r->n = coir_read(r->fd, r->buf, sizeof r->buf);
    r->err = r->n < 0 ? errno : 0;
    return NULL;
}

static void terminals(void *arg)
{
    (void)arg;
    struct terminal t = open_terminal();
    struct reading r[2] = { { .fd = t.slave }, { .fd = t.slave } };
    coir_fiber *f[2] = { spawn_apart(read_once, &r[0]), spawn_apart(read_once, &r[1]) };
    for (int i = 0; i < 2; i++)
        until_parked(f[i]);
    EXPECT_EQ(coir_write(t.master, "one", 3), 3); /* one of the two gets it */
    while (r[0].n + r[1].n == 0)
        nap();
    EXPECT_EQ(r[0].n + r[1].n, 3);
    coir_cancel(f[0]);
    coir_cancel(f[1]);
    join(f[0]);
    join(f[1]);
    EXPECT(r[0].n == 3 || r[1].n == 3);
    EXPECT(r[0].err == ECANCELED || r[1].err == ECANCELED);
    COIR_TIMEOUT(COIR_MS(3)) {
        EXPECT_FAILS(coir_read(t.slave, r[0].buf, 1), ETIMEDOUT);
    }
    EXPECT_EQ(coir_write(t.slave, "back", 4), 4);
    EXPECT_EQ(coir_read(t.master, r[0].buf, sizeof r[0].buf), 4);
    EXPECT_EQ(coir_close(t.slave), 0);
    EXPECT_EQ(coir_close(t.master), 0);
}

/* A reader that is no fiber takes what the thread was about to read: it stays in its read(2). */
static void interrupted_threads(void *arg)
{
    static const enum { CANCEL, CLOSE, TIMEOUT } ends[] = { CANCEL, CLOSE, TIMEOUT };
    (void)arg;
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(mkfifo("fifo", 0600), 0);
        struct reading r = { .fd = open("fifo", O_RDWR | O_CLOEXEC) };
        int ready = r.fd;
        coir_fiber *f = spawn_apart(read_once, &r);
        until_parked(f);
        if (ends[i] == CANCEL)
            coir_cancel(f);
        else if (ends[i] == CLOSE)
            EXPECT_EQ(coir_close(ready), 0);
        else
            EXPECT_EQ(write(ready, "x", 1), 1);
        join(f);
        EXPECT_EQ(r.err, ends[i] == CANCEL ? ECANCELED : ends[i] == CLOSE ? EBADF : 0);
        if (ends[i] != CLOSE)
            EXPECT_EQ(coir_close(ready), 0);
        EXPECT_EQ(unlink("fifo"), 0);
    }
}

/* Whoever opens a FIFO waits on a thread; many at once, and files are served all the same. */
enum { FIFOS = 20 };

static void *open_fifo(void *arg)
{
    int fd = coir_open("fifo", O_WRONLY);
    (void)arg;
    return fd < 0 ? (void *)(intptr_t)-errno : (void *)(intptr_t)fd;
}

static void blocked_opens(void *arg)
{
    char text[8];
    coir_fiber *f[FIFOS];
    (void)arg;
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    for (int i = 0; i < FIFOS; i++)
        f[i] = spawn_apart(open_fifo, NULL);
    for (int i = 0; i < FIFOS; i++)
        until_parked(f[i]);
    int fd = coir_open("/proc/self/comm", O_RDONLY);
    EXPECT(coir_pread(fd, text, sizeof text, 0) > 0);
    EXPECT_EQ(coir_close(fd), 0);
    for (int i = 0; i < FIFOS; i++) {
        void *result = NULL;
        coir_cancel(f[i]);
        EXPECT_EQ(coir_join(f[i], &result), 0);
        EXPECT_EQ((long)(intptr_t)result, -ECANCELED);
    }
    EXPECT_EQ(unlink("fifo"), 0);
}

/* The program closes a descriptor that somebody waited for, and its number means another file. */
static void numbers_are_reused(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        int old[2], new[2];
        char c;
        make_ends((enum kind)kind, old);
        COIR_TIMEOUT(COIR_MS(1)) {
            EXPECT_FAILS(coir_read(old[0], &c, 1), ETIMEDOUT); /* it stays armed */
        }
        int dup_of_old = dup(old[0]);
        make_ends((enum kind)kind, new);
        EXPECT_EQ(dup2(new[0], old[0]), old[0]);
        struct reading r = { .fd = old[0] };
        coir_fiber *f = coir_spawn(read_once, &r);
        until_parked(f);
        EXPECT_EQ(write(old[1], "o", 1), 1); /* an event for the number, not for its file */
        for (int i = 0; i < 20; i++)
            nap();
        EXPECT_EQ(r.n, 0);
        EXPECT_EQ(write(new[1], "n", 1), 1);
        join(f);
        EXPECT_EQ(r.n, 1);
        EXPECT_EQ(r.buf[0], 'n');
        close_ends(old);
        close_ends(new);
        close(dup_of_old);
    }
}

static void *accept_one(void *arg)
{
    int fd = coir_accept(*(int *)arg, NULL, NULL);
    EXPECT(fd >= 0);
    EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    close(fd);
    return NULL;
}

static void lent_flags(void *arg)
{
    (void)arg;
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len) | listen(listener, 8), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    for (int i = 0; i < 20; i++) {
        coir_fiber *f[2] = { spawn_apart(accept_one, &listener),
                             spawn_apart(accept_one, &listener) };
        int client[2];
        for (int k = 0; k < 2; k++) {
            client[k] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            EXPECT_EQ(coir_connect(client[k], (struct sockaddr *)&addr, len), 0);
            EXPECT_EQ(fcntl(client[k], F_GETFL) & O_NONBLOCK, 0);
        }
        join(f[0]);
        join(f[1]);
        close_ends(client);
    }
    EXPECT_EQ(fcntl(listener, F_GETFL) & O_NONBLOCK, 0);
    close(listener);
}

/* Readers and writers of one descriptor, on several workers. */
static void *count_bytes(void *arg)
{
    struct reading *r = arg;
    char c;
    while (coir_read(r->fd, &c, 1) == 1)
        r->n++;
    return NULL;
}

static void both_ways(void *arg)
{
    enum { READERS = 6, BYTES = 600 };
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        long sum = 0;
        coir_fiber *f[READERS];
        struct reading r[READERS];
        make_ends((enum kind)kind, ends);
        for (int i = 0; i < READERS; i++) {
            r[i] = (struct reading){ .fd = ends[0] };
            f[i] = spawn_apart(count_bytes, &r[i]);
        }
        for (int i = 0; i < BYTES; i++) {
            EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
            if (i % 7 == 0)
                coir_yield();
        }
        EXPECT_EQ(coir_close(ends[1]), 0);
        for (int i = 0; i < READERS; i++) {
            join(f[i]);
            sum += r[i].n;
        }
        EXPECT_EQ(sum, BYTES);
        close(ends[0]);
    }
}

/* inotify and eventfds: read when there is something, written by a thread. */
static void other_kinds(void *arg)
{
    (void)arg;
    struct reading r = { .fd = inotify_init1(IN_CLOEXEC) };
    EXPECT(inotify_add_watch(r.fd, ".", IN_CREATE) >= 0);
    coir_fiber *f = spawn_apart(read_once, &r);
    until_parked(f);
    EXPECT(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
    join(f);
    EXPECT(r.n > 0);
    close(r.fd);
    uint64_t value = 5;
    int event = eventfd(0, EFD_CLOEXEC);
    EXPECT_EQ(coir_write(event, &value, sizeof value), 8);
    EXPECT_EQ(coir_read(event, &value, sizeof value), 8);
    EXPECT_EQ(value, 5);
    close(event);
    EXPECT_EQ(unlink("file"), 0);
}

#define FIBER_TEST(name, body)                                                                     \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_on_each(body, NULL);                                                                   \
    }

FIBER_TEST(terminals_wait_on_threads_and_are_interrupted, terminals)
FIBER_TEST(what_a_thread_waits_for_is_cancelled_and_closed, interrupted_threads)
FIBER_TEST(an_event_of_a_file_that_is_gone_does_no_harm, numbers_are_reused)
FIBER_TEST(flags_are_as_they_were_after_accept_and_connect, lent_flags)
FIBER_TEST(many_readers_of_one_descriptor_get_each_byte_once, both_ways)
FIBER_TEST(other_kinds_of_descriptors_work, other_kinds)

/* A ring has few threads, and they are for both. */
static void blocked_opens_do_not_hold_up_files(void **state)
{
    (void)state;
    if (!rung->epoll)
        skip();
    run_on_each(blocked_opens, NULL);
}

static void no_thread_is_left(void **state)
{
    (void)state;
    run_on(2, other_kinds, NULL);
    assert_int_equal(atomic_load(&coir__pool_threads), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminals_wait_on_threads_and_are_interrupted),
        cmocka_unit_test(what_a_thread_waits_for_is_cancelled_and_closed),
        cmocka_unit_test(blocked_opens_do_not_hold_up_files),
        cmocka_unit_test(an_event_of_a_file_that_is_gone_does_no_harm),
        cmocka_unit_test(flags_are_as_they_were_after_accept_and_connect),
        cmocka_unit_test(many_readers_of_one_descriptor_get_each_byte_once),
        cmocka_unit_test(other_kinds_of_descriptors_work),
        cmocka_unit_test(no_thread_is_left),
    };
    return RUN_AT_HOME(tests);
}
