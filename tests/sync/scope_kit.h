/* tests/sync/scope_kit.h - what the tests of scopes share.
 * SPDX-License-Identifier: MIT
 *
 * A test is a function of the first fiber, which checks as it goes; its checks are counted, and the
 * test's own thread asserts that all held. */
#ifndef TESTS_SYNC_SCOPE_KIT_H
#define TESTS_SYNC_SCOPE_KIT_H

#include "../sched/kit.h"

#include "sync/scope.h"

static struct {
    _Atomic int passed, failed, line; /* line: of the first that failed */
} checks;

static inline void check(bool holds, int line)
{
    int none = 0;
    atomic_fetch_add(holds ? &checks.passed : &checks.failed, 1);
    if (!holds)
        atomic_compare_exchange_strong(&checks.line, &none, line);
}

#define CHECK(cond)            check(cond, __LINE__)
#define CHECK_SAYS(call, want) check((call) == -1 && errno == (want), __LINE__)

static inline void checks_begin(void)
{
    atomic_store(&checks.passed, 0);
    atomic_store(&checks.failed, 0);
    atomic_store(&checks.line, 0);
}

static inline void checks_assert(void)
{
    if (checks.line)
        print_error("the check in line %d failed\n", checks.line);
    assert_int_equal(checks.failed, 0);
    assert_true(checks.passed > 0);
}

/* fn as the first fiber, with every number of workers. */
static inline void run_checks(void (*fn)(void *))
{
    for (const unsigned *w = test_workers; *w; w++) {
        checks_begin();
        assert_int_equal(fiber_test_run(*w, fn, NULL), 0);
        checks_assert();
    }
}

static const coir_attr spread = { .flags = COIR_SPREAD };

/* Children. */
static inline int succeed(void *arg)
{
    (void)arg;
    return 0;
}

static inline int fail_with(void *arg)
{
    errno = (int)(intptr_t)arg;
    return -1;
}

#define ERR(number) ((void *)(intptr_t)(number))

/* Sleeps until it is cancelled, and fails with what the sleep said; arg, or NULL: a counter of
 * those who have come so far. */
static inline int sleep_for_ever(void *arg)
{
    _Atomic int *began = arg;
    if (began)
        atomic_fetch_add(began, 1);
    while (coir_sleep(COIR_SEC(1000)) == 0)
        ;
    return -1;
}

/* The same for a fiber that is no child. */
static inline void *wait_for_cancel(void *arg)
{
    sleep_for_ever(arg);
    return NULL;
}

/* A plain thread beside the fibers. Joining it does not block the worker that its children need. */
struct helper {
    void *(*fn)(void *);
    void *arg;
    pthread_t thread;
    _Atomic bool done;
};

static inline void *help(void *arg)
{
    struct helper *h = arg;
    h->fn(h->arg);
    h->done = true;
    return NULL;
}

static inline void helper_start(struct helper *h, void *(*fn)(void *), void *arg)
{
    h->fn = fn;
    h->arg = arg;
    h->done = false;
    CHECK(pthread_create(&h->thread, NULL, help, h) == 0);
}

static inline void helper_join(struct helper *h)
{
    CHECK(KIT_UNTIL(h->done));
    pthread_join(h->thread, NULL);
}

static inline bool scope_is(coir_scope *scope, uint64_t bit)
{
    return atomic_load(&((struct coir__scope *)scope)->word) & bit;
}

static inline bool parked(coir_fiber *handle, enum coir__why why)
{
    uint8_t state = atomic_load(&kit_record(handle)->state);
    return state == (COIR__PARKED | (unsigned)why << COIR__WHY_SHIFT);
}

#endif
