/* tests/io/end_test.c - coir_run ends while calls are in flight: they are ended first, nothing is
 * read or written afterwards, and everything can be used again.
 * SPDX-License-Identifier: MIT */
#include "calls_that_wait.h"

#include <sys/stat.h>

struct left {
    struct waiting wait;
    long result;
    _Atomic int ended;
};

struct crew {
    struct left left[CALLS];
    int stubborn;
    int64_t drain_ns;
};

/* One Unix name and one FIFO are there at a time: of the calls that use them only one. A fiber that
 * is never resumed keeps its descriptors, and opening a FIFO for reading has one of its own. */
static int takes_part(const struct crew *c, int call)
{
    return call != CONNECT && call != (c->stubborn ? OPEN_READ : OPEN_WRITE);
}

static void *be_left(void *arg)
{
    struct left *l = arg;
    l->result = do_call(&l->wait);
    atomic_store(&l->ended, 1);
    return NULL;
}

/* Does not hear of the end. */
static void *be_left_stubbornly(void *arg)
{
    struct left *l = arg;
    COIR_SHIELD(LONG)
        l->result = do_call(&l->wait);
    atomic_store(&l->ended, 1);
    return NULL;
}

static void leave_them(void *arg)
{
    struct crew *c = arg;
    coir_attr attr = { .flags = COIR_DETACHED | COIR_SPREAD };
    if (rung->interrupt_every)
        play_old_kernel(rung->interrupt_every);
    for (int call = 0; call < CALLS; call++) {
        struct left *l = &c->left[call];
        if (!takes_part(c, call))
            continue;
        l->wait.call = (enum call)call;
        set_up(&l->wait);
        coir_fiber *f = coir_spawn_with(&attr, c->stubborn ? be_left_stubbornly : be_left, l);
        until_parked(f);
    }
    until_submitted();
    coir_sleep(COIR_MS(2));
}

static void run_and_leave(unsigned workers, struct crew *c)
{
    coir_options options = { .workers = workers, .drain_ns = c->drain_ns };
    int64_t before_ns = coir_now();
    assert_int_equal(coir_run(leave_them, c, &options), 0);
    assert_true(coir_now() - before_ns < LONG / 2);
    assert_no_findings();
}

static void check_unused(struct crew *c)
{
    for (int call = 0; call < CALLS; call++) {
        struct waiting *w = &c->left[call].wait;
        if (!takes_part(c, call))
            continue;
        if (call < WRITE) {
            char got[ROOM];
            assert_int_equal(write(w->ends[1], "01234", DATA), DATA);
            assert_int_equal(recv(w->ends[0], got, ROOM, MSG_DONTWAIT), DATA);
            for (int i = 0; i < ROOM; i++)
                assert_int_equal(w->buf[i], GUARD);
        } else if (writes((enum call)call)) {
            feed(w);
            usleep(100);
            char c1;
            assert_int_equal(recv(w->ends[1], &c1, 1, MSG_DONTWAIT), -1);
        }
        if (w->ends[0] >= 0) {
            assert_int_equal(coir_close(w->ends[0]), 0); /* from a plain thread, and at once */
            w->ends[0] = -1;
        }
        clean_up(w);
    }
}

static void calls_in_flight_are_ended(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        static struct crew c;
        int fds = test_fds_open();
        c = (struct crew){ .stubborn = 0 };
        run_and_leave(*n, &c);
        for (int call = 0; call < CALLS; call++)
            if (takes_part(&c, call)) {
                assert_int_equal(c.left[call].ended, 1);
                assert_int_equal(c.left[call].result, -ECANCELED);
            }
        check_unused(&c);
        assert_int_equal(test_fds_open(), fds);
    }
}

/* Those that do not hear are given their time, then their ops are ended all the same; they are
 * never resumed. */
static void deaf_calls_are_ended_too(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        static struct crew c;
        int fds = test_fds_open();
        c = (struct crew){ .stubborn = 1, .drain_ns = COIR_MS(10) };
        run_and_leave(*n, &c);
        for (int call = 0; call < CALLS; call++)
            if (takes_part(&c, call))
                assert_int_equal(c.left[call].ended, 0);
        check_unused(&c);
        assert_int_equal(test_fds_open(), fds);
    }
}

static void *closed_at_the_end(void *arg)
{
    struct left *l = arg;
    l->result = do_call(&l->wait);
    return NULL;
}

/* Closing and ending at the same time. */
static void close_and_leave(void *arg)
{
    struct left *l = arg;
    coir_attr attr = { .flags = COIR_DETACHED | COIR_SPREAD };
    l->wait.call = READ;
    set_up(&l->wait);
    coir_fiber *f = coir_spawn_with(&attr, closed_at_the_end, l);
    until_parked(f);
    EXPECT_EQ(coir_close(l->wait.ends[0]), 0);
    l->wait.ends[0] = -1;
    clean_up(&l->wait);
}

static void a_close_may_be_the_last(void **state)
{
    (void)state;
    for (int i = 0; i < test_scaled(60, 6); i++) {
        static struct left l;
        l = (struct left){ .result = 0 };
        run_on(test_workers[i % 3], close_and_leave, &l);
        assert_int_equal(l.result, -EBADF);
    }
}

static void a_little_of_everything(void *arg)
{
    int ends[2];
    char c = 0;
    make_ends(*(enum kind *)arg, ends);
    EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
    EXPECT_EQ(coir_read(ends[0], &c, 1), 1);
    struct pollfd p = { ends[0], POLLIN, 0 };
    EXPECT_EQ(coir_poll(&p, 1, 0), 0);
    int fd = coir_open("/dev/null", O_RDWR);
    EXPECT_EQ(coir_fsync(fd) < 0 ? errno : 0, EINVAL);
    EXPECT_EQ(coir_close(fd), 0);
    EXPECT_EQ(coir_close(ends[0]), 0);
    EXPECT_EQ(coir_close(ends[1]), 0);
}

static void it_runs_again_and_again(void **state)
{
    (void)state;
    int maps = 0, threads = test_threads();
    for (int i = 0; i < test_scaled(90, 12); i++) {
        enum kind kind = (enum kind)(i % KINDS);
        run_on(test_workers[i / KINDS % 3], a_little_of_everything, &kind);
        assert_in_range(threads_left(threads), 1, threads);
        if (i == 11)
            maps = test_maps();
    }
    if (!TEST_SANITIZED) /* which maps as it likes */
        assert_true(test_maps() <= maps + 2);
}

/* Calls on threads that nobody can interrupt: their end is all that the worker waits for. */
static void *ask_for_ever(void *arg)
{
    struct stat st;
    (void)arg;
    COIR_SHIELD(LONG)
        while (coir_stat("/dev/null", &st) == 0)
            ;
    return NULL;
}

static void leave_askers(void *arg)
{
    coir_attr attr = { .flags = COIR_DETACHED | COIR_SPREAD };
    (void)arg;
    for (int i = 0; i < 4; i++)
        EXPECT(coir_spawn_with(&attr, ask_for_ever, NULL) != NULL);
    coir_sleep(COIR_US(300));
}

static void the_last_calls_on_threads_are_awaited(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++)
        for (int i = 0; i < test_scaled(8, 3); i++) {
            coir_options options = { .workers = *n, .drain_ns = 1000 };
            assert_int_equal(coir_run(leave_askers, NULL, &options), 0);
            assert_no_findings();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_in_flight_are_ended),
        cmocka_unit_test(deaf_calls_are_ended_too),
        cmocka_unit_test(a_close_may_be_the_last),
        cmocka_unit_test(it_runs_again_and_again),
        cmocka_unit_test(the_last_calls_on_threads_are_awaited),
    };
    return RUN_AT_HOME(tests);
}
