/* tests/api/stats_test.c - coir_stats and COIR_STATS: the numbers add up.
 * SPDX-License-Identifier: MIT */
#include "../sched/kit.h"

enum { FIBERS = 100, SLEEPS = 3, YIELDS = 5 };

struct seen {
    coir_stats_t before, inside, after;
    int pipe[2], err, workers;
    _Atomic int stop, out_of_order;
};

static void *sleep_and_yield(void *arg)
{
    for (int i = 0; i < SLEEPS; i++)
        coir_sleep(COIR_US(50));
    for (int i = 0; i < YIELDS; i++)
        coir_yield();
    return arg;
}

static void *read_one(void *arg)
{
    struct seen *s = arg;
    char c;
    s->err |= coir_read(s->pipe[0], &c, 1) != 1;
    return NULL;
}

static void do_things(void *arg)
{
    struct seen *s = arg;
    coir_fiber *fibers[FIBERS];
    coir_attr detached = { .flags = COIR_DETACHED }, spread = { .flags = COIR_SPREAD };
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = coir_spawn_with(&spread, sleep_and_yield, NULL);
    coir_fiber *reader = coir_spawn(read_one, s);
    coir_spawn_with(&detached, sleep_and_yield, NULL);
    coir_stats(&s->inside);
    coir_sleep(COIR_MS(1));
    coir_write(s->pipe[1], "x", 1);
    coir_join(reader, NULL);
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
}

static void what_was_done_is_counted(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct seen s = { 0 };
        memset(&s.inside, 0xff, sizeof s.inside);
        assert_int_equal(pipe(s.pipe), 0);
        assert_int_equal(coir_stats(&s.before), 0);
        assert_int_equal(fiber_test_run(*w, do_things, &s), 0);
        assert_int_equal(coir_stats(&s.after), 0);
        assert_int_equal(s.err, 0);
        const coir_stats_t *a = &s.before, *b = &s.after;
        assert_int_equal(s.inside.workers, *w);
        assert_in_range(s.inside.fibers, 1, FIBERS + 3);
        assert_int_equal(s.inside.spawned - a->spawned, FIBERS + 3);
        assert_int_equal(b->workers, 0);
        assert_int_equal(b->fibers, 0);
        assert_int_equal(b->spawned - a->spawned, FIBERS + 3);
        assert_int_equal(b->ended - a->ended, FIBERS + 3);
        assert_in_range(b->parks - a->parks, FIBERS * SLEEPS, FIBERS * (SLEEPS + 4) + 10);
        assert_int_equal(b->wakes - a->wakes, b->parks - a->parks);
        assert_true(b->switches - a->switches >=
                    b->parks - a->parks + b->ended - a->ended + (FIBERS - 1) * YIELDS);
        assert_true(b->ops_submitted > a->ops_submitted);
        assert_int_equal(b->ops_completed - a->ops_completed, b->ops_submitted - a->ops_submitted);
        assert_true(b->enters > a->enters);
        if (*w == 1)
            assert_int_equal(b->steals, a->steals);
        for (size_t i = 0; i < sizeof s.inside.reserved / sizeof *s.inside.reserved; i++)
            assert_int_equal(s.inside.reserved[i], 0);
        close(s.pipe[0]);
        close(s.pipe[1]);
    }
}

/* Looks on and on: nothing ever goes back, or is the wrong way round. */
static void *look_on(void *arg)
{
    struct seen *s = arg;
    coir_stats_t last, now;
    coir_stats(&last);
    while (!s->stop) {
        coir_stats(&now);
        s->out_of_order += now.ended > now.spawned || now.wakes > now.parks ||
                           now.ops_completed > now.ops_submitted;
        s->out_of_order += now.spawned < last.spawned || now.ended < last.ended ||
                           now.switches < last.switches || now.parks < last.parks ||
                           now.wakes < last.wakes || now.ops_submitted < last.ops_submitted ||
                           now.enters < last.enters;
        last = now;
    }
    return NULL;
}

static void they_never_go_back_while_runtimes_come_and_go(void **state)
{
    struct seen s = { 0 };
    pthread_t thread;
    (void)state;
    assert_int_equal(pipe(s.pipe), 0);
    pthread_create(&thread, NULL, look_on, &s);
    for (int i = 0; i < test_scaled(50, 5); i++)
        assert_int_equal(fiber_test_run((unsigned)i % 3 + 1, do_things, &s), 0);
    s.stop = 1;
    pthread_join(thread, NULL);
    assert_int_equal(s.out_of_order, 0);
    close(s.pipe[0]);
    close(s.pipe[1]);
}

static void no_place_for_them_is_an_error(void **state)
{
    (void)state;
    kit_assert_said(KIT_SAID(coir_stats(NULL)), -1, EINVAL);
}

static int run_with_stats(void *value)
{
    struct seen s = { 0 };
    setenv("COIR_STATS", value, 1);
    return pipe(s.pipe) < 0 || fiber_test_run(2, do_things, &s) != 0;
}

static void a_line_at_the_end_of_each_run_when_asked_for(void **state)
{
    static char text[4096];
    int steals, fibers = 0, lines = 0;
    (void)state;
    assert_int_equal(test_child(run_with_stats, "1", text, sizeof text), 0);
    assert_int_equal(sscanf(text,
                            "coir: %*d.%*d s, 2 workers: %d fibers, %*d switches, %d steals, ",
                            &fibers, &steals),
                     2);
    assert_int_equal(fibers, FIBERS + 3);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 1);
    assert_int_equal(test_child(run_with_stats, "0", text, sizeof text), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_done_is_counted),
        cmocka_unit_test(they_never_go_back_while_runtimes_come_and_go),
        cmocka_unit_test(no_place_for_them_is_an_error),
        cmocka_unit_test(a_line_at_the_end_of_each_run_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
