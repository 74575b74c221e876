/* tests/io/select_test.c - descriptors among other things to wait for.
 * SPDX-License-Identifier: MIT
 *
 * Method: pipes, in fibers of several workers and in plain threads. Whatever ends the select, the
 * ops that it had in flight have to be over: nothing is in flight when the runtime is at rest, and
 * closing the descriptor does not wait. */
#include "kit.h"
#include "support/fiber_test.h"

#include <pthread.h>

enum { PIPES = 5 };

struct pipes {
    int ends[PIPES][2];
    coir_chan *chan;
    int one;
};

static void open_all(struct pipes *p)
{
    for (int i = 0; i < PIPES; i++)
        EXPECT_EQ(pipe(p->ends[i]), 0);
    p->chan = coir_chan_new(sizeof(int), 1);
    p->one = 1;
}

/* Without a wait, when nothing is in flight. */
static void close_all(struct pipes *p)
{
    for (int i = 0; i < PIPES; i++) {
        EXPECT_EQ(coir_close(p->ends[i][0]), 0);
        EXPECT_EQ(coir_close(p->ends[i][1]), 0);
    }
    coir_chan_free(p->chan);
}

/* The read ends of n pipes, and the channel behind them. */
static void make_cases(struct pipes *p, coir_case *cases, int n, int *place)
{
    for (int i = 0; i < n; i++)
        cases[i] = COIR_CASE_FD(p->ends[i][0], POLLIN);
    cases[n] = COIR_CASE_RECV(p->chan, place);
}

static void *write_soon(void *arg)
{
    coir_sleep(COIR_MS(2));
    EXPECT_EQ(write(*(int *)arg, "x", 1), 1);
    return NULL;
}

static void *send_soon(void *arg)
{
    struct pipes *p = arg;
    coir_sleep(COIR_MS(2));
    EXPECT_EQ(coir_chan_send(p->chan, &p->one), 0);
    return NULL;
}

static void *close_soon(void *arg)
{
    coir_sleep(COIR_MS(2));
    EXPECT_EQ(coir_close(*(int *)arg), 0);
    return NULL;
}

/* n descriptors: on the stack, or more. */
static void ready_and_not(struct pipes *p, int n)
{
    coir_case cases[PIPES + 1];
    int place = 0;
    char byte;
    make_cases(p, cases, n, &place);
    EXPECT_FAILS(coir_select(cases, (size_t)n + 1, 0), ETIMEDOUT);
    EXPECT_FAILS(coir_select(cases, (size_t)n + 1, COIR_MS(1)), ETIMEDOUT);
    for (int i = 0; i < n; i++) {
        EXPECT_EQ(write(p->ends[i][1], "x", 1), 1);
        EXPECT_EQ(coir_select(cases, (size_t)n + 1, i % 2 ? 0 : LONG), i);
        EXPECT_EQ(cases[i].result, POLLIN);
        EXPECT_EQ(cases[i].error, 0);
        EXPECT_EQ(read(p->ends[i][0], &byte, 1), 1);
    }
    for (int i = 0; i < n; i++) {
        coir_fiber *f = coir_spawn(write_soon, &p->ends[i][1]);
        EXPECT_EQ(coir_select(cases, (size_t)n + 1, LONG), i);
        EXPECT_EQ(cases[i].result, POLLIN);
        join(f);
        EXPECT_EQ(read(p->ends[i][0], &byte, 1), 1);
    }
    coir_fiber *f = coir_spawn(send_soon, p);
    EXPECT_EQ(coir_select(cases, (size_t)n + 1, LONG), n);
    EXPECT_EQ(cases[n].result, 0);
    EXPECT_EQ(place, 1);
    join(f);
}

static void *use_pipes(void *arg)
{
    struct pipes p;
    open_all(&p);
    ready_and_not(&p, 1);
    ready_and_not(&p, 2);
    ready_and_not(&p, PIPES);
    close_all(&p);
    return arg;
}

struct both {
    void *(*fn)(void *);
    _Atomic int ended;
};

static void *run_as_thread(void *arg)
{
    struct both *b = arg;
    b->fn(NULL);
    b->ended = 1;
    return NULL;
}

/* As a fiber, also on another worker, and as a plain thread, whose ops a worker runs meanwhile. */
static void both_ways(void *arg)
{
    struct both *b = arg;
    pthread_t thread;
    b->fn(NULL);
    join(spawn_apart(b->fn, NULL));
    pthread_create(&thread, NULL, run_as_thread, b);
    while (!b->ended)
        nap();
    pthread_join(thread, NULL);
}

static void everywhere(void *(*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++) {
        struct both b = { .fn = fn };
        assert_int_equal(fiber_test_run(*w, both_ways, &b), 0);
    }
    assert_no_findings();
}

static void a_descriptor_or_a_channel_whichever_is_first(void **state)
{
    (void)state;
    everywhere(use_pipes);
}

static void *bad_and_closed(void *arg)
{
    struct pipes p;
    coir_case cases[PIPES + 1];
    int place;
    open_all(&p);
    coir_case never[] = { COIR_CASE_FD(-1, POLLIN), COIR_CASE_FD(-7, POLLIN) };
    EXPECT_FAILS(coir_select(never, 2, COIR_MS(1)), ETIMEDOUT);
    coir_case bad[] = { COIR_CASE_FD(-1, POLLIN), COIR_CASE_FD(1 << 20, POLLIN) };
    EXPECT_EQ(coir_select(bad, 2, LONG), 1);
    EXPECT_EQ(bad[1].result, POLLNVAL);
    EXPECT_EQ(bad[1].error, EBADF);
    for (int n = 1; n <= PIPES; n++) {
        int fd = dup(p.ends[0][0]);
        make_cases(&p, cases, n, &place);
        cases[n - 1] = COIR_CASE_FD(fd, POLLIN);
        coir_fiber *f = coir_spawn(close_soon, &fd);
        EXPECT_EQ(coir_select(cases, (size_t)n + 1, LONG), n - 1);
        EXPECT_EQ(cases[n - 1].result, POLLNVAL);
        EXPECT_EQ(cases[n - 1].error, EBADF);
        join(f);
    }
    close_all(&p);
    return arg;
}

static void a_descriptor_that_is_closed_meanwhile_is_told(void **state)
{
    (void)state;
    everywhere(bad_and_closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_or_a_channel_whichever_is_first),
        cmocka_unit_test(a_descriptor_that_is_closed_meanwhile_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
