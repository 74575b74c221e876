/* tests/sched/stack_test.c - stacks (sched/stack.h): sizes, colours, reuse, giving memory back.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers note the stack they run on and fill it with a pattern; the kernel tells how much
 * memory and how many maps the process has. */
#include "kit.h"

#include "sched/stack.h"

enum { WAVE_MAX = 20000, STACKS_MAX = 4096, TOUCHED_BYTES = 32 * 1024 };

struct stacks {
    unsigned flags;
    int n, failed, maps, colours;
    bool parks;
    size_t touch_bytes;
    _Atomic int started, ended, wrong;
    _Atomic bool go;
    _Atomic(struct coir__stack *) seen[STACKS_MAX];
    long before_kb, full_kb, after_kb;
};

static long resident_kb(void)
{
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm || fscanf(statm, "%*d %ld", &pages) != 1)
        pages = -1;
    if (statm)
        fclose(statm);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void size_classes_are_powers_of_two_from_16_kib_to_1_gib(void **state)
{
    (void)state;
    assert_int_equal(coir__stack_class(0), -EINVAL);
    assert_int_equal(coir__stack_class(1), -EINVAL);
    assert_int_equal(coir__stack_class(16383), -EINVAL);
    assert_int_equal(coir__stack_class(((size_t)1 << 30) + 1), -EINVAL);
    assert_int_equal(coir__stack_class(SIZE_MAX), -EINVAL);
    size_t least = (size_t)4 * (size_t)sysconf(_SC_PAGESIZE);
    for (size_t bytes = 16384; bytes <= (size_t)1 << 30; bytes += bytes / 3 + 1) {
        int class = coir__stack_class(bytes);
        assert_true(class >= 0 && class < COIR__STACK_CLASSES);
        assert_true(coir__stack_class_bytes((unsigned)class) >= bytes);
        assert_true(coir__stack_class_bytes((unsigned)class) < 2 * bytes ||
                    coir__stack_class_bytes((unsigned)class) == least);
    }
    for (unsigned c = 0; c < COIR__STACK_CLASSES; c++)
        if (coir__stack_class_bytes(c) >= least)
            assert_int_equal(coir__stack_class(coir__stack_class_bytes(c)), c);
}

/* Note the stack; how many different ones there were is counted afterwards. */
static void see(struct stacks *s, struct coir__stack *stack)
{
    size_t at = (uintptr_t)stack / sizeof *stack % STACKS_MAX;
    for (int i = 0; i < STACKS_MAX; i++, at = (at + 1) % STACKS_MAX) {
        struct coir__stack *none = NULL;
        if (atomic_load(&s->seen[at]) == stack ||
            atomic_compare_exchange_strong(&s->seen[at], &none, stack) || none == stack)
            return;
    }
    atomic_fetch_add(&s->wrong, 1);
}

static int different(struct stacks *s)
{
    int n = 0;
    for (int i = 0; i < STACKS_MAX; i++)
        n += s->seen[i] != NULL;
    return n;
}

static void *never_parks(void *arg)
{
    struct stacks *s = arg;
    see(s, coir__fiber_self()->stack);
    atomic_fetch_add(&s->ended, 1);
    return NULL;
}

static void wave(void *arg)
{
    struct stacks *s = arg;
    coir_attr attr = { .flags = s->flags };
    coir_fiber **fibers = calloc((size_t)s->n, sizeof *fibers);
    for (int i = 0; i < s->n; i++)
        fibers[i] = coir_spawn_with(&attr, never_parks, s);
    if (s->flags & COIR_DETACHED)
        s->failed += !KIT_UNTIL(s->ended == s->n);
    else
        for (int i = 0; i < s->n; i++)
            s->failed += coir_join(fibers[i], NULL) != 0;
    free(fibers);
}

static void a_wave_that_never_parks_uses_one_stack_a_worker(void **state)
{
    static const unsigned flags[] = { 0, COIR_DETACHED, COIR_SPREAD, COIR_SPREAD | COIR_DETACHED };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < 4; i++) {
            struct stacks *s = calloc(1, sizeof *s);
            s->n = test_scaled(WAVE_MAX, 1000);
            s->flags = flags[i];
            assert_int_equal(fiber_test_run(*w, wave, s), 0);
            assert_int_equal(s->failed + s->wrong, 0);
            /* The fibers of a worker that was not interrupted ran on one; the spawner, which gave
             * way to them while it waited, had another. Others may have stolen some. */
            assert_true(different(s) <= (*w > 1 ? 2 * (int)*w : 1));
            free(s);
        }
}

static void *parks(void *arg)
{
    struct stacks *s = arg;
    see(s, coir__fiber_self()->stack);
    volatile char bytes[TOUCHED_BYTES];
    (void)bytes;
    for (size_t i = 0; i < s->touch_bytes; i += 1024)
        bytes[i] = 1;
    atomic_fetch_add(&s->started, 1);
    while (!atomic_load(&s->go))
        coir_sleep(COIR_SEC(KIT_PATIENCE_S));
    atomic_fetch_add(&s->ended, 1);
    return NULL;
}

/* A leaf that needs hardly any stack. */
static void *parks_small(void *arg)
{
    struct stacks *s = arg;
    atomic_fetch_add(&s->started, 1);
    coir_sleep(COIR_NEVER);
    atomic_fetch_add(&s->ended, 1);
    return NULL;
}

/* Park n fibers, call meanwhile(s), and let them end. */
static void park_many(struct stacks *s, void *(*fn)(void *), void (*meanwhile)(struct stacks *))
{
    const coir_attr attr = { .flags = s->flags };
    coir_fiber **fibers = calloc((size_t)s->n, sizeof *fibers);
    for (int i = 0; i < s->n; i++) {
        fibers[i] = coir_spawn_with(&attr, fn, s);
        s->failed += !fibers[i];
        if (i % 64 == 0)
            coir_yield();
    }
    s->failed += !KIT_UNTIL(s->started == s->n);
    meanwhile(s);
    atomic_store(&s->go, true);
    for (int i = 0; i < s->n; i++)
        coir_cancel(fibers[i]);
    for (int i = 0; i < s->n; i++)
        s->failed += coir_join(fibers[i], NULL) != 0;
    free(fibers);
}

static void count_colours(struct stacks *s)
{
    bool found[4096] = { false };
    for (int i = 0; i < STACKS_MAX; i++) {
        struct coir__stack *stack = s->seen[i];
        if (!stack)
            continue;
        size_t offset = (uintptr_t)coir__stack_top(stack) % 4096;
        s->wrong += offset % 16 != 0 || (offset < 1024 && offset != 0);
        s->colours += !found[offset];
        found[offset] = true;
        s->wrong += (uintptr_t)coir__stack_low(stack) % coir__stack_class_bytes(stack->class);
    }
}

static void colour(void *arg)
{
    park_many(arg, parks, count_colours);
}

static void stack_tops_are_spread_over_the_page(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct stacks *s = calloc(1, sizeof *s);
        s->n = 500;
        s->flags = COIR_SPREAD;
        assert_int_equal(fiber_test_run(*w, colour, s), 0);
        assert_int_equal(s->failed + s->wrong, 0);
        assert_int_equal(different(s), 500);
        assert_int_equal(s->colours, COIR__STACK_COLOURS);
        free(s);
    }
}

static void fill_kb(struct stacks *s)
{
    s->full_kb = resident_kb();
}

static void grow_and_idle(void *arg)
{
    struct stacks *s = arg;
    s->before_kb = resident_kb();
    park_many(s, parks, fill_kb);
    int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
    do
        coir_sleep(COIR_MS(100));
    while ((s->after_kb = resident_kb()) - s->before_kb > (s->full_kb - s->before_kb) / 4 &&
           coir_now() < until_ns);
}

static void memory_is_given_back_after_idling(void **state)
{
    (void)state;
    if (TEST_SANITIZED || TEST_VALGRIND)
        skip(); /* what they keep about a stack is larger than it, and stays */
    for (const unsigned *w = test_workers; *w; w++) {
        struct stacks *s = calloc(1, sizeof *s);
        s->n = test_scaled(4000, 400);
        s->touch_bytes = TOUCHED_BYTES;
        s->flags = COIR_SPREAD;
        assert_int_equal(fiber_test_run(*w, grow_and_idle, s), 0);
        assert_int_equal(s->failed, 0);
        assert_int_equal(s->ended, s->n);
        long grown_kb = s->full_kb - s->before_kb;
        assert_true(grown_kb >= (long)s->n * TOUCHED_BYTES / 1024 * 9 / 10);
        assert_true(s->after_kb - s->before_kb <= grown_kb / 4);
        free(s);
    }
}

static void count_maps(struct stacks *s)
{
    s->maps = test_maps();
}

static void park_very_many(void *arg)
{
    park_many(arg, parks_small, count_maps);
}

static void a_hundred_thousand_guarded_stacks_need_less_than_a_thousand_maps(void **state)
{
    (void)state;
    if (coir__stack_guards() != COIR__GUARDS_MARKED)
        skip(); /* a kernel before 6.13 */
    for (const unsigned *w = test_workers; *w; w++) {
        struct stacks *s = calloc(1, sizeof *s);
        s->n = test_scaled(100000, 2000);
        s->flags = COIR_SPREAD;
        assert_int_equal(fiber_test_run(*w, park_very_many, s), 0);
        assert_int_equal(s->failed, 0);
        assert_int_equal(s->ended, s->n);
        assert_true(s->maps > 0 && (TEST_SANITIZED || s->maps < 1000));
        free(s);
    }
}

/* Stacks of all sizes come and go on all workers: no two fibers ever share a byte. */
struct pattern {
    struct stacks *stacks;
    uint32_t random;
};

static uint32_t draw(uint32_t *random)
{
    return *random = *random * 1664525u + 1013904223u;
}

static void *fill(void *arg)
{
    struct pattern *p = arg;
    volatile uint32_t words[1024]; /* with the frames below it fits the smallest stack */
    uint32_t mine = draw(&p->random) | 1;
    for (int i = 0; i < 1024; i++)
        words[i] = mine + (uint32_t)i;
    for (int k = draw(&p->random) >> 30; k > 0; k--)
        if (k % 2)
            coir_yield();
        else
            coir_sleep(COIR_US(20));
    for (int i = 0; i < 1024; i++)
        if (words[i] != mine + (uint32_t)i)
            atomic_fetch_add(&p->stacks->wrong, 1);
    return NULL;
}

static void *mix(void *arg)
{
    enum { AT_ONCE = 20 };
    struct pattern *p = arg, each[AT_ONCE];
    coir_fiber *fibers[AT_ONCE];
    for (int round = 0; round < p->stacks->n; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            coir_attr attr = { .flags = i % 2 ? COIR_SPREAD : 0,
                               .stack_bytes = (size_t)16384 << (draw(&p->random) >> 29) };
            each[i] = (struct pattern){ p->stacks, draw(&p->random) };
            fibers[i] = coir_spawn_with(&attr, fill, &each[i]);
        }
        for (int i = 0; i < AT_ONCE; i++)
            if (coir_join(fibers[i], NULL) < 0)
                atomic_fetch_add(&p->stacks->wrong, 1);
    }
    return NULL;
}

static void mix_sizes(void *arg)
{
    const coir_attr spread = { .flags = COIR_SPREAD };
    struct pattern patterns[4];
    coir_fiber *fibers[4];
    for (int i = 0; i < 4; i++) {
        patterns[i] = (struct pattern){ arg, (uint32_t)i };
        fibers[i] = coir_spawn_with(&spread, mix, &patterns[i]);
    }
    for (int i = 0; i < 4; i++)
        coir_join(fibers[i], NULL);
}

static void stacks_of_all_sizes_never_overlap(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct stacks *s = calloc(1, sizeof *s);
        s->n = test_scaled(400, 20);
        assert_int_equal(fiber_test_run(*w, mix_sizes, s), 0);
        assert_int_equal(s->wrong, 0);
        free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_classes_are_powers_of_two_from_16_kib_to_1_gib),
        cmocka_unit_test(a_wave_that_never_parks_uses_one_stack_a_worker),
        cmocka_unit_test(stack_tops_are_spread_over_the_page),
        cmocka_unit_test(memory_is_given_back_after_idling),
        cmocka_unit_test(a_hundred_thousand_guarded_stacks_need_less_than_a_thousand_maps),
        cmocka_unit_test(stacks_of_all_sizes_never_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
