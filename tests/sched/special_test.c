/* tests/sched/special_test.c - fibers with something of their own: rounding mode, thread pointer.
 * SPDX-License-Identifier: MIT
 *
 * Method: the rounding mode shows in 1/3. A thread pointer of its own is made by copying the
 * worker's block of thread-locals; what the fiber then writes to a thread-local stays there. */
#include "kit.h"

#include <fenv.h>

enum { FIBERS = 8, TURNS = 50, BLOCK_HALF = 8192, PAGE = 4096 };

static bool rounds_up(void)
{
    volatile double one = 1, three = 3;
    volatile double third = one / three;
    return third > 0x1.5555555555555p-2;
}

/* The control bits for rounding upwards: <fenv.h> has the field's value, whose place in what the
 * port saves differs: as it is, or in both units of x86. */
static uint64_t upward(uint64_t usual)
{
    const uint64_t places[] = { (uint64_t)FE_UPWARD,
                                (uint64_t)FE_UPWARD << 3 | (uint64_t)FE_UPWARD << 32 };
    for (int i = 0; i < 2; i++) {
        coir__arch_fpu_load(usual | places[i]);
        bool found = rounds_up();
        coir__arch_fpu_load(usual);
        if (found)
            return usual | places[i];
    }
    return 0;
}

struct modes {
    uint64_t usual, up;
    _Atomic int wrong, checked;
    _Atomic bool go;
};

static void park_somehow(int turn)
{
    if (turn % 3 == 0)
        coir_sleep(COIR_US(10));
    else if (turn % 3 == 1)
        coir_join(coir_spawn(kit_nothing, NULL), NULL);
    else
        coir_yield();
}

static void expect(struct modes *m, bool up)
{
    atomic_fetch_add(&m->wrong, rounds_up() != up);
    atomic_fetch_add(&m->checked, 1);
}

static void *saves(void *arg)
{
    struct modes *m = arg;
    expect(m, false); /* it begins with the usual one */
    for (int i = 0; i < TURNS; i++) {
        bool up = i % 2 == 0;
        coir__arch_fpu_load(up ? m->up : m->usual);
        park_somehow(i);
        expect(m, up);
        park_somehow(i + 1);
        expect(m, up);
    }
    coir__arch_fpu_load(m->up); /* and ends with another: the worker must not keep it */
    return NULL;
}

/* Without COIR_SAVE_FPU the bits are the worker's: changed and put back without parking. */
static void *plain(void *arg)
{
    struct modes *m = arg;
    for (int i = 0; i < 2 * TURNS; i++) {
        expect(m, false);
        coir__arch_fpu_load(m->up);
        expect(m, true);
        coir__arch_fpu_load(m->usual);
        park_somehow(i);
    }
    return NULL;
}

static void mix_modes(void *arg)
{
    coir_fiber *fibers[FIBERS];
    for (int i = 0; i < FIBERS; i++) {
        coir_attr attr = { .flags = COIR_SPREAD | (i % 2 ? COIR_SAVE_FPU : 0) };
        fibers[i] = coir_spawn_with(&attr, i % 2 ? saves : plain, arg);
    }
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
}

static void a_fiber_that_saves_it_keeps_its_rounding_mode(void **state)
{
    uint64_t usual = coir__arch_fpu_save();
    (void)state;
    if (!upward(usual))
        skip(); /* valgrind, say: it knows one mode */
    for (const unsigned *w = test_workers; *w; w++) {
        struct modes m = { .usual = usual, .up = upward(usual) };
        assert_int_equal(fiber_test_run(*w, mix_modes, &m), 0);
        assert_int_equal(m.wrong, 0);
        assert_int_equal(m.checked, FIBERS / 2 * (1 + 2 * TURNS) + FIBERS / 2 * 4 * TURNS);
        assert_false(rounds_up());
    }
}

/* The bytes around a thread pointer, as far as they can be read, moved to a place of its own. A
 * pipe reads them, so that what is not mapped is an error and no fault. */
static bool copy_block(uintptr_t tp, char *to)
{
    int ends[2], copied = 0;
    if (pipe(ends) < 0)
        return false;
    expect_bad_pointers();
    for (int at = -BLOCK_HALF; at < BLOCK_HALF; at += 256)
        if (write(ends[1], (char *)tp + at, 256) == 256)
            copied += read(ends[0], to + BLOCK_HALF + at, 256) == 256;
    close(ends[0]);
    close(ends[1]);
    /* The block points at itself. */
    uintptr_t new_tp = (uintptr_t)to + BLOCK_HALF;
    for (int at = 0; at < 2 * BLOCK_HALF; at += (int)sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, to + at, sizeof word);
        if (word == tp)
            memcpy(to + at, &new_tp, sizeof new_tp);
    }
    expect_no_more_bad_pointers();
    return copied > 0;
}

/* Found by the thread pointer alone: not by the C library, which would find the thread's own. */
static _Thread_local int local __attribute__((tls_model("initial-exec"))) = 7;

struct owner {
    int number, wrong, turns;
    _Atomic bool go;
    char *block;
    uintptr_t workers_tp;
};

/* Not inlined: the address of a thread-local is found anew at each call. */
static __attribute__((noinline)) int *address_of_local(void)
{
    int *at = &local;
    __asm__ volatile("" : "+r"(at));
    return at;
}

static void *owns_its_thread_pointer(void *arg)
{
    struct owner *o = arg;
    uintptr_t mine = (uintptr_t)o->block + BLOCK_HALF;
    for (int i = 0; i < TURNS; i++) {
        o->wrong += coir__arch_tp() != mine;
        o->wrong += *address_of_local() != (i ? 1000 * o->number + i - 1 : 7);
        *address_of_local() = 1000 * o->number + i;
        if (i % 2)
            coir__yield();
        else
            o->wrong += coir__sleep_until(coir__host_now() + 1000) != 0;
        o->turns++;
    }
    return NULL;
}

static void *has_the_workers(void *arg)
{
    struct owner *o = arg;
    for (int i = 0; i < 4 * TURNS; i++) {
        o->wrong += coir__arch_tp() != o->workers_tp || *address_of_local() != 7;
        park_somehow(i);
        o->turns++;
    }
    return NULL;
}

static void *run_owners(void *arg)
{
    struct owner *owners = arg;
    struct coir__worker *w = coir__worker_self();
    struct coir__spawn how = { .fn = owns_its_thread_pointer,
                               .flags = COIR__OWNS_TP,
                               .stack_class = -1,
                               .deadline_ns = COIR__NEVER };
    void *handles[FIBERS];
    for (int i = 0; i < FIBERS; i++) {
        struct coir__fiber *f;
        owners[i].number = i;
        owners[i].workers_tp = w->thread_pointer;
        if (i % 2) {
            handles[i] = coir_spawn(has_the_workers, &owners[i]);
            continue;
        }
        how.arg = &owners[i];
        if (!copy_block(w->thread_pointer, owners[i].block) || coir__spawn(NULL, &how, &f) < 0)
            return coir_fail(ENOSYS);
        coir__fiber_more(f)->thread_pointer = (uintptr_t)owners[i].block + BLOCK_HALF;
        handles[i] = coir__fiber_handle(f);
    }
    for (int i = 0; i < FIBERS; i++)
        owners[0].wrong += coir_join(handles[i], NULL) != 0;
    owners[0].wrong += coir__arch_tp() != w->thread_pointer || *address_of_local() != 7;
    return NULL;
}

static void on_each_worker(void *arg)
{
    struct owner(*owners)[FIBERS] = arg;
    unsigned workers = coir__worker_self()->rt->config.workers;
    coir_fiber *fibers[4];
    kit_nobody_steals(); /* the owners' blocks name their worker */
    for (unsigned i = 0; i < workers; i++) {
        const coir_attr spread = { .flags = COIR_SPREAD };
        fibers[i] = coir_spawn_with(&spread, run_owners, owners[i]);
    }
    for (unsigned i = 0; i < workers; i++)
        owners[0][0].wrong += coir_join(fibers[i], NULL) != 0;
}

static void a_fiber_that_owns_it_has_its_own_thread_pointer(void **state)
{
    (void)state;
    if (TEST_SANITIZED)
        skip();
    for (const unsigned *w = test_workers; *w; w++) {
        struct owner owners[4][FIBERS];
        memset(owners, 0, sizeof owners);
        for (int i = 0; i < 4 * FIBERS; i++)
            owners[i / FIBERS][i % FIBERS].block = aligned_alloc(PAGE, 2 * BLOCK_HALF);
        assert_int_equal(fiber_test_run(*w, on_each_worker, owners), 0);
        for (int i = 0; i < 4 * FIBERS; i++) {
            struct owner *o = &owners[i / FIBERS][i % FIBERS];
            assert_int_equal(o->wrong, 0);
            if (i / FIBERS < (int)*w)
                assert_int_equal(o->turns, i % 2 ? 4 * TURNS : TURNS);
            free(o->block);
        }
        assert_int_equal(local, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fiber_that_saves_it_keeps_its_rounding_mode),
        cmocka_unit_test(a_fiber_that_owns_it_has_its_own_thread_pointer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
