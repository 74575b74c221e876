/* tests/io/cancel_race_test.c - a cancel or a deadline that comes in the very moment in which the
 * op completes: every byte, and every connection, is delivered exactly once.
 * SPDX-License-Identifier: MIT
 *
 * Method: many rounds with small random delays between a peer that feeds and somebody who stops;
 * what arrived is compared with what was sent. */
#include "sides.h"

struct random {
    uint64_t state;
};

static uint32_t next(struct random *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return (uint32_t)(r->state >> 32);
}

/* Between nothing and some ten microseconds, in one of the ways a program can spend them. */
static void dally(struct random *r)
{
    uint32_t n = next(r);
    if (n % 4 == 0)
        coir_sleep(COIR_US(n / 4 % 20));
    else if (n % 4 == 1)
        coir_yield();
    else
        for (volatile uint32_t i = 0; i < n / 4 % 3000; i++)
            ;
}

enum { TIMED = 1 }; /* how a reader is stopped: by its deadline, else by a cancel */

struct race {
    enum kind kind;
    int ends[2];
    int rounds;
    size_t sent, received, wrong;
    _Atomic int stops, fed;
    struct random random;
};

/* Feed the pattern, byte by byte, until all is sent, and at least one reader was stopped. */
static void *feed(void *arg)
{
    struct race *r = arg;
    struct random random = { 77 };
    while (r->sent < (size_t)r->rounds || !atomic_load(&r->stops)) {
        unsigned char c = pattern(r->sent);
        EXPECT_EQ(coir_write(r->ends[1], &c, 1), 1);
        r->sent++;
        dally(&random);
    }
    EXPECT_EQ(coir_close(r->ends[1]), 0);
    atomic_store(&r->fed, 1);
    return NULL;
}

static void check(struct race *r, const unsigned char *bytes, ssize_t n)
{
    for (ssize_t i = 0; i < n; i++)
        r->wrong += bytes[i] != pattern(r->received++);
}

/* The ways to read a little. */
static ssize_t read_some(int fd, uint32_t way, unsigned char buf[16])
{
    struct iovec iov[] = { { buf, 1 }, { buf + 1, 15 } };
    return way % 3 == 0 ? coir_readv(fd, iov, 2) : coir_read(fd, buf, 1 + way % 7);
}

static void *read_until_stopped(void *arg)
{
    struct race *r = arg;
    unsigned char buf[16];
    ssize_t n;
    while ((n = read_some(r->ends[0], next(&r->random), buf)) > 0)
        check(r, buf, n);
    return n == 0 ? NULL : coir_fail(errno);
}

struct canceller {
    coir_fiber *victim;
    struct random random;
};

static void *cancel_soon(void *arg)
{
    struct canceller *c = arg;
    dally(&c->random);
    EXPECT_EQ(coir_cancel(c->victim), 0);
    return NULL;
}

/* One reader after the other: each is cancelled at some moment, the last one sees the end. */
static void readers_are_cancelled(void *arg)
{
    struct race *r = arg;
    make_ends(r->kind, r->ends);
    coir_fiber *feeder = spawn_apart(feed, r);
    struct canceller c = { .random = { 99 } };
    for (;;) {
        pthread_t thread;
        int by_thread = r->stops % 8 == 0;
        coir_fiber *killer = NULL;
        c.victim = coir_spawn(read_until_stopped, r);
        if (r->stops % 3 == 0)
            coir_yield();
        if (by_thread)
            EXPECT_EQ(pthread_create(&thread, NULL, cancel_soon, &c), 0);
        else
            killer = r->stops % 2 ? spawn_apart(cancel_soon, &c) : coir_spawn(cancel_soon, &c);
        if (killer)
            join(killer);
        else
            pthread_join(thread, NULL);
        if (coir_join(c.victim, NULL) == 0)
            break;
        EXPECT_EQ(errno, ECANCELED);
        r->stops++;
    }
    join(feeder);
    EXPECT_EQ(coir_close(r->ends[0]), 0);
}

/* One reader whose every call has a deadline of its own. */
static void reads_time_out(void *arg)
{
    struct race *r = arg;
    unsigned char buf[16];
    ssize_t n = -1;
    make_ends(r->kind, r->ends);
    coir_fiber *feeder = spawn_apart(feed, r);
    while (n != 0) {
        uint32_t way = next(&r->random);
        COIR_TIMEOUT(COIR_US(way % 30)) {
            n = read_some(r->ends[0], way / 32, buf);
        }
        if (n > 0) {
            check(r, buf, n);
        } else if (n < 0) {
            EXPECT_EQ(errno, ETIMEDOUT);
            r->stops++;
        }
    }
    join(feeder);
    EXPECT_EQ(coir_close(r->ends[0]), 0);
}

static void run_race(void (*fn)(void *), int rounds)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (const unsigned *w = test_workers; *w; w++) {
            struct race r = { .kind = (enum kind)kind, .rounds = rounds, .random = { 4711 } };
            run_on(*w, fn, &r);
            assert_int_equal(r.received, r.sent);
            assert_int_equal(r.wrong, 0);
            assert_true(r.stops > 0);
        }
}

static void a_cancelled_read_loses_nothing(void **state)
{
    (void)state;
    run_race(readers_are_cancelled, test_scaled(500, 20));
}

static void a_timed_out_read_loses_nothing(void **state)
{
    (void)state;
    run_race(reads_time_out, test_scaled(1500, 20));
}

struct writing {
    enum kind kind;
    int ends[2];
    size_t bytes, received, wrong;
    int stops;
};

/* Drains in fits and starts. */
static void *drain_slowly(void *arg)
{
    struct writing *w = arg;
    struct random random = { 5 };
    static _Thread_local unsigned char buf[70000];
    ssize_t n;
    while ((n = read(w->ends[0], buf, 1 + next(&random) % 60000)) != 0) {
        if (n < 0) {
            struct pollfd p = { w->ends[0], POLLIN, 0 };
            coir_poll(&p, 1, -1);
            continue;
        }
        for (ssize_t i = 0; i < n; i++)
            w->wrong += buf[i] != pattern(w->received++);
        dally(&random);
    }
    return NULL;
}

/* A writer whose every call has a deadline: what it says has gone has, and no more. */
static void writes_time_out(void *arg)
{
    struct writing *w = arg;
    struct random random = { 31 };
    static unsigned char chunk[150000];
    size_t sent = 0;
    int few = 20000;
    make_ends(w->kind, w->ends);
    fcntl(w->ends[0], F_SETFL, O_NONBLOCK);
    if (w->kind != PIPE) {
        EXPECT_EQ(setsockopt(w->ends[0], SOL_SOCKET, SO_RCVBUF, &few, sizeof few), 0);
        EXPECT_EQ(setsockopt(w->ends[1], SOL_SOCKET, SO_SNDBUF, &few, sizeof few), 0);
    }
    coir_fiber *drainer = spawn_apart(drain_slowly, w);
    while (sent < w->bytes) {
        size_t len = 1 + next(&random) % sizeof chunk;
        len = len < w->bytes - sent ? len : w->bytes - sent;
        for (size_t i = 0; i < len; i++)
            chunk[i] = pattern(sent + i);
        struct iovec iov[] = { { chunk, len / 3 }, { chunk + len / 3, len - len / 3 } };
        ssize_t n = -1;
        COIR_TIMEOUT(COIR_US(next(&random) % 100)) {
            n = next(&random) % 2 ? coir_write(w->ends[1], chunk, len)
                                  : coir_writev(w->ends[1], iov, 2);
        }
        if (n < 0)
            EXPECT_EQ(errno, ETIMEDOUT);
        else
            sent += (size_t)n;
        w->stops += n < (ssize_t)len;
    }
    EXPECT_EQ(coir_close(w->ends[1]), 0);
    join(drainer);
    close(w->ends[0]);
}

static void a_timed_out_write_says_what_went(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (const unsigned *n = test_workers; *n; n++) {
            struct writing w = { .kind = (enum kind)kind,
                                 .bytes = (size_t)test_scaled(2500, 200) * 1000 };
            run_on(*n, writes_time_out, &w);
            assert_int_equal(w.received, w.bytes);
            assert_int_equal(w.wrong, 0);
            assert_true(w.stops > 0);
        }
}

struct door {
    int listener;
    struct sockaddr_in addr;
    int clients;
    _Atomic int connected;
};

static void *connect_often(void *arg)
{
    struct door *d = arg;
    struct random random = { 13 };
    for (int i = 0; i < d->clients; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(coir_connect(fd, (struct sockaddr *)&d->addr, sizeof d->addr), 0);
        atomic_fetch_add(&d->connected, 1);
        dally(&random);
        EXPECT_EQ(coir_close(fd), 0);
    }
    return NULL;
}

/* No connection gets lost, and none of their descriptors: run_on counts them. */
static void accepts_time_out(void *arg)
{
    struct door *d = arg;
    struct random random = { 17 };
    socklen_t len = sizeof d->addr;
    int accepted = 0, stops = 0;
    d->addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    d->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(d->listener, (struct sockaddr *)&d->addr, len), 0);
    EXPECT_EQ(listen(d->listener, 100), 0);
    EXPECT_EQ(getsockname(d->listener, (struct sockaddr *)&d->addr, &len), 0);
    coir_fiber *client = spawn_apart(connect_often, d);
    while (accepted < d->clients) {
        int fd = -1;
        COIR_TIMEOUT(COIR_US(next(&random) % 60)) {
            fd = coir_accept(d->listener, NULL, NULL);
        }
        if (fd >= 0) {
            accepted++;
            EXPECT_EQ(coir_close(fd), 0);
        } else {
            EXPECT_EQ(errno, ETIMEDOUT);
            stops++;
        }
    }
    EXPECT(stops > 0);
    join(client);
    EXPECT_EQ(coir_close(d->listener), 0);
}

static void a_timed_out_accept_loses_no_connection(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct door d = { .clients = test_scaled(200, 20) };
        run_on(*w, accepts_time_out, &d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_read_loses_nothing),
        cmocka_unit_test(a_timed_out_read_loses_nothing),
        cmocka_unit_test(a_timed_out_write_says_what_went),
        cmocka_unit_test(a_timed_out_accept_loses_no_connection),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
