/* tests/io/select_test.c - descriptors among the other things that a select waits for.
 * SPDX-License-Identifier: MIT
 *
 * Whatever ends a select, the ops that it had in flight have to be over when it returns: nothing is
 * in flight then, and coir_close does not wait. */
#include "sides.h"

#include "io/op.h"

#include <sys/eventfd.h>

enum { MANY = 60 };

static const uint64_t one = 1;

struct scene {
    int n; /* descriptors */
    int fds[MANY];
    coir_chan *chan;
    coir_case cases[MANY + 1]; /* and the channel */
    int64_t timeout_ns;
    int place, index, err;
    bool crowded; /* others have ops in flight on this worker */
};

static void make_scene(struct scene *s, int n)
{
    *s = (struct scene){ .n = n, .chan = coir_chan_new(sizeof(int), 0), .timeout_ns = LONG };
    for (int i = 0; i < n; i++) {
        s->fds[i] = eventfd(0, EFD_CLOEXEC);
        s->cases[i] = COIR_CASE_FD(s->fds[i], POLLIN);
    }
    s->cases[n] = COIR_CASE_RECV(s->chan, &s->place);
}

static uint64_t left_in_flight(void)
{
    return coir_self() ? coir__ops_in_flight(coir__worker_self()) : 0;
}

static void end_scene(struct scene *s)
{
    for (int i = 0; i < s->n; i++)
        EXPECT_EQ(coir_close(s->fds[i]), 0);
    coir_chan_free(s->chan);
}

static void select_once(void *arg)
{
    struct scene *s = arg;
    s->index = coir_select(s->cases, (size_t)s->n + 1, s->timeout_ns);
    s->err = s->index < 0 ? errno : 0;
    EXPECT(s->crowded || left_in_flight() == 0);
}

static void expect_fd(struct scene *s, int index)
{
    uint64_t value;
    EXPECT_EQ(s->index, index);
    EXPECT_EQ(s->cases[index].result, POLLIN);
    EXPECT_EQ(s->cases[index].error, 0);
    EXPECT_EQ(coir_read(s->fds[index], &value, 8), 8); /* it is as it was */
    EXPECT_EQ(value, 1);
}

static const int counts[] = { 1, 2, 3, MANY };

/* Ready before the select, or only while it waits. */
static void which_is_first(void *arg)
{
    (void)arg;
    for (int c = 0; c < 4; c++)
        for (int waits = 0; waits < 2; waits++) {
            struct scene s;
            struct side side;
            int ready = counts[c] * 2 / 3, two = 2;
            make_scene(&s, counts[c]);
            if (waits)
                side_start(&side, select_once, &s);
            if (waits)
                until_waiting(&side);
            EXPECT_EQ(write(s.fds[ready], &one, 8), 8); /* in flight is the select's alone */
            if (waits)
                side_wait(&side);
            else
                select_once(&s);
            expect_fd(&s, ready);

            s.timeout_ns = waits ? -1 : COIR_NEVER;
            side_start(&side, select_once, &s);
            if (waits)
                until_waiting(&side);
            EXPECT_EQ(coir_chan_send(s.chan, &two), 0);
            side_wait(&side);
            EXPECT_EQ(s.index, s.n);
            EXPECT_EQ(s.cases[s.n].result, 0);
            EXPECT_EQ(s.place, 2);
            end_scene(&s);
        }
}

static void times_out(void *arg)
{
    (void)arg;
    for (int c = 0; c < 4; c++) {
        struct scene s;
        make_scene(&s, counts[c]);
        for (int i = 0; i < 4; i++) {
            int64_t start_ns = coir_now();
            s.timeout_ns = i == 0 ? 0 : i == 3 ? COIR_NEVER : COIR_MS(2);
            COIR_TIMEOUT(i == 3 ? COIR_MS(2) : LONG)
                select_once(&s);
            EXPECT_EQ(s.index, -1);
            EXPECT_EQ(s.err, ETIMEDOUT);
            EXPECT(i == 0 || coir_now() - start_ns >= COIR_MS(2));
        }
        EXPECT_FAILS(coir_chan_trysend(s.chan, &s.place), EAGAIN);
        end_scene(&s);
    }
}

static void *select_in_fiber(void *arg)
{
    select_once(arg);
    return NULL;
}

static void is_cancelled(void *arg)
{
    (void)arg;
    for (int c = 0; c < 4; c++) {
        struct scene s;
        make_scene(&s, counts[c]);
        coir_fiber *f = spawn_apart(select_in_fiber, &s);
        until_parked(f);
        until_submitted();
        EXPECT_EQ(coir_cancel(f), 0);
        join(f);
        EXPECT_EQ(s.index, -1);
        EXPECT_EQ(s.err, ECANCELED);
        EXPECT_FAILS(coir_chan_trysend(s.chan, &s.place), EAGAIN);
        end_scene(&s);
    }
}

static void bad_and_closed(void *arg)
{
    (void)arg;
    coir_case never[] = { COIR_CASE_FD(-1, POLLIN), COIR_CASE_FD(-7, POLLIN) };
    coir_case bad[] = { COIR_CASE_FD(-1, POLLIN), COIR_CASE_FD(1 << 30, 0) };
    EXPECT_FAILS(coir_select(never, 2, 0), ETIMEDOUT);
    EXPECT_FAILS(coir_select(never, 2, COIR_MS(1)), ETIMEDOUT);
    EXPECT_EQ(coir_select(bad, 2, -1), 1);
    EXPECT_EQ(bad[1].result, POLLNVAL);
    EXPECT_EQ(bad[1].error, EBADF);
    for (int c = 0; c < 4; c++) {
        struct scene s;
        struct side side;
        int last = counts[c] - 1;
        make_scene(&s, counts[c]);
        side_start(&side, select_once, &s);
        until_waiting(&side);
        EXPECT_EQ(coir_close(s.fds[last]), 0);
        side_wait(&side);
        EXPECT_EQ(s.index, last);
        EXPECT_EQ(s.cases[last].result, POLLNVAL);
        EXPECT_EQ(s.cases[last].error, EBADF);
        select_once(&s); /* it still is */
        EXPECT_EQ(s.index, last);
        EXPECT_EQ(s.cases[last].result, POLLNVAL);
        s.n--;
        end_scene(&s);
    }
}

/* A pipe whose other end goes away is told to those, too, who asked for nothing. */
static void hang_ups(void *arg)
{
    int ends[2];
    (void)arg;
    make_ends(PIPE, ends);
    coir_case c[] = { COIR_CASE_FD(ends[0], 0), COIR_CASE_FD(ends[1], POLLOUT) };
    EXPECT_EQ(coir_select(c, 2, LONG), 1);
    EXPECT_EQ(c[1].result, POLLOUT);
    EXPECT_FAILS(coir_select(c, 1, COIR_MS(1)), ETIMEDOUT);
    close(ends[1]);
    EXPECT_EQ(coir_select(c, 1, LONG), 0);
    EXPECT_EQ(c[0].result, POLLHUP);
    EXPECT_EQ(c[0].error, 0);
    close(ends[0]);
}

/* The same as for channels: a half each. */
static void fair(void *arg)
{
    struct scene s;
    int drawn[2] = { 0 }, rounds = test_scaled(3000, 1000);
    (void)arg;
    make_scene(&s, 1);
    coir_chan *room = coir_chan_new(0, SIZE_MAX);
    s.cases[1] = COIR_CASE_SEND(room, NULL);
    EXPECT_EQ(coir_write(s.fds[0], &one, 8), 8);
    for (int i = 0; i < rounds; i++) {
        select_once(&s);
        if (EXPECT(s.index >= 0))
            drawn[s.index]++;
    }
    EXPECT(drawn[0] * 100 / rounds >= 40 && drawn[0] * 100 / rounds <= 60);
    coir_chan_free(room);
    end_scene(&s);
}

struct sender {
    struct scene *scene;
    int round;
    bool sent;
};

static void try_to_send(void *arg)
{
    struct sender *t = arg;
    int two = 2;
    for (int i = 0; i < t->round % 50; i++)
        coir_yield();
    t->sent = coir_chan_trysend(t->scene->chan, &two) == 0;
}

/* What is not reported has not happened. */
static void at_once(void *arg)
{
    (void)arg;
    for (int round = 0; round < test_scaled(300, 10); round++) {
        struct scene s;
        struct side selecter, sender;
        make_scene(&s, 1 + round % 3);
        s.crowded = true;
        struct sender t = { &s, round, false };
        side_start(&selecter, select_once, &s);
        if (round % 4 == 0)
            until_waiting(&selecter);
        side_start(&sender, try_to_send, &t);
        EXPECT_EQ(coir_write(s.fds[round % s.n], &one, 8), 8);
        side_wait(&sender);
        side_wait(&selecter);
        EXPECT_EQ(t.sent, s.index == s.n);
        EXPECT_EQ(s.place, t.sent ? 2 : 0);
        if (!t.sent)
            expect_fd(&s, round % s.n);
        end_scene(&s);
    }
}

/* Many wait for the same, and one thing after the other happens. */
static void crowd(void *arg)
{
    enum { SELECTERS = 20 };
    struct scene all, s[SELECTERS];
    struct side side[SELECTERS];
    (void)arg;
    make_scene(&all, 3);
    all.crowded = true;
    for (int i = 0; i < SELECTERS; i++) {
        s[i] = all;
        s[i].cases[3] = COIR_CASE_RECV(all.chan, &s[i].place);
        side_start(&side[i], select_once, &s[i]);
    }
    until_waiting(&side[SELECTERS - 1]);
    for (int i = 1; i <= SELECTERS / 2; i++)
        EXPECT_EQ(coir_chan_send(all.chan, &i), 0);
    EXPECT_EQ(coir_write(all.fds[1], &one, 8), 8);
    int sum = 0, rest = 0;
    for (int i = 0; i < SELECTERS; i++) {
        side_wait(&side[i]);
        EXPECT(s[i].index == 1 || s[i].index == 3);
        rest += s[i].index == 1;
        sum += s[i].place;
    }
    EXPECT_EQ(rest, SELECTERS / 2);
    EXPECT_EQ(sum, SELECTERS / 2 * (SELECTERS / 2 + 1) / 2);
    end_scene(&all);
}

struct thief {
    int ends[2];
    coir_fiber *selecter;
    coir_case c;
    int index;
};

static void *select_a_pipe(void *arg)
{
    struct thief *t = arg;
    t->index = coir_select(&t->c, 1, LONG);
    return NULL;
}

/* Somebody else takes the data before the select has looked: it goes on waiting. */
static void *steal_the_data(void *arg)
{
    struct thief *t = arg;
    char c;
    while (!has_state(t->selecter, COIR__READY))
        coir_yield();
    EXPECT_EQ(read(t->ends[0], &c, 1), 1);
    coir_sleep(COIR_MS(2));
    EXPECT(has_state(t->selecter, COIR__PARKED));
    EXPECT_EQ(write(t->ends[1], "y", 1), 1);
    return NULL;
}

/* The data is stolen, and the number given to another file, which has some: not the select's. */
static void *steal_the_number(void *arg)
{
    struct thief *t = arg;
    int other[2];
    while (!has_state(t->selecter, COIR__READY))
        coir_yield();
    make_ends(PIPE, other);
    EXPECT_EQ(write(other[1], "other", 5), 5);
    EXPECT_EQ(coir_close(t->ends[0]), 0);
    EXPECT_EQ(dup2(other[0], t->ends[0]), t->ends[0]);
    close_ends(other);
    return NULL;
}

static void mislead(void *(*steal)(void *), int result)
{
    struct thief t;
    make_ends(PIPE, t.ends);
    t.c = COIR_CASE_FD(t.ends[0], POLLIN);
    coir_fiber *thief = coir_spawn(steal, &t);
    t.selecter = coir_spawn(select_a_pipe, &t);
    until_parked(t.selecter);
    until_submitted();
    EXPECT_EQ(write(t.ends[1], "x", 1), 1);
    join(thief);
    join(t.selecter);
    EXPECT_EQ(t.index, 0);
    EXPECT_EQ(t.c.result, result);
    close_ends(t.ends);
}

static void false_news(void *arg)
{
    (void)arg;
    mislead(steal_the_data, POLLIN);
    mislead(steal_the_number, POLLNVAL);
}

static void select_is_not_misled(void **state)
{
    (void)state;
    run_on(1, false_news, NULL);
}

/* Nothing can be mapped any more: up to two descriptors need nothing. */
static void calls_without_memory(void *arg)
{
    struct scene few, more;
    const struct rlimit none = { 1, RLIM_INFINITY }, all = { RLIM_INFINITY, RLIM_INFINITY };
    (void)arg;
    make_scene(&few, 2);
    make_scene(&more, 3);
    few.timeout_ns = more.timeout_ns = COIR_MS(1);
    select_once(&more); /* from here on the table knows the numbers */
    setrlimit(RLIMIT_AS, &none);
    select_once(&few);
    select_once(&more);
    setrlimit(RLIMIT_AS, &all);
    EXPECT_EQ(few.err, ETIMEDOUT);
    EXPECT_EQ(more.err, ENOMEM);
    select_once(&more);
    EXPECT_EQ(more.err, ETIMEDOUT);
    end_scene(&few);
    end_scene(&more);
}

static int enomem(void *arg)
{
    alarm(WATCHDOG_SECONDS);
    EXPECT_EQ(fiber_test_run(1, calls_without_memory, arg), 0);
    return no_findings_status();
}

static void more_than_two_descriptors_need_memory(void **state)
{
    (void)state;
    SKIP_UNDER_QEMU("limits no memory");
#if TEST_SANITIZED
    skip(); /* they need some of their own */
#endif
    run_in_child(enomem, NULL);
}

/* A file has nothing urgent to read, ever. */
static void never_ready(void *arg)
{
    char name[] = "/tmp/coir-select-XXXXXX";
    struct scene s;
    (void)arg;
    make_scene(&s, 1);
    coir_close(s.fds[0]);
    s.fds[0] = mkstemp(name);
    EXPECT(s.fds[0] >= 0);
    unlink(name);
    s.cases[0] = COIR_CASE_FD(s.fds[0], POLLPRI);
    s.timeout_ns = COIR_MS(5);
    select_once(&s);
    EXPECT_EQ(s.err, ETIMEDOUT);
    struct pollfd p = { s.fds[0], POLLPRI, 0 };
    double cpu = cpu_seconds();
    EXPECT_EQ(coir_poll(&p, 1, 200), 0);
    EXPECT(s.crowded || cpu_seconds() - cpu < 0.1); /* it has not looked all the time */
    struct side side;
    int two = 2;
    s.timeout_ns = LONG;
    side_start(&side, select_once, &s);
    EXPECT_EQ(coir_chan_send(s.chan, &two), 0);
    side_wait(&side);
    EXPECT_EQ(s.index, 1);
    EXPECT_EQ(s.place, two);
    end_scene(&s);
}

BODY_TEST(a_descriptor_or_a_channel_whichever_is_first, which_is_first)
BODY_TEST(a_timeout_leaves_nothing_in_flight, times_out)
BODY_TEST(a_bad_or_closed_descriptor_is_told, bad_and_closed)
BODY_TEST(a_hang_up_is_told, hang_ups)
BODY_TEST(a_ready_descriptor_and_a_ready_channel_share_alike, fair)
BODY_TEST(of_a_byte_and_a_message_at_once_one_happens, at_once)
BODY_TEST(many_may_select_the_same, crowd)
BODY_TEST(what_is_never_ready_is_waited_for_beside_others, never_ready)

static void a_cancel_leaves_nothing_in_flight(void **state)
{
    (void)state;
    run_on_each(is_cancelled, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_or_a_channel_whichever_is_first),
        cmocka_unit_test(a_timeout_leaves_nothing_in_flight),
        cmocka_unit_test(a_cancel_leaves_nothing_in_flight),
        cmocka_unit_test(a_bad_or_closed_descriptor_is_told),
        cmocka_unit_test(a_hang_up_is_told),
        cmocka_unit_test(a_ready_descriptor_and_a_ready_channel_share_alike),
        cmocka_unit_test(of_a_byte_and_a_message_at_once_one_happens),
        cmocka_unit_test(many_may_select_the_same),
        cmocka_unit_test(what_is_never_ready_is_waited_for_beside_others),
        cmocka_unit_test(select_is_not_misled),
        cmocka_unit_test(more_than_two_descriptors_need_memory),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
