/* tests/io/ring_test.c - the ring under load: more ops than its queues hold, many completions at
 * once, few enters, no lost kick.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include "io/op.h"

#include <stdlib.h>
#include <sys/eventfd.h>

enum { SLEEPERS = 5000, POLLED = 5000, AT_ONCE = 100 };

static uint64_t enters(void)
{
    return atomic_load(&coir__worker_self()->counters.enters);
}

struct sleepers {
    int fd;
    _Atomic int seen[256], woken;
};

static void *read_one_byte(void *arg)
{
    struct sleepers *s = arg;
    unsigned char c;
    EXPECT_EQ(coir_read(s->fd, &c, 1), 1);
    atomic_fetch_add(&s->seen[c], 1);
    atomic_fetch_add(&s->woken, 1);
    return NULL;
}

/* Many more reads in flight than the submission queue has entries; then all are served at once. */
static void many_sleep(void *arg)
{
    (void)arg;
    struct sleepers s = { 0 };
    int n = test_scaled(SLEEPERS, 1000), ends[2];
    coir_fiber **f = calloc((size_t)n, sizeof *f);
    unsigned char *bytes = malloc((size_t)n);
    make_ends(PIPE, ends);
    s.fd = ends[0];
    for (int i = 0; i < n; i++) {
        f[i] = spawn_apart(read_one_byte, &s);
        bytes[i] = (unsigned char)i;
    }
    for (int i = 0; i < n; i++)
        until_parked(f[i]);
    until_submitted();
    EXPECT_EQ(write(ends[1], bytes, (size_t)n), n);
    for (int i = 0; i < n; i++)
        join(f[i]);
    for (int i = 0; i < 256; i++)
        EXPECT_EQ(s.seen[i], n / 256 + (i < n % 256));
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
    close_ends(ends);
    free(bytes);
    free(f);
}

static void more_ops_than_the_queue_holds(void **state)
{
    (void)state;
    run_on_each(many_sleep, NULL);
}

static int raise_fd_limit(int wanted)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)wanted) {
        limit.rlim_cur = limit.rlim_max < (rlim_t)wanted ? limit.rlim_max : (rlim_t)wanted;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return limit.rlim_cur < (rlim_t)wanted ? (int)limit.rlim_cur : wanted;
}

struct big_poll {
    struct pollfd *fds;
    int n;
};

static void *poll_all(void *arg)
{
    struct big_poll *p = arg;
    EXPECT(coir_poll(p->fds, (nfds_t)p->n, -1) > 0); /* it may look while the write happens */
    EXPECT_EQ(coir_poll(p->fds, (nfds_t)p->n, 0), p->n / 2);
    for (int i = 0; i < p->n; i++)
        EXPECT_EQ(p->fds[i].revents, i % 2 ? POLLIN : 0);
    return NULL;
}

/* One poll makes more completions than the completion queue holds: those of half of its ops at
 * once, and those of as many cancels. */
static void poll_overflows(void *arg)
{
    struct big_poll *p = arg;
    int event[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
    const uint64_t one = 1;
    uint64_t value;
    p->fds = calloc((size_t)p->n, sizeof *p->fds);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < p->n; i++)
            p->fds[i] = (struct pollfd){ event[i % 2], POLLIN, 7 };
        coir_fiber *f = spawn_apart(poll_all, p);
        until_parked(f);
        until_submitted();
        EXPECT_EQ(coir_write(event[1], &one, sizeof one), 8);
        join(f);
        EXPECT_EQ(coir_read(event[1], &value, sizeof value), 8);
    }
    EXPECT_EQ(coir_poll(p->fds, (nfds_t)p->n, 2), 0); /* and all of them cancelled */
    EXPECT_EQ(coir__ops_in_flight(coir__worker_self()), 0);
    close_ends(event);
    free(p->fds);
}

static void more_completions_than_the_queue_holds(void **state)
{
    (void)state;
    struct big_poll p = { .n = raise_fd_limit(POLLED) / 2 * 2 };
    run_on_each(poll_overflows, &p);
}

/* The kernel brings out 20 deferred completions in an enter that does not wait: that must not make
 * many ticks of one. */
static void all_at_once(void *arg)
{
    (void)arg;
    struct sleepers s = { 0 };
    coir_fiber *f[AT_ONCE];
    int ends[2];
    char bytes[AT_ONCE] = "";
    make_ends(PIPE, ends);
    s.fd = ends[0];
    for (int i = 0; i < AT_ONCE; i++)
        f[i] = coir_spawn(read_one_byte, &s);
    for (int i = 0; i < AT_ONCE; i++)
        until_parked(f[i]);
    until_submitted();
    uint32_t tick = coir__worker_self()->tick;
    EXPECT_EQ(write(ends[1], bytes, AT_ONCE), AT_ONCE);
    while (atomic_load(&s.woken) < AT_ONCE)
        coir_yield();
    /* 32 fibers run in a tick, so 4 are needed for these alone. */
    EXPECT(coir__worker_self()->tick - tick <= AT_ONCE / COIR__TICK_FIBERS + 4);
    for (int i = 0; i < AT_ONCE; i++)
        join(f[i]);
    close_ends(ends);
}

static void many_completions_take_few_ticks(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, so that each completion is a thread's");
    run_on(1, all_at_once, NULL);
}

static void idle(void *arg)
{
    (void)arg;
    uint64_t before = enters();
    uint32_t tick = coir__worker_self()->tick;
    EXPECT_EQ(coir_sleep(COIR_MS(100)), 0);
    EXPECT(enters() - before <= 4);
    EXPECT(coir__worker_self()->tick - tick <= 4);
}

/* Fibers that do no I/O cost no enters. */
static void compute(void *arg)
{
    (void)arg;
    uint64_t before = enters();
    for (int i = 0; i < 10000; i++)
        coir_yield();
    EXPECT(enters() - before <= 2);
}

struct pair {
    int ends[2][2];
    int laps;
};

static void *echo_pair(void *arg)
{
    struct pair *p = arg;
    char c;
    for (int i = 0; i < p->laps; i++) {
        EXPECT_EQ(coir_read(p->ends[0][0], &c, 1), 1);
        EXPECT_EQ(coir_write(p->ends[1][1], &c, 1), 1);
    }
    return NULL;
}

static void *play_pair(void *arg)
{
    struct pair *p = arg;
    char c = 'x';
    for (int i = 0; i < p->laps; i++) {
        EXPECT_EQ(coir_write(p->ends[0][1], &c, 1), 1);
        EXPECT_EQ(coir_read(p->ends[1][0], &c, 1), 1);
    }
    return NULL;
}

/* However many do I/O, a tick enters the kernel about once. */
static void load(void *arg)
{
    enum { PAIRS = 24 };
    struct pair pair[PAIRS];
    coir_fiber *f[2 * PAIRS];
    (void)arg;
    for (int i = 0; i < PAIRS; i++) {
        pair[i].laps = test_scaled(200, 20);
        make_ends(UNIX_STREAM, pair[i].ends[0]);
        make_ends(UNIX_STREAM, pair[i].ends[1]);
    }
    struct coir__worker *w = coir__worker_self();
    uint64_t before = enters(), ops = atomic_load(&w->counters.ops);
    uint32_t tick = w->tick;
    for (int i = 0; i < PAIRS; i++) {
        f[2 * i] = coir_spawn(echo_pair, &pair[i]);
        f[2 * i + 1] = coir_spawn(play_pair, &pair[i]);
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        join(f[i]);
    uint64_t ticks = w->tick - tick, entered = enters() - before;
    EXPECT(entered <= ticks + ticks / 4 + 4);
    EXPECT(atomic_load(&w->counters.ops) - ops > 8 * entered);
    for (int i = 0; i < PAIRS; i++) {
        close_ends(pair[i].ends[0]);
        close_ends(pair[i].ends[1]);
    }
}

static void enters_are_few(void **state)
{
    (void)state;
    run_on(1, idle, NULL);
    run_on(1, compute, NULL);
    if (!rung->interrupt_every) /* there an op takes several */
        run_on(1, load, NULL);
}

struct kicker {
    int ready, stop[2];
    int rounds;
};

/* Each of these calls has to wake a worker that is asleep, or on its way to be. */
static void *kick_often(void *arg)
{
    struct kicker *k = arg;
    struct pollfd p = { k->ready, POLLIN, 0 };
    char c;
    uint32_t delay = 1;
    for (int i = 0; i < k->rounds; i++) {
        COIR_TIMEOUT(LONG)
            EXPECT_EQ(coir_recv(k->ready, &c, 1, MSG_PEEK), 1);
        delay = delay * 1103515245 + 12345;
        for (volatile uint32_t spin = 0; spin < (delay >> 16) % 2000; spin++)
            ;
    }
    EXPECT_EQ(coir_poll(&p, 1, -1), 1);
    EXPECT_EQ(write(k->stop[1], "x", 1), 1);
    return NULL;
}

static void be_kicked(void *arg)
{
    struct kicker *k = arg;
    char c;
    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, kick_often, k), 0);
    EXPECT_EQ(coir_read(k->stop[0], &c, 1), 1);
    pthread_join(thread, NULL);
}

static void no_kick_is_lost(void **state)
{
    (void)state;
    struct kicker k = { .rounds = test_scaled(2000, 100) };
    int ends[2];
    make_ends(UNIX_STREAM, ends);
    make_ends(PIPE, k.stop);
    k.ready = ends[0];
    assert_int_equal(write(ends[1], "x", 1), 1);
    run_on_each(be_kicked, &k);
    close_ends(ends);
    close_ends(k.stop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_ops_than_the_queue_holds),
        cmocka_unit_test(more_completions_than_the_queue_holds),
        cmocka_unit_test(many_completions_take_few_ticks),
        cmocka_unit_test(enters_are_few),
        cmocka_unit_test(no_kick_is_lost),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
