/* tests/sync/scope_cancel_test.c - cancel, deadline and failure: how they come to an opener, to its
 * children and to theirs.
 * SPDX-License-Identifier: MIT
 *
 * Method: the opener is made to wait in every kind of call, or to compute, and is then cancelled,
 * or a child of its fails. */
#include "scope_kit.h"

/* What an opener may be parked in; each says what its call said. */
struct place {
    const char *name;
    enum coir__why why;
    bool lasts; /* neither cancel nor failure ends it, only `open` does */
    struct kit_said (*park)(struct place *);
    coir_mutex mutex;
    coir_fiber *other;
};

static struct kit_said park_in_sleep(struct place *p)
{
    (void)p;
    return KIT_SAID(coir_sleep(COIR_SEC(1000)));
}

static struct kit_said park_in_join(struct place *p)
{
    return KIT_SAID(coir_join(p->other, NULL));
}

static struct kit_said park_in_timedlock(struct place *p)
{
    return KIT_SAID(coir_mutex_timedlock(&p->mutex, COIR_NEVER));
}

static struct kit_said park_in_lock(struct place *p)
{
    coir_mutex_lock(&p->mutex);
    coir_mutex_unlock(&p->mutex);
    return (struct kit_said){ 0, 0 };
}

static struct kit_said park_in_sem(struct place *p)
{
    coir_sem none = COIR_SEM_INIT(0);
    (void)p;
    return KIT_SAID(coir_sem_wait(&none));
}

static struct kit_said park_in_nested_wait(struct place *p)
{
    coir_scope nested;
    (void)p;
    coir_scope_open(&nested);
    for (int i = 0; i < 3; i++)
        CHECK(coir_scope_spawn_with(&nested, &spread, sleep_for_ever, NULL) == 0);
    return KIT_SAID(coir_scope_wait(&nested));
}

static struct place places[] = {
    { "sleep", COIR__WHY_SLEEP, false, park_in_sleep, COIR_MUTEX_INIT, NULL },
    { "join", COIR__WHY_JOIN, false, park_in_join, COIR_MUTEX_INIT, NULL },
    { "timedlock", COIR__WHY_MUTEX, false, park_in_timedlock, COIR_MUTEX_INIT, NULL },
    { "lock", COIR__WHY_MUTEX, true, park_in_lock, COIR_MUTEX_INIT, NULL },
    { "sem", COIR__WHY_SEM, false, park_in_sem, COIR_MUTEX_INIT, NULL },
    { "nested wait", COIR__WHY_SCOPE, false, park_in_nested_wait, COIR_MUTEX_INIT, NULL },
};
enum { PLACES = sizeof places / sizeof *places, CHILDREN = 4 };

struct opener {
    struct place *place;
    _Atomic int began, cancelled;
    _Atomic bool may_fail;
    struct kit_said parked, waited;
    int after; /* coir_check() when all is over */
};

static int note_cancel(void *arg)
{
    struct opener *o = arg;
    o->began++;
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    o->cancelled++;
    errno = ECANCELED;
    return -1;
}

static int fail_when_told(void *arg)
{
    struct opener *o = arg;
    while (!o->may_fail)
        kit_pause();
    return fail_with(ERR(ENOENT));
}

static void *open_and_park(void *arg)
{
    struct opener *o = arg;
    coir_scope scope;
    coir_scope_open(&scope);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, note_cancel, o) == 0);
    CHECK(coir_scope_spawn_with(&scope, &spread, fail_when_told, o) == 0);
    CHECK(KIT_UNTIL(o->began == CHILDREN));
    o->parked = o->place->park(o->place);
    o->waited = KIT_SAID(coir_scope_wait(&scope));
    o->after = coir_check();
    return NULL;
}

static void run_place(struct place *p, bool by_failure)
{
    struct opener o = { .place = p };
    coir_attr names = { .flags = COIR_SPREAD, .name = p->name };
    coir_mutex_lock(&p->mutex);
    p->other = coir_spawn(wait_for_cancel, NULL);
    coir_fiber *opener = coir_spawn_with(&names, open_and_park, &o);
    CHECK(KIT_UNTIL(parked(opener, p->why)));
    if (by_failure)
        o.may_fail = true;
    else
        coir_cancel(opener);
    CHECK(KIT_UNTIL(o.cancelled == CHILDREN)); /* at once, also where the opener waits on */
    o.may_fail = true;
    if (p->lasts) {
        CHECK(parked(opener, p->why));
        coir_mutex_unlock(&p->mutex);
    }
    coir_join(opener, NULL);
    CHECK(o.parked.result == (p->lasts ? 0 : -1));
    CHECK(o.parked.err == (p->lasts ? 0 : ECANCELED));
    CHECK(o.waited.result == -1);
    CHECK(by_failure ? o.waited.err == ENOENT
                     : o.waited.err == ECANCELED || o.waited.err == ENOENT);
    CHECK(o.after == (by_failure ? 0 : -1));
    coir_cancel(p->other);
    coir_join(p->other, NULL);
    if (!p->lasts)
        coir_mutex_unlock(&p->mutex);
}

static void cancelled_in_places(void *arg)
{
    (void)arg;
    for (int i = 0; i < PLACES; i++)
        run_place(&places[i], false);
}

static void cancelling_an_opener_cancels_its_children_wherever_it_is_parked(void **state)
{
    (void)state;
    run_checks(cancelled_in_places);
}

static void failed_in_places(void *arg)
{
    (void)arg;
    for (int i = 0; i < PLACES; i++)
        run_place(&places[i], true);
}

static void a_failing_child_ends_the_call_that_the_opener_is_parked_in(void **state)
{
    (void)state;
    run_checks(failed_in_places);
}

/* A tree: each level has two scopes of two, and waits in one of them. */
struct level {
    int depth;
    _Atomic int *began, *cancelled;
};

static int grow(void *arg)
{
    struct level *l = arg, below = { l->depth - 1, l->began, l->cancelled };
    coir_scope scopes[2];
    atomic_fetch_add(l->began, 1);
    if (!l->depth) {
        CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    } else {
        for (int i = 0; i < 2; i++)
            coir_scope_open(&scopes[i]);
        for (int i = 0; i < 4; i++)
            CHECK(coir_scope_spawn_with(&scopes[i / 2], &spread, grow, &below) == 0);
        CHECK_SAYS(coir_scope_wait(&scopes[l->depth % 2]), ECANCELED);
        CHECK_SAYS(coir_scope_wait(&scopes[!(l->depth % 2)]), ECANCELED);
    }
    atomic_fetch_add(l->cancelled, 1);
    errno = ECANCELED;
    return -1;
}

enum { DEPTH = 3, LEVELS = 1 + 4 + 16 + 64 };

static void cancels_a_tree(void *arg)
{
    _Atomic int began = 0, cancelled = 0;
    struct level root = { DEPTH, &began, &cancelled };
    coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, grow, &root) == 0);
    CHECK(KIT_UNTIL(began == LEVELS));
    coir_scope_cancel(&scope);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK(cancelled == LEVELS);
}

static void cancel_reaches_nested_scopes(void **state)
{
    (void)state;
    run_checks(cancels_a_tree);
}

/* Three fibers that compute, or sleep, on workers of their own. */
static struct {
    unsigned used[3];
    _Atomic int at; /* how many have found a worker */
    _Atomic bool reached;
    _Atomic(coir_fiber *) top;
} chain;

static bool on_new_worker(void)
{
    unsigned here = coir__worker_self()->index;
    for (int i = 0; i < chain.at; i++)
        if (chain.used[i] == here)
            return false;
    chain.used[chain.at] = here;
    chain.at++;
    return true;
}

static int be_link(void *arg)
{
    int place = (int)(intptr_t)arg;
    coir_scope scope;
    if (chain.at != place || !on_new_worker())
        return 0;
    if (place == 2) {
        CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
        chain.reached = true;
        return 0;
    }
    coir_scope_open(&scope);
    while (chain.at == place + 1) {
        int err = coir_scope_spawn_with(&scope, &spread, be_link, ERR(place + 1));
        CHECK(err == 0 || (errno == ECANCELED && chain.at == 3)); /* cancelled right now */
        coir_yield();
    }
    if (place == 0)
        chain.top = coir_self();
    int64_t until_ns = coir_now() + COIR_SEC(KIT_PATIENCE_S);
    while (!chain.reached && coir_now() < until_ns)
        sched_yield(); /* computes: it does not park */
    coir_scope_close(&scope);
    return 0;
}

static void *be_top(void *arg)
{
    be_link(arg);
    return NULL;
}

static void *cancel_top(void *arg)
{
    (void)arg;
    CHECK(KIT_UNTIL(chain.at == 3 && chain.top));
    CHECK(coir_cancel(chain.top) == 0);
    return NULL;
}

static void make_chain(void *arg)
{
    struct helper thread;
    (void)arg;
    memset(&chain, 0, sizeof chain);
    coir_fiber *top = coir_spawn(be_top, NULL);
    helper_start(&thread, cancel_top, NULL);
    coir_join(top, NULL);
    helper_join(&thread);
    CHECK(chain.reached);
}

static void cancel_passes_fibers_that_compute(void **state)
{
    (void)state;
    checks_begin();
    assert_int_equal(fiber_test_run(4, make_chain, NULL), 0);
    checks_assert();
}

struct shielded {
    _Atomic int outside_began, inside_began, inside_ended;
    _Atomic bool go;
    int inside, outside;
};

static int end_when_told(void *arg)
{
    struct shielded *s = arg;
    s->inside_began++;
    while (!s->go)
        if (coir_sleep(COIR_US(50)) < 0)
            return -1;
    s->inside_ended++;
    return 0;
}

static void *open_in_shield(void *arg)
{
    struct shielded *s = arg;
    coir_scope outside, inside;
    coir_scope_open(&outside);
    CHECK(coir_scope_spawn_with(&outside, &spread, sleep_for_ever, &s->outside_began) == 0);
    CHECK(coir_scope_spawn_with(&outside, &spread, sleep_for_ever, &s->outside_began) == 0);
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S)) {
        coir_scope_open(&inside);
        CHECK(coir_scope_spawn_with(&inside, &spread, end_when_told, s) == 0);
        CHECK(coir_scope_wait(&inside) == 0); /* the cancel comes meanwhile */
        CHECK(coir_sleep(1) == 0);
        coir_scope_open(&inside); /* after it */
        CHECK(coir_scope_spawn_with(&inside, &spread, end_when_told, s) == 0);
        CHECK(coir_scope_wait(&inside) == 0);
    }
    CHECK_SAYS(coir_sleep(1), ECANCELED);
    CHECK_SAYS(coir_scope_wait(&outside), ECANCELED);
    coir_scope_open(&outside); /* now one is born cancelled */
    CHECK_SAYS(coir_scope_spawn(&outside, succeed, NULL), ECANCELED);
    CHECK_SAYS(coir_scope_wait(&outside), ECANCELED);
    return NULL;
}

static void shields(void *arg)
{
    struct shielded s = { 0 };
    (void)arg;
    coir_fiber *opener = coir_spawn(open_in_shield, &s);
    CHECK(KIT_UNTIL(s.outside_began == 2 && s.inside_began == 1));
    coir_cancel(opener);
    coir_sleep(COIR_US(100));
    coir_cancel(opener);
    s.go = true;
    coir_join(opener, NULL);
    CHECK(s.inside_ended == 2);
}

static void a_shield_keeps_cancel_from_scopes_opened_in_it(void **state)
{
    (void)state;
    run_checks(shields);
}

static int outlive_cancel(void *arg)
{
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S))
        coir_sleep(COIR_MS(1));
    *(_Atomic int *)arg += 1;
    return 0;
}

static void waits_with_deadline(void *arg)
{
    const coir_attr no_deadline = { .flags = COIR_SPREAD, .deadline_ns = COIR_NEVER };
    _Atomic int ended = 0;
    coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &no_deadline, outlive_cancel, &ended) == 0);
    COIR_TIMEOUT(COIR_MS(1))
        CHECK_SAYS(coir_scope_wait(&scope), ETIMEDOUT);
    CHECK(ended == CHILDREN);

    coir_scope_open(&scope); /* level-triggered: also when there is nothing to wait for */
    COIR_TIMEOUT(-1)
        CHECK_SAYS(coir_scope_wait(&scope), ETIMEDOUT);
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn_with(&scope, &no_deadline, outlive_cancel, &ended) == 0);
    COIR_TIMEOUT(-1)
        CHECK_SAYS(coir_scope_wait(&scope), ETIMEDOUT);
    CHECK(ended == CHILDREN + 1);

    coir_scope_open(&scope); /* what came first is what wait says */
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(ENOENT)) == 0);
    CHECK(KIT_UNTIL(scope_is(&scope, COIR__SCOPE_HAS_FAILED)));
    COIR_TIMEOUT(-1)
        CHECK_SAYS(coir_scope_wait(&scope), ENOENT);
    coir_scope_open(&scope); /* a child's deadline is a failure of its own */
    COIR_TIMEOUT(COIR_MS(1))
        CHECK(coir_scope_spawn(&scope, sleep_for_ever, NULL) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ETIMEDOUT);
    CHECK(coir_check() == 0);
}

static void a_deadline_in_wait_cancels_the_children_and_waits_on(void **state)
{
    (void)state;
    run_checks(waits_with_deadline);
}

static void *spawn_both_ways(void *arg)
{
    coir_fiber **merely = arg;
    coir_scope scope;
    *merely = coir_spawn(wait_for_cancel, NULL);
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, sleep_for_ever, NULL) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ECANCELED);
    return NULL;
}

static void cancels_children_only(void *arg)
{
    coir_fiber *merely = NULL;
    (void)arg;
    coir_fiber *opener = coir_spawn(spawn_both_ways, &merely);
    CHECK(KIT_UNTIL(parked(opener, COIR__WHY_SCOPE) && parked(merely, COIR__WHY_SLEEP)));
    coir_cancel(opener);
    coir_join(opener, NULL);
    coir_sleep(COIR_US(100));
    CHECK(parked(merely, COIR__WHY_SLEEP));
    coir_cancel(merely);
    coir_join(merely, NULL);
}

static void fibers_that_were_merely_spawned_are_not_cancelled(void **state)
{
    (void)state;
    run_checks(cancels_children_only);
}

/* On the test's own thread, whose children run in the runtime that starts by itself. */
static void a_plain_thread_opens_and_waits(void **state)
{
    _Atomic int began = 0, ended = 0;
    coir_scope scope = COIR_SCOPE_INIT;
    (void)state;
    checks_begin();
    CHECK(coir_scope_open(&scope) == 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn(&scope, sleep_for_ever, &began) == 0);
    CHECK(KIT_UNTIL(began == CHILDREN));
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(ENOENT)) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ENOENT);
    CHECK(coir_check() == 0);

    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, succeed, NULL) == 0);
    CHECK(coir_scope_wait(&scope) == 0);

    const coir_attr no_deadline = { .deadline_ns = COIR_NEVER };
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn_with(&scope, &no_deadline, outlive_cancel, &ended) == 0);
    COIR_TIMEOUT(COIR_MS(1))
        CHECK_SAYS(coir_scope_wait(&scope), ETIMEDOUT);
    CHECK(ended == 1);

    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, outlive_cancel, &ended) == 0);
    coir_scope_close(&scope);
    CHECK(ended == 2);
    checks_assert();
}

static _Atomic int servants_began, servants_ended;

static int serve_for_ever(void *arg)
{
    (void)arg;
    servants_began++;
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    servants_ended++;
    return 0;
}

static void *serve_detached(void *arg)
{
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    (void)arg;
    coir_scope_open(&scope);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, serve_for_ever, NULL) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ECANCELED);
    servants_ended++;
    return NULL;
}

static void leave_servants(void *arg)
{
    const coir_attr detached = { .flags = COIR_DETACHED };
    (void)arg;
    servants_began = servants_ended = 0;
    CHECK(coir_spawn_with(&detached, serve_detached, NULL) != NULL);
    CHECK(coir_detach(coir_spawn(serve_detached, NULL)) == 0);
    CHECK(KIT_UNTIL(servants_began == 2 * CHILDREN));
}

static void leave_and_count(const unsigned *workers)
{
    checks_begin();
    assert_int_equal(fiber_test_run(*workers, leave_servants, NULL), 0);
    checks_assert();
    assert_int_equal(servants_ended, 2 * CHILDREN + 2);
}

static void scopes_of_detached_fibers_end_with_the_run(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++)
        leave_and_count(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelling_an_opener_cancels_its_children_wherever_it_is_parked),
        cmocka_unit_test(a_failing_child_ends_the_call_that_the_opener_is_parked_in),
        cmocka_unit_test(cancel_reaches_nested_scopes),
        cmocka_unit_test(cancel_passes_fibers_that_compute),
        cmocka_unit_test(a_shield_keeps_cancel_from_scopes_opened_in_it),
        cmocka_unit_test(a_deadline_in_wait_cancels_the_children_and_waits_on),
        cmocka_unit_test(fibers_that_were_merely_spawned_are_not_cancelled),
        cmocka_unit_test(a_plain_thread_opens_and_waits),
        cmocka_unit_test(scopes_of_detached_fibers_end_with_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
