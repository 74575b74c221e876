/* tests/sync/scope_race_test.c - scopes whose children end, fail, spawn and are cancelled all at
 * once, on all workers; many children, few at a time; no memory.
 * SPDX-License-Identifier: MIT
 *
 * Method: scopes and what children use are in memory that is overwritten and freed as soon as the
 * wait has returned: under AddressSanitizer a late touch is an error, without it a crash. */
#include "scope_kit.h"

enum { CHILDREN = 8, MANY = 10000, AT_A_TIME = 10 };

/* A scope that is soon gone, and its children's arguments. */
struct frame {
    coir_scope scope;
    struct child {
        struct frame *frame;
        int number;
        _Atomic int ran;
    } children[CHILDREN];
    _Atomic bool go;
};

static struct frame *frame_new(const coir_scope_attr *attr)
{
    struct frame *f = calloc(1, sizeof *f);
    CHECK(coir_scope_open_with(&f->scope, attr) == 0);
    for (int i = 0; i < CHILDREN; i++)
        f->children[i] = (struct child){ .frame = f, .number = i + 1 };
    return f;
}

static void frame_free(struct frame *f)
{
    memset(f, 0x5a, sizeof *f);
    free(f);
}

static int end_soon(void *arg)
{
    struct child *c = arg;
    for (int i = 0; i < c->number % 3; i++)
        coir_yield();
    c->ran++;
    return 0;
}

static void *frames_one_by_one(void *arg)
{
    int rounds = *(int *)arg;
    for (int i = 0; i < rounds; i++) {
        struct frame *f = frame_new(NULL);
        int n = 1 + i % CHILDREN;
        for (int k = 0; k < n; k++)
            CHECK(coir_scope_spawn_with(&f->scope, &spread, end_soon, &f->children[k]) == 0);
        CHECK(coir_scope_wait(&f->scope) == 0);
        for (int k = 0; k < n; k++)
            CHECK(f->children[k].ran == 1);
        frame_free(f);
    }
    return NULL;
}

static void frames_everywhere(void *arg)
{
    int rounds = test_scaled(1000, 30);
    coir_fiber *fibers[3];
    struct helper thread;
    (void)arg;
    helper_start(&thread, frames_one_by_one, &rounds);
    for (int i = 0; i < 3; i++)
        fibers[i] = coir_spawn_with(&spread, frames_one_by_one, &rounds);
    for (int i = 0; i < 3; i++)
        coir_join(fibers[i], NULL);
    helper_join(&thread);
}

static void a_scope_may_go_as_soon_as_wait_returns(void **state)
{
    (void)state;
    run_checks(frames_everywhere);
}

static int fail_at_once(void *arg)
{
    struct child *c = arg;
    while (!c->frame->go)
        coir_yield();
    c->ran++;
    errno = c->number;
    return -1;
}

static void fail_together(void *arg)
{
    int rounds = test_scaled(500, 20);
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        struct frame *f = frame_new(NULL);
        for (int k = 0; k < CHILDREN; k++)
            CHECK(coir_scope_spawn_with(&f->scope, &spread, fail_at_once, &f->children[k]) == 0);
        f->go = true;
        if (i % 3 == 1)
            coir_yield();
        if (i % 3 == 2)
            CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
        int said = coir_scope_wait(&f->scope), err = errno;
        CHECK(said == -1 && err >= 1 && err <= CHILDREN);
        for (int k = 0; k < CHILDREN; k++)
            CHECK(f->children[k].ran == 1);
        CHECK(coir_check() == 0);
        frame_free(f);
    }
}

static void of_failures_that_race_one_is_reported(void **state)
{
    (void)state;
    run_checks(fail_together);
}

static struct {
    _Atomic int running, most, ran;
} crowd;

static int run_in_crowd(void *arg)
{
    int now = atomic_fetch_add(&crowd.running, 1) + 1, most = crowd.most;
    while (now > most && !atomic_compare_exchange_weak(&crowd.most, &most, now))
        ;
    (void)arg;
    coir_yield();
    crowd.ran++;
    crowd.running--;
    return 0;
}

static void many_children(void *arg)
{
    const coir_scope_attr few = { .fibers_max = AT_A_TIME };
    int n = test_scaled(MANY, 100);
    coir_scope scope;
    (void)arg;
    for (int spread_out = 0; spread_out < 2; spread_out++) {
        crowd.running = crowd.most = crowd.ran = 0;
        coir_scope_open_with(&scope, &few);
        for (int i = 0; i < n; i++)
            CHECK(coir_scope_spawn_with(&scope, spread_out ? &spread : NULL, run_in_crowd, NULL) ==
                  0);
        CHECK(coir_scope_wait(&scope) == 0);
        CHECK(crowd.ran == n);
        CHECK(crowd.most <= AT_A_TIME);
        CHECK(crowd.most > 1);
    }
}

static void no_more_than_fibers_max_run_at_a_time(void **state)
{
    (void)state;
    run_checks(many_children);
}

static _Atomic int order_next;

static int run_in_order(void *arg)
{
    CHECK(order_next++ == (int)(intptr_t)arg);
    coir_yield();
    return 0;
}

static void held_back(void *arg)
{
    const coir_scope_attr one = { .fibers_max = 1 };
    coir_scope scope;
    (void)arg;
    order_next = 0;
    coir_scope_open_with(&scope, &one);
    for (int i = 0; i < 100; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, run_in_order, ERR(i)) == 0);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK(order_next == 100);
}

static void children_held_back_start_in_the_order_of_spawn(void **state)
{
    (void)state;
    run_checks(held_back);
}

struct spawner {
    coir_scope *scope;
    _Atomic int spawned, ran, refused;
};

/* Its sleep ends by the cancel only, which must not miss it. */
static int count_run(void *arg)
{
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    ((struct spawner *)arg)->ran++;
    return 0;
}

static int spawn_until_refused(void *arg)
{
    struct spawner *s = arg;
    while (coir_scope_spawn_with(s->scope, &spread, count_run, s) == 0) {
        s->spawned++;
        coir_yield();
    }
    CHECK(errno == ECANCELED);
    s->refused++;
    return 0;
}

static void cancel_spawners(void *arg)
{
    int rounds = test_scaled(200, 10);
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        const coir_scope_attr attr = { .fibers_max = i % 2 ? 5 : 0 };
        struct spawner *s = calloc(1, sizeof *s);
        coir_scope *scope = s->scope = malloc(sizeof *scope);
        coir_scope_open_with(scope, &attr);
        for (int k = 0; k < 3; k++)
            CHECK(coir_scope_spawn_with(scope, &spread, spawn_until_refused, s) == 0);
        while (s->spawned < 10 + i % 20)
            coir_yield();
        coir_scope_cancel(scope);
        CHECK(coir_scope_wait(scope) == 0);
        CHECK(s->refused == 3 && s->ran == s->spawned);
        free(scope);
        free(s);
    }
}

static void what_was_spawned_while_the_scope_was_cancelled_has_run(void **state)
{
    (void)state;
    run_checks(cancel_spawners);
}

/* Everything at once: fibers that open, spawn, nest, fail, time out and are cancelled by others. */
static struct {
    _Atomic int alive, lived;
    _Atomic(coir_fiber *) victims[16];
} storm;

static unsigned draw(unsigned *random, unsigned below)
{
    *random = *random * 1664525u + 1013904223u;
    return (*random >> 16) % below;
}

struct life {
    unsigned random;
    int depth;
    _Atomic int *siblings; /* alive, on the opener's frame */
};

static int live(void *arg);

static void open_family(unsigned *random, int depth)
{
    coir_scope_attr attr = { .flags = draw(random, 2), .fibers_max = draw(random, 4) };
    struct {
        coir_scope scopes[2];
        struct life lives[6];
        _Atomic int alive;
    } *f = calloc(1, sizeof *f);
    int scopes = 1 + (int)draw(random, 2);
    for (int i = 0; i < scopes; i++)
        CHECK(coir_scope_open_with(&f->scopes[i], &attr) == 0);
    for (int i = 0; i < 6; i++) {
        coir_scope *into = &f->scopes[i % scopes];
        f->lives[i] = (struct life){ draw(random, 1 << 15), depth - 1, &f->alive };
        f->alive++;
        if (coir_scope_spawn_with(into, draw(random, 2) ? &spread : NULL, live, &f->lives[i]) < 0)
            f->alive--;
        if (draw(random, 30) == 0)
            coir_scope_cancel(into);
        if (draw(random, 4) == 0)
            coir_sleep(COIR_US(draw(random, 20)));
    }
    for (int i = 0; i < scopes; i++)
        if (draw(random, 2))
            coir_scope_wait(&f->scopes[i]);
        else
            coir_scope_close(&f->scopes[i]);
    CHECK(f->alive == 0);
    memset((void *)f, 0x5a, sizeof *f);
    free(f);
}

static void shoot(unsigned *random)
{
    coir_fiber *victim = storm.victims[draw(random, 16)];
    if (victim)
        coir_cancel(victim); /* or nobody: the handle may be stale */
}

static int live(void *arg)
{
    struct life *l = arg, mine = *l;
    int result = 0;
    storm.alive++;
    storm.lived++;
    storm.victims[draw(&mine.random, 16)] = coir_self();
    if (draw(&mine.random, 10) == 0)
        shoot(&mine.random);
    COIR_TIMEOUT(draw(&mine.random, 10) ? COIR_NEVER : COIR_US(50)) {
        if (mine.depth > 0 && draw(&mine.random, 3))
            open_family(&mine.random, mine.depth);
        else
            coir_sleep(COIR_US(draw(&mine.random, 50)));
    }
    if (draw(&mine.random, 8) == 0) {
        errno = EPIPE;
        result = -1;
    }
    storm.alive--;
    (*l->siblings)--;
    return result;
}

static void *live_alone(void *arg)
{
    unsigned random = (unsigned)(uintptr_t)arg;
    _Atomic int none = 1;
    if (coir_self()) {
        struct life l = { random, 4, &none };
        live(&l);
    } else {
        open_family(&random, 3);
    }
    return NULL;
}

static void blow(void *arg)
{
    enum { OPENERS = 6 };
    int rounds = test_scaled(60, 3);
    unsigned random = 1;
    (void)arg;
    storm.lived = 0;
    for (int i = 0; i < rounds; i++) {
        coir_fiber *fibers[OPENERS];
        struct helper thread;
        helper_start(&thread, live_alone, (void *)(uintptr_t)i);
        for (unsigned k = 0; k < OPENERS; k++)
            fibers[k] =
                coir_spawn_with(&spread, live_alone, (void *)(uintptr_t)draw(&random, 1 << 15));
        for (int k = 0; k < OPENERS; k++) {
            coir_sleep(COIR_US(20));
            shoot(&random);
        }
        for (int k = 0; k < OPENERS; k++)
            coir_join(fibers[k], NULL);
        helper_join(&thread);
        CHECK(storm.alive == 0);
    }
    CHECK(storm.lived > rounds * OPENERS);
}

static void no_child_outlives_its_scope_in_any_storm(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++)
        storm.victims[i] = NULL;
    run_checks(blow);
}

enum { NO_LIMIT_HERE = 77, FAILED = 10, ENOUGH = 100 };

/* Spawn until there is no more memory; those who wait for their start are records only. */
static void spawn_all(void *arg)
{
    const coir_scope_attr one = { .fibers_max = 1 };
    long *spawned = arg;
    coir_scope scope;
    crowd.ran = 0;
    *spawned = 0;
    CHECK(coir_scope_open_with(&scope, &one) == 0);
    while (coir_scope_spawn(&scope, run_in_crowd, NULL) == 0)
        ++*spawned;
    CHECK(errno == ENOMEM);
    CHECK(coir_check() == 0);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK(crowd.ran == *spawned);
}

static int run_out_of_memory(void *arg)
{
    const coir_options options = { .workers = *(unsigned *)arg };
    long spawned, before = ENOUGH;
    alarm(2 * KIT_PATIENCE_S);
    if (coir_run(kit_empty, NULL, &options) < 0)
        return FAILED;
    if (!kit_limit_memory(96 * 1024))
        return NO_LIMIT_HERE;
    for (int round = 0; round < 3; round++) {
        if (coir_run(spawn_all, &spawned, &options) < 0)
            return FAILED + 1;
        if (checks.failed)
            return checks.line % 200;
        if (spawned < before)
            return FAILED;
        before = spawned / 2;
    }
    return 0;
}

static void without_memory_spawn_says_so_and_the_rest_runs(void **state)
{
    (void)state;
#if TEST_SANITIZED
    skip();
#endif
    unsigned workers = 2;
    char text[512];
    checks_begin();
    int status = test_child(run_out_of_memory, &workers, text, sizeof text);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LIMIT_HERE)
        skip();
    if (status)
        print_error("child: status 0x%x: %s\n", status, text);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scope_may_go_as_soon_as_wait_returns),
        cmocka_unit_test(of_failures_that_race_one_is_reported),
        cmocka_unit_test(no_more_than_fibers_max_run_at_a_time),
        cmocka_unit_test(children_held_back_start_in_the_order_of_spawn),
        cmocka_unit_test(what_was_spawned_while_the_scope_was_cancelled_has_run),
        cmocka_unit_test(no_child_outlives_its_scope_in_any_storm),
        cmocka_unit_test(without_memory_spawn_says_so_and_the_rest_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
