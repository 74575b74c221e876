/* tests/io/poll_test.c - coir_poll: what it waits for, how long, and what ends it.
 * SPDX-License-Identifier: MIT
 *
 * Results without waiting are compared with poll(2)'s in like_posix_sockets_test.c. */
#include "sides.h"

#include "io/op.h"

#include <limits.h>
#include <pty.h>
#include <sys/eventfd.h>

static uint64_t left_in_flight(void)
{
    return coir_self() ? coir__ops_in_flight(coir__worker_self()) : 0;
}

struct poller {
    struct pollfd *fds;
    nfds_t n;
    int timeout_ms;
    int ready, err;
};

static void poll_once(void *arg)
{
    struct poller *p = arg;
    p->ready = coir_poll(p->fds, p->n, p->timeout_ms);
    p->err = p->ready < 0 ? errno : 0;
}

static const uint64_t one = 1;

/* The n-th of many becomes ready while all are waited for. */
static void many_wait(void *arg)
{
    (void)arg;
    static const int counts[] = { 1, 8, 9, 500 };
    for (int c = 0; c < 4; c++) {
        int n = counts[c], ready = n * 2 / 3;
        struct pollfd *fds = calloc((size_t)n, sizeof *fds);
        for (int i = 0; i < n; i++)
            fds[i] = (struct pollfd){ eventfd(0, EFD_CLOEXEC), POLLIN, -1 };
        for (int k = 0; k < 3; k++) {
            static const int timeouts[] = { -1, INT_MIN, INT_MAX };
            struct side side;
            struct poller p = { fds, (nfds_t)n, timeouts[k], 0, 0 };
            uint64_t value;
            side_start(&side, poll_once, &p);
            until_waiting(&side);
            EXPECT_EQ(coir_write(fds[ready].fd, &one, 8), 8);
            side_wait(&side);
            EXPECT_EQ(p.ready, 1);
            for (int i = 0; i < n; i++)
                EXPECT_EQ(fds[i].revents, i == ready ? POLLIN : 0);
            EXPECT_EQ(coir_read(fds[ready].fd, &value, 8), 8);
        }
        for (int i = 0; i < n; i++)
            close(fds[i].fd);
        free(fds);
    }
}

/* timeout_ms, and the caller's deadline, whichever is first. */
static void times_out(void *arg)
{
    (void)arg;
    int fd = eventfd(0, EFD_CLOEXEC);
    struct pollfd one_fd = { fd, POLLIN, 7 }, none[2] = { { -1, POLLIN, 7 }, { -5, POLLIN, 7 } };
    struct pollfd many[20];
    for (int i = 0; i < 20; i++)
        many[i] = (struct pollfd){ i % 2 ? fd : -1, POLLIN, 7 };
    struct {
        struct pollfd *fds;
        nfds_t n;
    } cases[] = { { &one_fd, 1 }, { none, 2 }, { NULL, 0 }, { many, 20 } };
    for (int i = 0; i < 4; i++) {
        int64_t start_ns = coir_now();
        EXPECT_EQ(coir_poll(cases[i].fds, cases[i].n, 0), 0);
        EXPECT(coir_now() - start_ns < COIR_SEC(2));
        start_ns = coir_now();
        EXPECT_EQ(coir_poll(cases[i].fds, cases[i].n, 5), 0);
        EXPECT(coir_now() - start_ns >= COIR_MS(5));
        COIR_TIMEOUT(COIR_SEC(15))
            EXPECT_EQ(coir_poll(cases[i].fds, cases[i].n, 1), 0);
        COIR_TIMEOUT(COIR_MS(5)) {
            start_ns = coir_now();
            EXPECT_FAILS(coir_poll(cases[i].fds, cases[i].n, 10000), ETIMEDOUT);
            EXPECT_FAILS(coir_poll(cases[i].fds, cases[i].n, 0), ETIMEDOUT);
            EXPECT_FAILS(coir_poll(cases[i].fds, cases[i].n, -1), ETIMEDOUT);
            EXPECT(coir_now() - start_ns >= COIR_MS(4));
        }
        for (nfds_t k = 0; k < cases[i].n; k++)
            EXPECT_EQ(cases[i].fds[k].revents, 0);
        EXPECT_EQ(left_in_flight(), 0);
    }
    close(fd);
}

static void closed_are_told(void *arg)
{
    (void)arg;
    int fd = eventfd(0, EFD_CLOEXEC), gone = eventfd(0, EFD_CLOEXEC);
    struct pollfd fds[4] = {
        { fd, POLLIN, 7 }, { gone, POLLIN, 7 }, { -1, POLLIN, 7 }, { 1 << 30, 0, 7 }
    };
    close(gone);
    for (int timeout_ms = -1; timeout_ms < 2; timeout_ms++) {
        EXPECT_EQ(coir_poll(fds, 4, timeout_ms), 2);
        EXPECT_EQ(fds[0].revents, 0);
        EXPECT_EQ(fds[1].revents, POLLNVAL);
        EXPECT_EQ(fds[2].revents, 0);
        EXPECT_EQ(fds[3].revents, POLLNVAL);
    }
    close(fd);
}

/* Something of everything; each in turn becomes ready, and is the one that is reported. */
static void kinds_mix(void *arg)
{
    (void)arg;
    enum { N = 6 };
    int pipe_ends[2], unix_ends[2], tcp_ends[2], pty[2], full[2];
    make_ends(PIPE, pipe_ends);
    make_ends(UNIX_STREAM, unix_ends);
    make_ends(TCP_STREAM, tcp_ends);
    make_ends(PIPE, full);
    fill(full[1]);
    EXPECT_EQ(openpty(&pty[0], &pty[1], NULL, NULL, NULL), 0);
    int event = eventfd(0, EFD_CLOEXEC);
    struct pollfd fds[N] = {
        { pipe_ends[0], POLLIN, 0 }, { unix_ends[0], POLLIN, 0 }, { tcp_ends[0], POLLIN, 0 },
        { pty[1], POLLIN, 0 },       { event, POLLIN, 0 },        { full[1], POLLOUT, 0 },
    };
    int feed[N] = { pipe_ends[1], unix_ends[1], tcp_ends[1], pty[0], event, -1 };
    for (int i = 0; i < N; i++) {
        struct side side;
        struct poller p = { fds, N, -1, 0, 0 };
        char buf[65536];
        side_start(&side, poll_once, &p);
        until_waiting(&side);
        if (feed[i] >= 0)
            EXPECT(coir_write(feed[i], feed[i] == event ? (const void *)&one : "line\nxyz", 8) ==
                   8);
        else
            EXPECT(coir_read(full[0], buf, sizeof buf) > 0);
        side_wait(&side);
        EXPECT_EQ(p.ready, 1);
        for (int k = 0; k < N; k++)
            EXPECT_EQ(fds[k].revents, k == i ? fds[k].events : 0);
        if (i < N - 1)
            EXPECT(coir_read(fds[i].fd, buf, sizeof buf) >= 5);
    }
    close_ends(pipe_ends);
    close_ends(unix_ends);
    close_ends(tcp_ends);
    close_ends(pty);
    close_ends(full);
    close(event);
}

/* Peers that go away, also for those who asked for nothing. */
static void hang_ups_are_told(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++)
        for (int nothing = 0; nothing < 2; nothing++) {
            int ends[2];
            struct side side;
            make_ends((enum kind)kind, ends);
            short events = nothing ? 0 : POLLIN | POLLRDHUP;
            struct pollfd fds[2] = { { ends[0], events, 0 }, { ends[0], events, 0 } };
            struct poller p = { fds, 2, kind == TCP_STREAM && nothing ? 20 : -1, 0, 0 };
            side_start(&side, poll_once, &p);
            until_waiting(&side);
            close(ends[1]);
            side_wait(&side);
            /* One that was interrupted looks again at any moment: perhaps between the two. */
            if (rung->interrupt_every && p.ready == 1)
                p.ready = poll(fds, 2, 0);
            /* Half of a TCP connection may still be open: not a hang-up. */
            EXPECT_EQ(p.ready, kind == TCP_STREAM && nothing ? 0 : 2);
            short wanted = kind == PIPE          ? POLLHUP
                           : kind == UNIX_STREAM ? (short)(events | POLLHUP)
                                                 : events;
            EXPECT_EQ(fds[0].revents, wanted);
            EXPECT_EQ(fds[1].revents, wanted);
            close(ends[0]);
        }
}

struct race {
    int ends[2];
    coir_fiber *poller;
    struct poller p;
};

static void *poll_in_fiber(void *arg)
{
    poll_once(arg);
    return NULL;
}

/* Somebody else takes the data before the poller has looked: it goes on waiting. */
static void *steal_the_data(void *arg)
{
    struct race *r = arg;
    char c;
    while (!has_state(r->poller, COIR__READY))
        coir_yield();
    EXPECT_EQ(read(r->ends[0], &c, 1), 1);
    coir_sleep(COIR_MS(2));
    EXPECT(has_state(r->poller, COIR__PARKED));
    EXPECT_EQ(write(r->ends[1], "y", 1), 1);
    return NULL;
}

static void false_news(void *arg)
{
    (void)arg;
    struct race r;
    make_ends(PIPE, r.ends);
    struct pollfd fd = { r.ends[0], POLLIN, 0 };
    r.p = (struct poller){ &fd, 1, -1, 0, 0 };
    coir_fiber *thief = coir_spawn(steal_the_data, &r);
    r.poller = coir_spawn(poll_in_fiber, &r.p);
    until_parked(r.poller);
    until_submitted();
    EXPECT_EQ(write(r.ends[1], "x", 1), 1);
    join(thief);
    join(r.poller);
    EXPECT_EQ(r.p.ready, 1);
    close_ends(r.ends);
}

/* The data is stolen, and the number given to another file, which has some: not the poller's. */
static void *steal_the_number(void *arg)
{
    struct race *r = arg;
    while (!has_state(r->poller, COIR__READY))
        coir_yield();
    int other[2];
    make_ends(PIPE, other);
    EXPECT_EQ(write(other[1], "other", 5), 5);
    EXPECT_EQ(coir_close(r->ends[0]), 0);
    EXPECT_EQ(dup2(other[0], r->ends[0]), r->ends[0]);
    close_ends(other);
    return NULL;
}

static void reused_number(void *arg)
{
    (void)arg;
    struct race r;
    make_ends(PIPE, r.ends);
    struct pollfd fd = { r.ends[0], POLLIN, 0 };
    r.p = (struct poller){ &fd, 1, -1, 0, 0 };
    coir_fiber *thief = coir_spawn(steal_the_number, &r);
    r.poller = coir_spawn(poll_in_fiber, &r.p);
    until_parked(r.poller);
    until_submitted();
    EXPECT_EQ(write(r.ends[1], "x", 1), 1);
    join(thief);
    join(r.poller);
    EXPECT_EQ(r.p.ready, -1);
    EXPECT_EQ(r.p.err, EBADF);
    close_ends(r.ends);
}

/* One of many is closed by coir_close. */
static void closing_ends_it(void *arg)
{
    (void)arg;
    static const int counts[] = { 1, 2, 8, 9, 100 };
    for (int c = 0; c < 5; c++) {
        int n = counts[c];
        struct pollfd fds[100];
        struct side side;
        for (int i = 0; i < n; i++)
            fds[i] = (struct pollfd){ eventfd(0, EFD_CLOEXEC), POLLIN, 0 };
        struct poller p = { fds, (nfds_t)n, -1, 0, 0 };
        side_start(&side, poll_once, &p);
        until_waiting(&side);
        EXPECT_EQ(coir_close(fds[n / 2].fd), 0);
        side_wait(&side);
        EXPECT_EQ(p.ready, -1);
        EXPECT_EQ(p.err, EBADF);
        for (int i = 0; i < n; i++)
            if (i != n / 2)
                close(fds[i].fd);
    }
}

/* Many polls of the same descriptors at once, by many. */
static void crowd(void *arg)
{
    (void)arg;
    enum { POLLERS = 20 };
    int fd[3];
    struct pollfd fds[POLLERS][3];
    struct poller p[POLLERS];
    struct side side[POLLERS];
    for (int i = 0; i < 3; i++)
        fd[i] = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < POLLERS; i++) {
        for (int k = 0; k < 3; k++)
            fds[i][k] = (struct pollfd){ fd[k], POLLIN, 0 };
        p[i] = (struct poller){ fds[i], 3, -1, 0, 0 };
        side_start(&side[i], poll_once, &p[i]);
    }
    until_waiting(&side[POLLERS - 1]);
    EXPECT_EQ(coir_write(fd[1], &one, 8), 8);
    for (int i = 0; i < POLLERS; i++) {
        side_wait(&side[i]);
        EXPECT_EQ(p[i].ready, 1);
        EXPECT_EQ(fds[i][1].revents, POLLIN);
    }
    for (int i = 0; i < 3; i++)
        close(fd[i]);
}

static void poll_is_not_misled(void **state)
{
    (void)state;
    run_on(1, false_news, NULL);
    run_on(1, reused_number, NULL);
}

BODY_TEST(poll_waits_for_one_of_many, many_wait)
BODY_TEST(poll_times_out, times_out)
BODY_TEST(poll_tells_closed_descriptors, closed_are_told)
BODY_TEST(poll_takes_any_kind, kinds_mix)
BODY_TEST(poll_tells_hang_ups, hang_ups_are_told)
BODY_TEST(poll_ends_when_a_descriptor_is_closed, closing_ends_it)
BODY_TEST(many_may_poll_the_same, crowd)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(poll_waits_for_one_of_many),
        cmocka_unit_test(poll_times_out),
        cmocka_unit_test(poll_tells_closed_descriptors),
        cmocka_unit_test(poll_takes_any_kind),
        cmocka_unit_test(poll_tells_hang_ups),
        cmocka_unit_test(poll_is_not_misled),
        cmocka_unit_test(poll_ends_when_a_descriptor_is_closed),
        cmocka_unit_test(many_may_poll_the_same),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
