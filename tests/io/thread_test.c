/* tests/io/thread_test.c - plain threads that wait in coir/io.h's calls: together with fibers,
 * across the end of a runtime, many at once.
 * SPDX-License-Identifier: MIT
 *
 * That each call means the same on a plain thread is shown by the other tests, whose bodies run as
 * threads too. Here every test has a process of its own, since the runtime of plain threads stays.
 * */
#include "calls_that_wait.h"

#include <sys/eventfd.h>

struct caller {
    struct waiting wait;
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int done;
    int64_t timeout_ns; /* 0: none */
    long result;
};

static void *call_as_thread(void *arg)
{
    struct caller *c = arg;
    EXPECT(coir_self() == NULL);
    atomic_store(&c->tid, gettid());
    COIR_TIMEOUT(c->timeout_ns ? c->timeout_ns : LONG)
        c->result = do_call(&c->wait);
    EXPECT(coir_deadline() == COIR_NEVER);
    atomic_store(&c->done, 1);
    return NULL;
}

static void start_caller(struct caller *c, enum call call, int64_t timeout_ns)
{
    *c = (struct caller){ .wait.call = call, .timeout_ns = timeout_ns };
    set_up(&c->wait);
    EXPECT_EQ(pthread_create(&c->thread, NULL, call_as_thread, c), 0);
}

static void until_asleep(struct caller *c)
{
    while (!atomic_load(&c->tid) || !thread_asleep(atomic_load(&c->tid)))
        nap();
    coir_sleep(COIR_MS(1)); /* a worker has its op */
}

static void finish_caller(struct caller *c)
{
    while (!atomic_load(&c->done))
        nap();
    pthread_join(c->thread, NULL);
    clean_up(&c->wait);
}

/* Each call, fed, timed out, or closed by somebody who is a fiber. */
static void fibers_serve_threads(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++)
        for (int way = 0; way < 3; way++) {
            struct caller c;
            if (way == 2 && (call == OPEN_READ || call == OPEN_WRITE))
                continue;
            start_caller(&c, (enum call)call, way == 1 ? COIR_MS(2) : 0);
            if (way != 1)
                until_asleep(&c);
            if (way == 0) {
                feed(&c.wait);
            } else if (way == 2) {
                EXPECT_EQ(coir_close(c.wait.ends[0]), 0);
                c.wait.ends[0] = -1;
            }
            while (!atomic_load(&c.done))
                nap();
            if (way == 0)
                check_data(&c.wait, c.result);
            else
                EXPECT_EQ(c.result, way == 1 ? -ETIMEDOUT : -EBADF);
            finish_caller(&c);
        }
}

static int with_fibers(void *arg)
{
    struct body body = { fibers_serve_threads, NULL };
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, body_on_fiber, &body), 0);
    return no_findings_status();
}

static void threads_and_fibers_serve_each_other(void **state)
{
    (void)state;
    run_in_child(with_fibers, NULL);
}

static void *close_by_thread(void *arg)
{
    struct waiting *w = arg;
    EXPECT_EQ(coir_close(w->ends[0]), 0);
    w->ends[0] = -1;
    return NULL;
}

static void *call_as_fiber(void *arg)
{
    struct caller *c = arg;
    c->result = do_call(&c->wait);
    return NULL;
}

static void threads_close_on_fibers(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++) {
        struct caller c = { .wait.call = (enum call)call };
        pthread_t closer;
        if (call == OPEN_READ || call == OPEN_WRITE)
            continue;
        set_up(&c.wait);
        coir_fiber *f = spawn_apart(call_as_fiber, &c);
        until_parked(f);
        until_submitted();
        EXPECT_EQ(pthread_create(&closer, NULL, close_by_thread, &c.wait), 0);
        join(f);
        pthread_join(closer, NULL);
        EXPECT_EQ(c.result, -EBADF);
        clean_up(&c.wait);
    }
}

static void a_thread_closes_on_fibers(void **state)
{
    (void)state;
    run_on_each(threads_close_on_fibers, NULL);
}

/* The runtime that has their ops ends. */
struct crossing {
    struct caller caller[CALLS];
    int64_t timeout_ns;
};

static void begin_crossing(void *arg)
{
    struct crossing *x = arg;
    for (int call = 0; call < CALLS; call++)
        if (call < ACCEPT || call >= POLL) {
            start_caller(&x->caller[call], (enum call)call, x->timeout_ns);
            until_asleep(&x->caller[call]);
        }
}

static void wait_for_callers(struct crossing *x, int way)
{
    for (int call = 0; call < CALLS; call++)
        if (call < ACCEPT || call >= POLL) {
            struct caller *c = &x->caller[call];
            while (!atomic_load(&c->done))
                nap();
            if (way == 0)
                check_data(&c->wait, c->result);
            else
                EXPECT_EQ(c->result, way == 1 ? -ETIMEDOUT : -EBADF);
            finish_caller(c);
        }
}

static int across_the_end(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (const unsigned *w = test_workers; *w; w++)
        for (int way = 0; way < 3; way++) {
            static struct crossing x;
            x = (struct crossing){ .timeout_ns = way == 1 ? COIR_MS(120) : 0 };
            EXPECT_EQ(fiber_test_run(*w, begin_crossing, &x), 0);
            for (int call = 0; call < CALLS; call++)
                if (way != 1 && (call < ACCEPT || call >= POLL)) {
                    struct caller *c = &x.caller[call];
                    EXPECT(!atomic_load(&c->done));
                    if (way == 0)
                        feed(&c->wait);
                    else
                        close_by_thread(&c->wait);
                }
            wait_for_callers(&x, way);
        }
    return no_findings_status();
}

static void a_runtime_may_end_meanwhile(void **state)
{
    (void)state;
    run_in_child(across_the_end, NULL);
}

enum { THREADS = 8, LAPS = 60, LAPS_A_RUN = 5 };

struct ring_of_threads {
    int ends[THREADS][2];
    pthread_t thread[THREADS];
    int laps;
    enum kind kind;
    bool paced; /* by runtimes: no more than LAPS_A_RUN laps for each that has begun */
    _Atomic int next, sum, finished, runs;
};

/* A byte goes round and round: each thread reads it from the left and writes it to the right. */
static void *pass_it_on(void *arg)
{
    struct ring_of_threads *r = arg;
    int me = atomic_fetch_add(&r->next, 1);
    int left = r->ends[me][0], right = r->ends[(me + 1) % THREADS][1];
    for (int lap = 0; lap < r->laps; lap++) {
        char c = 0;
        struct pollfd p = { left, POLLIN, 0 };
        while (r->paced && lap > LAPS_A_RUN * atomic_load(&r->runs))
            usleep(100);
        if (me == 0 && lap == 0)
            c = 'x';
        else if (lap % 3 == 0)
            EXPECT_EQ(coir_poll(&p, 1, 20000), 1);
        if (!c)
            EXPECT_EQ(coir_read(left, &c, 1), 1);
        EXPECT_EQ(c, 'x');
        EXPECT_EQ(coir_write(right, &c, 1), 1);
        atomic_fetch_add(&r->sum, 1);
    }
    atomic_fetch_add(&r->finished, 1);
    return NULL;
}

static void start_ring(struct ring_of_threads *r)
{
    for (int i = 0; i < THREADS; i++)
        make_ends(r->kind, r->ends[i]);
    for (int i = 0; i < THREADS; i++)
        EXPECT_EQ(pthread_create(&r->thread[i], NULL, pass_it_on, r), 0);
}

static void finish_ring(struct ring_of_threads *r)
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(r->thread[i], NULL);
    EXPECT_EQ(r->sum, THREADS * r->laps);
    for (int i = 0; i < THREADS; i++)
        close_ends(r->ends[i]);
}

static int eight_alone(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (int kind = 0; kind < KINDS; kind++) {
        struct ring_of_threads r = { .kind = (enum kind)kind, .laps = test_scaled(LAPS, 10) };
        start_ring(&r);
        finish_ring(&r);
    }
    return no_findings_status();
}

static void *tick_until_finished(void *arg)
{
    struct ring_of_threads *r = arg;
    while (atomic_load(&r->finished) < THREADS)
        EXPECT_EQ(coir_sleep(COIR_US(300)), 0);
    return NULL;
}

static void run_besides(void *arg)
{
    join(spawn_apart(tick_until_finished, arg));
}

static int eight_with_a_runtime(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (const unsigned *w = test_workers; *w; w++) {
        struct ring_of_threads r = { .kind = UNIX_STREAM, .laps = test_scaled(LAPS, 10) };
        start_ring(&r);
        EXPECT_EQ(fiber_test_run(*w, run_besides, &r), 0);
        finish_ring(&r);
    }
    return no_findings_status();
}

static void run_shortly(void *arg)
{
    struct ring_of_threads *r = arg;
    atomic_fetch_add(&r->runs, 1);
    EXPECT_EQ(coir_sleep(COIR_US(500)), 0);
}

/* Runtimes come and go all the time while the threads go on. */
static int eight_with_many_runtimes(void *arg)
{
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (int kind = 0; kind < KINDS; kind++) {
        struct ring_of_threads r = { .kind = (enum kind)kind,
                                     .laps = test_scaled(LAPS * 2, 10),
                                     .paced = true };
        start_ring(&r);
        while (atomic_load(&r.finished) < THREADS)
            EXPECT_EQ(fiber_test_run(test_workers[r.runs % 3], run_shortly, &r), 0);
        finish_ring(&r);
        EXPECT(r.runs > 1);
    }
    return no_findings_status();
}

static void eight_threads_at_once(void **state)
{
    (void)state;
    run_in_child(eight_alone, NULL);
    run_in_child(eight_with_a_runtime, NULL);
    run_in_child(eight_with_many_runtimes, NULL);
}

/* A deadline that has passed, and one that comes during a call, without any runtime around. */
static int deadlines_alone(void *arg)
{
    char c;
    int ends[2];
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    make_ends(PIPE, ends);
    EXPECT_EQ(write(ends[1], "x", 1), 1);
    struct pollfd p = { ends[0], POLLIN, 0 };
    COIR_TIMEOUT(-1) {
        EXPECT_FAILS(coir_read(ends[0], &c, 1), ETIMEDOUT);
        EXPECT_FAILS(coir_poll(&p, 1, 0), ETIMEDOUT);
        EXPECT_FAILS(coir_open("/dev/null", O_RDONLY), ETIMEDOUT);
        COIR_SHIELD(LONG)
            EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    }
    for (int i = 1; i < 4; i++) {
        int64_t before_ns = coir_now();
        COIR_TIMEOUT(COIR_MS(i * 5)) {
            EXPECT_FAILS(coir_read(ends[0], &c, 1), ETIMEDOUT);
            EXPECT(coir_now() - before_ns >= COIR_MS(i * 5));
            EXPECT_EQ(coir_close(dup(ends[0])), 0);
        }
    }
    EXPECT_EQ(strcmp(coir_io_engine(), rung->epoll ? "epoll" : "uring"), 0); /* they had to wait */
    EXPECT_EQ(write(ends[1], "y", 1), 1);
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    EXPECT_EQ(c, 'y');
    return no_findings_status();
}

static void a_thread_has_its_own_deadline(void **state)
{
    (void)state;
    run_in_child(deadlines_alone, NULL);
}

/* What was sent by TCP takes a moment to arrive. */
static int arrived(int fd)
{
    return poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, -1) == 1 ? fd : -1;
}

/* Through a socket: everything that a call can do at once. */
static void pass_at_once(int from, int to)
{
    char buf[8] = { 0 };
    struct iovec two[2] = { { buf, 2 }, { buf + 2, 2 } };
    EXPECT_FAILS(coir_recv(from, buf, 4, MSG_DONTWAIT), EAGAIN);
    EXPECT_EQ(coir_write(to, "abcd", 4), 4);
    EXPECT_EQ(coir_read(arrived(from), buf, sizeof buf), 4);
    EXPECT_EQ(memcmp(buf, "abcd", 4), 0);
    EXPECT_EQ(coir_send(to, "efgh", 4, 0), 4);
    EXPECT_EQ(coir_recv(arrived(from), buf, sizeof buf, MSG_PEEK), 4);
    EXPECT_EQ(coir_recv(from, buf, sizeof buf, 0), 4);
    EXPECT_EQ(memcmp(buf, "efgh", 4), 0);
    EXPECT_EQ(coir_writev(to, two, 2), 4);
    EXPECT_EQ(coir_readv(arrived(from), two, 2), 4);
    EXPECT_EQ(memcmp(buf, "efgh", 4), 0);
    EXPECT_FAILS(coir_read(from + 1000, buf, 1), EBADF);
    expect_bad_pointers();
    EXPECT_FAILS(coir_write(to, (char *)8, 4), EFAULT);
    expect_no_more_bad_pointers();
    fill(to);
    EXPECT_FAILS(coir_send(to, "x", 1, MSG_DONTWAIT), EAGAIN);
}

static int without_a_runtime(void *arg)
{
    char c = 'x';
    (void)arg;
    alarm(WATCHDOG_SECONDS);
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        int ends[2];
        make_ends((enum kind)kind, ends);
        pass_at_once(ends[0], ends[1]);
        EXPECT_EQ(coir_close(ends[0]), 0);
        EXPECT_EQ(poll(&(struct pollfd){ ends[1], 0, 0 }, 1, -1), 1); /* TCP needs a moment */
        EXPECT_EQ(coir_write(ends[1], &c, 1), -1);
        EXPECT(errno == EPIPE || errno == ECONNRESET);
        EXPECT_FAILS(coir_write(ends[1], &c, 1), EPIPE); /* and no SIGPIPE */
        EXPECT_EQ(coir_close(ends[1]), 0);
    }
    EXPECT_EQ(threads_left(1), 1); /* no worker has started */
    return no_findings_status();
}

static void what_need_not_wait_needs_no_runtime(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("knows no preadv2, without which a read needs one");
    run_in_child(without_a_runtime, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_fibers_serve_each_other),
        cmocka_unit_test(a_thread_closes_on_fibers),
        cmocka_unit_test(a_runtime_may_end_meanwhile),
        cmocka_unit_test(eight_threads_at_once),
        cmocka_unit_test(a_thread_has_its_own_deadline),
        cmocka_unit_test(what_need_not_wait_needs_no_runtime),
    };
    return RUN_AT_HOME(tests);
}
