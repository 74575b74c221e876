/* tests/io/crowd_test.c - very many at once: a storm of cancels, thousands of deadlines that are
 * set and met, thousands of connections that are idle, and slow peers beside a fast one.
 * SPDX-License-Identifier: MIT
 *
 * Method: bytes are counted on both ends, so that none may be lost or come twice; ticks, enters and
 * turns are counted, never time. */
#include "sides.h"

#include <stdlib.h>

enum { LANES = 32, RIDERS = 1000, WAVES = 2 };

/* Even ones are for readers and full of nothing, odd ones for writers and full. */
struct lane {
    int ends[2];
    _Atomic long by_riders, by_us; /* bytes */
};

struct storm {
    struct lane lanes[LANES];
    _Atomic int ended;
};

struct rider {
    struct storm *storm;
    unsigned seed;
    long last; /* how its last call ended */
};

static unsigned next(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

static long ride_to_read(int fd, unsigned how, long *bytes)
{
    char buf[8];
    struct iovec iov[] = { { buf, 1 }, { buf + 1, 2 } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    struct pollfd p[5];
    for (int i = 0; i < 5; i++)
        p[i] = (struct pollfd){ fd, POLLIN, 0 };
    switch (how % 7) {
    case 0:
        return *bytes = minus_errno(coir_read(fd, buf, 3));
    case 1:
        return *bytes = minus_errno(coir_readv(fd, iov, 2));
    case 2:
        return *bytes = minus_errno(coir_recvmsg(fd, &msg, 0));
    case 3:
        return *bytes = minus_errno(coir_recv(fd, buf, 3, MSG_WAITALL));
    case 4:
        return minus_errno(coir_poll(p, 5, -1));
    case 5:
        return minus_errno(coir_recv(fd, buf, 3, MSG_PEEK));
    default:
        return minus_errno(coir_poll(p, 1, 1));
    }
}

static long ride_to_write(int fd, unsigned how, long *bytes)
{
    struct iovec iov[] = { { "x", 1 }, { "yz", 2 } };
    struct pollfd p = { fd, POLLOUT, 0 };
    switch (how % 4) {
    case 0:
        return *bytes = minus_errno(coir_write(fd, "xyz", 3));
    case 1:
        return *bytes = minus_errno(coir_writev(fd, iov, 2));
    case 2:
        return *bytes = minus_errno(coir_send(fd, "xyz", 3, 0));
    default:
        return minus_errno(coir_poll(&p, 1, -1));
    }
}

/* Until it is cancelled. */
static void *ride(void *arg)
{
    struct rider *r = arg;
    do {
        unsigned n = next(&r->seed) % LANES, how = next(&r->seed);
        struct lane *lane = &r->storm->lanes[n];
        long bytes = 0;
        if (next(&r->seed) % 8 == 0)
            r->last = minus_errno(coir_sleep(COIR_US(1 + how % 500)));
        else
            r->last = n % 2 ? ride_to_write(lane->ends[0], how, &bytes)
                            : ride_to_read(lane->ends[0], how, &bytes);
        if (bytes > 0)
            atomic_fetch_add(&lane->by_riders, bytes);
        if (r->last > 0)
            coir_yield(); /* what can be read may be peeked at for ever */
    } while (r->last >= 0);
    atomic_fetch_add(&r->storm->ended, 1);
    return NULL;
}

/* All that is left, also what TCP has under way: to the end. */
static long drain(int from, int to)
{
    static char buf[1 << 16];
    long bytes = 0;
    ssize_t n;
    EXPECT_EQ(shutdown(from, SHUT_WR), 0);
    while ((n = coir_read(to, buf, sizeof buf)) > 0)
        bytes += n;
    EXPECT_EQ(n, 0);
    return bytes;
}

/* A little of what riders wait for. */
static void move_a_lane(struct storm *s, unsigned *seed)
{
    unsigned n = next(seed) % LANES;
    struct lane *lane = &s->lanes[n];
    ssize_t bytes;
    char buf[512];
    if (n % 2) {
        bytes = recv(lane->ends[1], buf, sizeof buf, MSG_DONTWAIT);
        if (bytes > 0)
            lane->by_us -= bytes;
    } else {
        bytes = send(lane->ends[1], "12345", 1 + next(seed) % 5, MSG_DONTWAIT);
        if (bytes > 0)
            lane->by_us += bytes;
    }
}

static void cancel_all(struct storm *s, coir_fiber **f, int n, unsigned *seed)
{
    for (int left = n; left > 0;) {
        int at = (int)(next(seed) % (unsigned)left);
        EXPECT_EQ(coir_cancel(f[at]), 0);
        if (next(seed) % 4 == 0)
            EXPECT_EQ(coir_cancel(f[at]), 0);
        coir_fiber *last = f[--left];
        f[left] = f[at];
        f[at] = last;
        move_a_lane(s, seed);
        if (next(seed) % 8 == 0)
            coir_yield();
    }
}

static void balance(struct storm *s)
{
    for (int i = 0; i < LANES; i++) {
        struct lane *lane = &s->lanes[i];
        long left = drain(lane->ends[1 - i % 2], lane->ends[i % 2]);
        if (i % 2)
            EXPECT_EQ(lane->by_us + lane->by_riders, left); /* by_us: what filled it, less */
        else
            EXPECT_EQ(lane->by_us - lane->by_riders, left);
        EXPECT_EQ(coir_close(lane->ends[0]) | coir_close(lane->ends[1]), 0);
    }
}

static void storm(void *arg)
{
    (void)arg;
    int n = test_scaled(RIDERS, 100);
    struct storm *s = calloc(1, sizeof *s);
    struct rider *riders = calloc((size_t)n, sizeof *riders);
    coir_fiber **f = calloc((size_t)n, sizeof(coir_fiber *));
    unsigned seed = 7;
    for (int i = 0; i < LANES; i++) {
        make_ends(i % 4 < 2 ? UNIX_STREAM : TCP_STREAM, s->lanes[i].ends);
        if (i % 2)
            s->lanes[i].by_us = (long)fill(s->lanes[i].ends[0]);
    }
    for (int wave = 0; wave < WAVES; wave++) {
        for (int i = 0; i < n; i++) {
            riders[i] = (struct rider){ .storm = s, .seed = seed + (unsigned)i };
            f[i] = spawn_apart(ride, &riders[i]);
            move_a_lane(s, &seed);
        }
        cancel_all(s, f, n, &seed);
        for (int i = 0; i < n; i++)
            join(f[i]);
        for (int i = 0; i < n; i++)
            EXPECT_EQ(riders[i].last, -ECANCELED);
    }
    EXPECT_EQ(atomic_load(&s->ended), WAVES * n);
    balance(s);
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
    free(f);
    free(riders);
    free(s);
}

static void a_storm_of_cancels_loses_nothing(void **state)
{
    (void)state;
    run_on_each(storm, NULL);
}

/* Reads with deadlines, some of which are met: each sets its timer and takes it back. */
struct hasty {
    int ends[2];
    int rounds;
    unsigned seed;
    int met, missed;
};

static void *read_in_haste(void *arg)
{
    struct hasty *h = arg;
    char c;
    for (int i = 0; i < h->rounds; i++) {
        bool met = next(&h->seed) % 2;
        int64_t limit_ns = met ? LONG : COIR_US(1 + next(&h->seed) % 300);
        if (met)
            EXPECT_EQ(write(h->ends[1], "x", 1), 1);
        int64_t until_ns = coir_now() + limit_ns;
        COIR_TIMEOUT(limit_ns) {
            ssize_t n = coir_read(h->ends[0], &c, 1);
            EXPECT_EQ(minus_errno(n), met ? 1 : -ETIMEDOUT);
            EXPECT(met || coir_now() >= until_ns);
            h->met += n == 1;
            h->missed += n < 0;
        }
        if (i % 4 == 0) /* one that is not even waited for */
            COIR_TIMEOUT(COIR_US(next(&h->seed) % 50))
                coir_yield();
    }
    return NULL;
}

static void haste(void *arg)
{
    enum { HASTY = 200 };
    struct hasty *all = calloc(HASTY, sizeof *all);
    coir_fiber *f[HASTY];
    (void)arg;
    for (int i = 0; i < HASTY; i++) {
        all[i] = (struct hasty){ .seed = (unsigned)i, .rounds = test_scaled(50, 10) };
        make_ends(i % 2 ? PIPE : UNIX_STREAM, all[i].ends);
        f[i] = spawn_apart(read_in_haste, &all[i]);
    }
    for (int i = 0; i < HASTY; i++) {
        join(f[i]);
        EXPECT_EQ(all[i].met + all[i].missed, all[i].rounds);
        close_ends(all[i].ends);
    }
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
    free(all);
}

static void thousands_of_deadlines_are_set_and_taken_back(void **state)
{
    (void)state;
    run_on_each(haste, NULL);
}

struct idler {
    int ends[2];
    _Atomic int bytes, ended;
};

static void *be_idle(void *arg)
{
    struct idler *i = arg;
    char c;
    ssize_t n;
    while ((n = coir_read(i->ends[0], &c, 1)) > 0)
        atomic_fetch_add(&i->bytes, 1);
    EXPECT_EQ(n, 0);
    atomic_store(&i->ended, 1);
    return NULL;
}

static int idlers_possible(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int wanted = test_scaled(10000, 500), most = (int)(limit.rlim_cur / 2) - 100;
    return wanted < most ? wanted : most;
}

static void many_idle(void *arg)
{
    (void)arg;
    int n = idlers_possible();
    struct idler *idlers = calloc((size_t)n, sizeof *idlers);
    coir_fiber **f = calloc((size_t)n, sizeof(coir_fiber *));
    for (int i = 0; i < n; i++) {
        make_ends(UNIX_STREAM, idlers[i].ends);
        f[i] = spawn_apart(be_idle, &idlers[i]);
    }
    for (int i = 0; i < n; i++)
        until_parked(f[i]);
    EXPECT(comes_to_rest());
    for (int i = 0; i < n; i += 97) {
        EXPECT_EQ(write(idlers[i].ends[1], "x", 1), 1);
        while (!atomic_load(&idlers[i].bytes))
            coir_yield();
    }
    for (int i = 0; i < n; i++)
        close(idlers[i].ends[1]);
    for (int i = 0; i < n; i++) {
        join(f[i]);
        EXPECT_EQ(idlers[i].bytes, i % 97 == 0);
        EXPECT_EQ(idlers[i].ended, 1);
        EXPECT_EQ(coir_close(idlers[i].ends[0]), 0);
    }
    free(f);
    free(idlers);
}

static void idle_connections_cost_nothing(void **state)
{
    (void)state;
    run_on_each(many_idle, NULL);
}

enum { LORISES = 100, REQUESTS = 200, REQUEST = 8 };

struct counter {
    int loris[LORISES][2], fast[2];
    _Atomic long drops; /* rounds in which every slow peer has sent a byte */
    _Atomic int served, over;
};

struct desk {
    struct counter *counter;
    int fd;
    bool fast;
};

/* A request is eight bytes, whenever they come. */
static void *serve(void *arg)
{
    struct desk *d = arg;
    char buf[REQUEST];
    while (coir_read_full(d->fd, buf, REQUEST) == REQUEST) {
        if (coir_write_all(d->fd, buf, REQUEST) < 0) {
            EXPECT(atomic_load(&d->counter->over)); /* it is gone */
            break;
        }
        if (!d->fast)
            atomic_fetch_add(&d->counter->served, 1);
    }
    return NULL;
}

/* A byte from each, again and again. */
static void *drip(void *arg)
{
    struct counter *c = arg;
    char sink[64];
    while (!atomic_load(&c->over)) {
        for (int i = 0; i < LORISES; i++) {
            EXPECT_EQ(coir_write(c->loris[i][1], "s", 1), 1);
            recv(c->loris[i][1], sink, sizeof sink, MSG_DONTWAIT);
        }
        atomic_fetch_add(&c->drops, 1);
        coir_yield();
    }
    return NULL;
}

static void slow_and_fast(void *arg)
{
    enum { ROUNDS_EACH = 12 };
    static struct counter c;
    struct desk desks[LORISES + 1];
    coir_fiber *f[LORISES + 1];
    bool alone = *(const unsigned *)arg == 1;
    c = (struct counter){ .drops = 0 };
    for (int i = 0; i <= LORISES; i++) {
        int *ends = i < LORISES ? c.loris[i] : c.fast;
        make_ends(i % 2 ? TCP_STREAM : UNIX_STREAM, ends);
        desks[i] = (struct desk){ &c, ends[0], i == LORISES };
        f[i] = spawn_apart(serve, &desks[i]);
    }
    coir_fiber *dripping = spawn_apart(drip, &c);
    while (atomic_load(&c.drops) < 2 * REQUEST)
        coir_yield();
    long before = atomic_load(&c.drops);
    char buf[REQUEST] = "request";
    for (int i = 0; i < REQUESTS; i++) {
        EXPECT_EQ(coir_write_all(c.fast[1], buf, REQUEST), REQUEST);
        EXPECT_EQ(coir_read_full(c.fast[1], buf, REQUEST), REQUEST);
    }
    /* Alone on a worker they take turns: a request waits for a few of the others' rounds only. */
    EXPECT(!alone || atomic_load(&c.drops) - before <= REQUESTS * ROUNDS_EACH);
    EXPECT(atomic_load(&c.served) > 0); /* nor do slow ones starve */
    atomic_store(&c.over, 1);
    join(dripping);
    close(c.fast[1]);
    for (int i = 0; i < LORISES; i++)
        close(c.loris[i][1]);
    for (int i = 0; i <= LORISES; i++) {
        join(f[i]);
        EXPECT_EQ(coir_close(desks[i].fd), 0);
    }
}

static void slow_peers_do_not_hold_up_a_fast_one(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        run_on(*w, slow_and_fast, (void *)w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_of_cancels_loses_nothing),
        cmocka_unit_test(thousands_of_deadlines_are_set_and_taken_back),
        cmocka_unit_test(idle_connections_cost_nothing),
        cmocka_unit_test(slow_peers_do_not_hold_up_a_fast_one),
    };
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return RUN_ON_ALL_RUNGS(tests);
}
