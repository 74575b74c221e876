/* tests/sched/depth_test.c - which fresh fiber starts next: the one that is waited for; so trees of
 * fibers are walked depth first, and stay small.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers note their names as they start, and how many of them there are at a time. */
#include "kit.h"

enum { NAMES_MAX = 16, FANOUT = 10 };

static char started[NAMES_MAX + 1];
static unsigned names;
static coir_fiber *child[3];

static void *note(void *arg)
{
    const char *name = arg;
    started[names++] = *name;
    return arg;
}

static void *spawn_three(void *arg)
{
    note(arg);
    child[0] = coir_spawn(note, "x");
    child[1] = coir_spawn(note, "y");
    child[2] = coir_spawn(note, "z");
    return NULL;
}

static void join_all(coir_fiber **f, int n)
{
    for (int i = 0; i < n; i++)
        coir_join(f[i], NULL);
}

static void join_first_to_last(void *arg)
{
    coir_fiber *f[3] = { coir_spawn(note, "a"), coir_spawn(note, "b"), coir_spawn(note, "c") };
    (void)arg;
    join_all(f, 3);
}

static void join_the_second(void *arg)
{
    coir_fiber *f[3] = { coir_spawn(note, "a"), coir_spawn(note, "b"), coir_spawn(note, "c") };
    (void)arg;
    coir_join(f[1], NULL);
    coir_join(f[0], NULL);
    coir_join(f[2], NULL);
}

/* What p has spawned goes before q only once it is waited for. */
static void *spawn_and_join_three(void *arg)
{
    spawn_three(arg);
    join_all(child, 3);
    return note("P");
}

static void join_p_and_q(void *(*p)(void *))
{
    coir_fiber *f[2] = { coir_spawn(p, "p"), coir_spawn(note, "q") };
    join_all(f, 2);
}

static void join_within(void *arg)
{
    (void)arg;
    join_p_and_q(spawn_and_join_three);
}

static int note_child(void *arg)
{
    note(arg);
    return 0;
}

static void *open_a_scope(void *arg)
{
    coir_scope scope;
    note(arg);
    if (coir_scope_open(&scope) < 0 || coir_scope_spawn(&scope, note_child, "x") < 0 ||
        coir_scope_spawn(&scope, note_child, "y") < 0 || coir_scope_wait(&scope) < 0)
        return COIR_FAILED;
    return note("P");
}

static void wait_within(void *arg)
{
    (void)arg;
    join_p_and_q(open_a_scope);
}

static void await_the_second(void *arg)
{
    coir_future *f[3] = { coir_async(note, "a"), coir_async(note, "b"), coir_async(note, "c") };
    (void)arg;
    coir_await(f[1], NULL);
    coir_await_all(f, 3, NULL);
    coir_future_free_all(f, 3);
}

static void spawn_within(void *arg)
{
    (void)arg;
    join_p_and_q(spawn_three);
    join_all(child, 3);
}

static void fresh_fibers_start_in_order_but_for_those_that_are_waited_for(void **state)
{
    static const struct {
        void (*fn)(void *);
        const char *order;
    } runs[] = { { join_first_to_last, "abc" },
                 { join_the_second, "bca" },
                 { join_within, "pxyzqP" },
                 { wait_within, "pxyqP" },
                 { await_the_second, "bca" },
                 { spawn_within, "pqxyz" } };
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        names = 0;
        memset(started, 0, sizeof started);
        assert_int_equal(fiber_test_run(1, runs[i].fn, NULL), 0);
        assert_string_equal(started, runs[i].order);
    }
}

struct tree {
    long leaves;
    _Atomic int alive, most;
    long sum;
};

struct node {
    struct tree *tree;
    long first, size;
};

static void *walk(void *arg)
{
    const struct node *self = arg;
    struct tree *tree = self->tree;
    struct node below[FANOUT];
    coir_fiber *f[FANOUT];
    long sum = self->first;
    int alive = atomic_fetch_add(&tree->alive, 1) + 1, most = atomic_load(&tree->most);
    while (alive > most && !atomic_compare_exchange_weak(&tree->most, &most, alive))
        continue;
    if (self->size > 1) {
        sum = 0;
        for (int i = 0; i < FANOUT; i++) {
            long size = self->size / FANOUT;
            below[i] = (struct node){ tree, self->first + i * size, size };
            f[i] = coir_spawn(walk, &below[i]);
        }
        for (int i = 0; i < FANOUT; i++) {
            void *result = NULL;
            coir_join(f[i], &result);
            sum += (long)result;
        }
    }
    atomic_fetch_sub(&tree->alive, 1);
    return (void *)sum;
}

static void walk_tree(void *arg)
{
    struct tree *tree = arg;
    struct node root = { tree, 0, tree->leaves };
    void *result = NULL;
    coir_join(coir_spawn(walk, &root), &result);
    tree->sum = (long)result;
}

/* As wide as it is, its nodes are never all there: of each level some ten have been started. A
 * worker that was kept from its CPU may have begun a few more branches. */
static void a_tree_is_walked_depth_first(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        struct tree tree = { .leaves = test_scaled(100, 10) >= 100 ? 100000 : 10000 };
        assert_int_equal(fiber_test_run(*n, walk_tree, &tree), 0);
        assert_int_equal(tree.sum, tree.leaves * (tree.leaves - 1) / 2);
        assert_int_equal(atomic_load(&tree.alive), 0);
        assert_in_range(atomic_load(&tree.most), 1, tree.leaves / 10);
    }
}

static _Atomic bool old_ran;

static void *run_old(void *arg)
{
    atomic_store(&old_ran, true);
    return arg;
}

/* Far too large to be walked to its end. */
static void *walk_without_end(void *arg)
{
    long depth = (long)arg;
    coir_fiber *f[FANOUT];
    for (int i = 0; i < FANOUT && depth && !atomic_load(&old_ran); i++) {
        for (int k = 0; k < 2; k++)
            f[k] = coir_spawn(walk_without_end, (void *)(depth - 1));
        join_all(f, 2);
    }
    return NULL;
}

static void spawn_old_and_walk(void *arg)
{
    coir_fiber *old = coir_spawn(run_old, NULL);
    (void)arg;
    coir_join(coir_spawn(walk_without_end, (void *)30L), NULL);
    coir_join(old, NULL);
}

static void what_nobody_waits_for_is_not_forgotten(void **state)
{
    (void)state;
    for (const unsigned *n = test_workers; *n; n++) {
        atomic_store(&old_ran, false);
        assert_int_equal(fiber_test_run(*n, spawn_old_and_walk, NULL), 0);
        assert_true(atomic_load(&old_ran));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_fibers_start_in_order_but_for_those_that_are_waited_for),
        cmocka_unit_test(a_tree_is_walked_depth_first),
        cmocka_unit_test(what_nobody_waits_for_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
