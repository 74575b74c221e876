/* tests/sched/thread_test.c - plain OS threads that spawn, join, detach and cancel.
 * SPDX-License-Identifier: MIT
 *
 * Method: whatever starts a runtime by itself runs in a child process, because that runtime ends
 * only with the process; the child exits with 0 when all was right, else with the number of the
 * check that failed. Threads that meet the end of a coir_run may find their handles stale. */
#include "kit.h"

enum { THREADS = 4 };

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return __LINE__ % 256 ? __LINE__ % 256 : 1;                                            \
    } while (0)

static void assert_child(int (*fn)(void *), void *arg)
{
    char text[512];
    int status = test_child(fn, arg, text, sizeof text);
    if (WIFSIGNALED(status))
        print_error("child: signal %d: %s\n", WTERMSIG(status), text);
    else if (status)
        print_error("child: check in line %d (modulo 256): %s\n", WEXITSTATUS(status), text);
    assert_int_equal(status, 0);
}

struct meet {
    unsigned workers;
    int rounds;
    _Atomic int ran, joined, refused, stale, wrong, left;
    _Atomic bool go, stop;
    coir_fiber *handle;
};

static void *count_and_sleep(void *arg)
{
    struct meet *m = arg;
    coir_sleep(COIR_US(200));
    atomic_fetch_add(&m->ran, 1);
    return m;
}

static void *fail_with_eio(void *arg)
{
    (void)arg;
    return coir_fail(EIO);
}

static void *join_by_handle(void *arg)
{
    return (void *)(intptr_t)coir_join(arg, NULL);
}

static int spawn_without_a_runtime(void *arg)
{
    struct meet m = { .ran = 0 };
    void *result = NULL;
    (void)arg;
    alarm(KIT_PATIENCE_S);
    CHECK(strcmp(coir_io_engine(), "none") == 0);
    coir_fiber *f = coir_spawn(count_and_sleep, &m);
    CHECK(f);
    CHECK(strcmp(coir_io_engine(), "none") != 0);
    CHECK(coir_self() == NULL);
    CHECK(coir_join(f, &result) == 0 && result == &m && m.ran == 1);
    CHECK(coir_join(f, NULL) == -1 && errno == EINVAL);
    CHECK(coir_join(coir_spawn(fail_with_eio, NULL), NULL) == -1 && errno == EIO);

    f = coir_spawn(count_and_sleep, &m);
    CHECK(coir_detach(f) == 0);
    CHECK(coir_detach(f) == -1 && errno == EINVAL);
    CHECK(coir_join(f, NULL) == -1 && errno == EINVAL);
    CHECK(KIT_UNTIL(m.ran == 2));

    f = coir_spawn(kit_nothing, NULL);
    coir_fiber *joiner = coir_spawn(join_by_handle, f);
    CHECK(coir_join(joiner, &result) == 0 && result == NULL);

    /* A deadline is the thread's own, and ends the join only. */
    struct meet slow = { .ran = 0 };
    const coir_attr attr = { .deadline_ns = COIR_NEVER };
    COIR_TIMEOUT(COIR_MS(1)) {
        f = coir_spawn_with(&attr, count_and_sleep, &slow);
        while (coir_join(f, NULL) == 0)
            f = coir_spawn_with(&attr, count_and_sleep, &slow);
        CHECK(errno == ETIMEDOUT);
    }
    CHECK(coir_join(f, NULL) == 0);
    return 0;
}

static void a_runtime_starts_by_itself_for_plain_threads(void **state)
{
    (void)state;
    assert_child(spawn_without_a_runtime, NULL);
}

static void *spawn_and_join(void *arg)
{
    struct meet *m = arg;
    for (int i = 0; i < m->rounds; i++) {
        void *result = NULL;
        coir_fiber *f = coir_spawn(count_and_sleep, m);
        if (!f || coir_join(f, &result) < 0 || result != m)
            atomic_fetch_add(&m->wrong, 1);
    }
    return NULL;
}

static int many_threads_without_a_runtime(void *arg)
{
    struct meet m = { .rounds = test_scaled(200, 10) };
    pthread_t threads[THREADS];
    (void)arg;
    alarm(KIT_PATIENCE_S);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, spawn_and_join, &m) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(m.wrong == 0 && m.ran == THREADS * m.rounds);
    return 0;
}

static void many_threads_share_the_runtime_that_started_by_itself(void **state)
{
    (void)state;
    assert_child(many_threads_without_a_runtime, NULL);
}

static void *note_runtime(void *arg)
{
    *(struct coir__runtime **)arg = coir__worker_self()->rt;
    return NULL;
}

static void *ask_for_runtime(void *arg)
{
    struct coir__runtime **rt = arg;
    coir_join(coir_spawn(note_runtime, rt), NULL);
    return NULL;
}

struct both {
    struct coir__runtime *runs, *automatic, *of_thread;
};

static void with_a_thread(void *arg)
{
    struct both *both = arg;
    pthread_t thread;
    both->runs = coir__worker_self()->rt;
    coir_join(both->automatic ? coir_spawn(kit_nothing, NULL) : NULL, NULL);
    pthread_create(&thread, NULL, ask_for_runtime, &both->of_thread);
    /* The thread needs this worker: do not block it. */
    KIT_UNTIL(pthread_tryjoin_np(thread, NULL) == 0);
}

static int choose_runtime(void *arg)
{
    const coir_options one = { .workers = 1 };
    struct both both = { NULL, NULL, NULL };
    (void)arg;
    alarm(KIT_PATIENCE_S);
    ask_for_runtime(&both.automatic);
    CHECK(both.automatic);
    for (int i = 0; i < 3; i++) {
        CHECK(coir_run(with_a_thread, &both, &one) == 0);
        CHECK(both.runs != both.automatic && both.of_thread == both.runs);
        ask_for_runtime(&both.of_thread);
        CHECK(both.of_thread == both.automatic);
    }
    return 0;
}

static void *spawn_and_join_some(void *arg)
{
    for (int i = 0; i < 20; i++)
        if (coir_join(coir_spawn(kit_nothing, arg), NULL) < 0)
            return NULL;
    return arg;
}

/* What it should not do: its worker is blocked. */
static void wait_for_a_thread(void *arg)
{
    void **result = arg;
    pthread_t thread;
    const struct coir__runtime *rt = coir__worker_self()->rt;
    for (unsigned i = 1; i < rt->config.workers; i++)
        KIT_UNTIL(atomic_load(&rt->workers[i].sleeping));
    pthread_create(&thread, NULL, spawn_and_join_some, arg);
    pthread_join(thread, result);
}

static void a_thread_is_served_by_a_worker_that_is_idle(void **state)
{
    (void)state;
    for (unsigned workers = 2; workers <= 4; workers++) {
        void *result = NULL;
        assert_int_equal(fiber_test_run(workers, wait_for_a_thread, &result), 0);
        assert_ptr_equal(result, &result);
    }
}

static void while_coir_run_is_active_threads_use_its_runtime(void **state)
{
    (void)state;
    assert_child(choose_runtime, NULL);
}

/* Threads that go on spawning and joining, whatever runtime there is at the moment. They pause, so
 * that there are moments without any fiber: coir_run does not end before one. */
static void *storm(void *arg)
{
    struct meet *m = arg;
    for (unsigned i = 0; !atomic_load(&m->stop); i++) {
        void *result = NULL;
        if (i % 3)
            usleep(i % 1000 + 1000);
        coir_fiber *f = coir_spawn(i % 4 ? count_and_sleep : kit_nothing, m);
        if (!f) {
            atomic_fetch_add(errno == EAGAIN ? &m->refused : &m->wrong, 1);
            continue;
        }
        if (i % 5 == 0)
            coir_cancel(f);
        if (i % 7 == 0) {
            atomic_fetch_add(coir_detach(f) == 0 || errno == EINVAL ? &m->left : &m->wrong, 1);
        } else if (coir_join(f, &result) == 0) {
            atomic_fetch_add(result == m ? &m->joined : &m->wrong, 1);
        } else {
            atomic_fetch_add(errno == EINVAL ? &m->stale : &m->wrong, 1);
        }
    }
    return NULL;
}

static void short_run(void *arg)
{
    struct meet *m = arg;
    for (int i = m->rounds % 4; i > 0; i--)
        coir_sleep(COIR_US(100));
}

static int storm_around_runs(void *arg)
{
    struct meet m = { .workers = *(unsigned *)arg };
    const coir_options options = { .workers = m.workers, .drain_ns = COIR_MS(10) };
    pthread_t threads[THREADS];
    alarm(2 * KIT_PATIENCE_S);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, storm, &m) == 0);
    for (m.rounds = 0; m.rounds < test_scaled(300, 20); m.rounds++)
        CHECK(coir_run(short_run, &m, &options) == 0);
    CHECK(KIT_UNTIL(m.joined > 0));
    atomic_store(&m.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(m.wrong == 0);
    return 0;
}

static void threads_spawn_and_join_while_coir_run_comes_and_goes(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        assert_child(storm_around_runs, (void *)(uintptr_t)w);
}

/* The first spawn of a thread, which starts the other runtime, comes while coir_run ends and gives
 * the memory of many stacks and records back. */
static void *spawn_at_the_end(void *arg)
{
    struct meet *m = arg;
    while (!atomic_load(&m->go))
        sched_yield();
    usleep((useconds_t)m->rounds * 100);
    for (int i = 0; i < 100; i++) {
        void *result = NULL;
        coir_fiber *f = coir_spawn(kit_nothing, m);
        if (f && coir_join(f, &result) == 0 && result != m)
            atomic_fetch_add(&m->wrong, 1);
        atomic_fetch_add(&m->joined, result == m);
    }
    return NULL;
}

static void *sleep_till_cancelled(void *arg)
{
    coir_sleep(COIR_NEVER);
    return arg;
}

static void let_go(void *arg)
{
    enum { STACKS = 2000 };
    static coir_fiber *fibers[STACKS];
    struct meet *m = arg;
    for (int i = 0; i < STACKS; i++)
        fibers[i] = coir_spawn(sleep_till_cancelled, NULL);
    coir_sleep(1);
    for (int i = 0; i < STACKS; i++) {
        coir_cancel(fibers[i]);
        coir_join(fibers[i], NULL);
    }
    atomic_store(&m->go, true);
}

static int start_while_ending(void *arg)
{
    struct meet m = { .rounds = *(int *)arg };
    const coir_options options = { .workers = 2 };
    pthread_t thread;
    alarm(KIT_PATIENCE_S);
    CHECK(pthread_create(&thread, NULL, spawn_at_the_end, &m) == 0);
    CHECK(coir_run(let_go, &m, &options) == 0);
    CHECK(coir_run(let_go, &m, &options) == 0);
    pthread_join(thread, NULL);
    CHECK(m.wrong == 0);
    CHECK(m.joined > 0);
    return 0;
}

static void the_other_runtime_may_start_while_coir_run_ends(void **state)
{
    (void)state;
    for (int i = 0; i < test_scaled(100, 10); i++) {
        int rounds = i % 50;
        assert_child(start_while_ending, &rounds);
    }
}

/* A thread that joins the last fiber of a run still gets its result. */
static void *join_the_last(void *arg)
{
    struct meet *m = arg;
    void *result = NULL;
    if (coir_join(m->handle, &result) == 0 && result == m)
        atomic_fetch_add(&m->joined, 1);
    else
        atomic_fetch_add(&m->wrong, 1);
    return NULL;
}

static void *end_after_main(void *arg)
{
    coir_sleep(COIR_US(100));
    return arg;
}

static void leave_one_to_the_thread(void *arg)
{
    struct meet *m = arg;
    pthread_t thread;
    m->handle = coir_spawn(end_after_main, m);
    struct coir__fiber *record = kit_record(m->handle);
    pthread_create(&thread, NULL, join_the_last, m);
    pthread_detach(thread);
    while (!record->joiner && !record->done)
        kit_pause();
    if (record->done && !record->joiner)
        atomic_fetch_add(&m->left, 1); /* the thread came too late to wait */
}

static void a_thread_that_waits_gets_the_result_of_the_last_fiber(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        for (int i = 0; i < test_scaled(300, 20); i++) {
            struct meet m = { .workers = *w };
            assert_int_equal(fiber_test_run(*w, leave_one_to_the_thread, &m), 0);
            assert_true(KIT_UNTIL(m.joined + m.wrong == 1));
            if (!m.left)
                assert_int_equal(m.joined, 1);
        }
}

/* cancel of handles that end, are joined and reused meanwhile hits nobody else. */
struct cancels {
    _Atomic(coir_fiber *) handle;
    _Atomic bool stop;
    _Atomic int sent;
    int innocent_hit, rounds;
};

/* valgrind lets threads take turns, each for long: who spins would nearly always lose its turn with
 * a lock held. */
static void one_thread_at_a_time(void)
{
    if (TEST_VALGRIND)
        sched_yield();
}

static void *cancel_all_the_time(void *arg)
{
    struct cancels *c = arg;
    while (!atomic_load(&c->stop)) {
        if (coir_cancel(atomic_load(&c->handle)) == 0)
            atomic_fetch_add(&c->sent, 1);
        one_thread_at_a_time();
    }
    return NULL;
}

static void *be_innocent(void *arg)
{
    struct cancels *c = arg;
    coir_yield();
    if (coir_check() < 0)
        c->innocent_hit++;
    return NULL;
}

static void aim_and_miss(void *arg)
{
    struct cancels *c = arg;
    pthread_t thread;
    pthread_create(&thread, NULL, cancel_all_the_time, c);
    for (int i = 0; i < c->rounds || (!c->sent && i < 1000 * c->rounds); i++) {
        coir_fiber *victim = coir_spawn(kit_nothing, NULL);
        atomic_store(&c->handle, victim);
        one_thread_at_a_time();
        coir_join(victim, NULL);
        coir_join(coir_spawn(be_innocent, c), NULL); /* most often in the same record */
    }
    atomic_store(&c->stop, true);
    pthread_join(thread, NULL);
}

static void a_late_cancel_hits_nobody_else(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct cancels c = { .rounds = TEST_VALGRIND ? 200 : test_scaled(200000, 2000) };
        assert_int_equal(fiber_test_run(*w, aim_and_miss, &c), 0);
        assert_int_equal(c.innocent_hit, 0);
        assert_true(c.sent > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_runtime_starts_by_itself_for_plain_threads),
        cmocka_unit_test(many_threads_share_the_runtime_that_started_by_itself),
        cmocka_unit_test(while_coir_run_is_active_threads_use_its_runtime),
        cmocka_unit_test(a_thread_is_served_by_a_worker_that_is_idle),
        cmocka_unit_test(threads_spawn_and_join_while_coir_run_comes_and_goes),
        cmocka_unit_test(the_other_runtime_may_start_while_coir_run_ends),
        cmocka_unit_test(a_thread_that_waits_gets_the_result_of_the_last_fiber),
        cmocka_unit_test(a_late_cancel_hits_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
