/* tests/sync/scope_test.c - what a scope promises to who opens it, spawns into it and waits for it.
 * SPDX-License-Identifier: MIT
 *
 * How cancel comes down the tree is in scope_cancel_test.c, races in scope_race_test.c. */
#include "scope_kit.h"

enum { CHILDREN = 20 };

static bool is_zero(const coir_scope *scope)
{
    const coir_scope zero = COIR_SCOPE_INIT;
    return memcmp(scope, &zero, sizeof zero.opaque[0]) == 0; /* the word that says it is open */
}

static int count(void *arg)
{
    atomic_fetch_add((_Atomic int *)arg, 1);
    return 0;
}

static int count_late(void *arg)
{
    for (int i = 0; i < 5; i++)
        coir_yield();
    return count(arg);
}

static void waits(void *arg)
{
    _Atomic int counted = 0;
    coir_scope scope;
    (void)arg;
    memset(&scope, 0xff, sizeof scope); /* what was in it before does not matter */
    CHECK(coir_scope_open(&scope) == 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, i % 2 ? &spread : NULL, count_late, &counted) == 0);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK(counted == CHILDREN);
    CHECK(is_zero(&scope));
}

static void wait_returns_when_all_children_have_ended(void **state)
{
    (void)state;
    run_checks(waits);
}

static void opens_again(void *arg)
{
    _Atomic int counted = 0;
    coir_scope scope = COIR_SCOPE_INIT;
    (void)arg;
    for (int i = 0; i < 3; i++) {
        CHECK(coir_scope_open(&scope) == 0);
        CHECK_SAYS(coir_scope_open(&scope), EBUSY);
        CHECK(coir_scope_spawn(&scope, count, &counted) == 0);
        CHECK(coir_scope_spawn(&scope, fail_with, ERR(EPERM + i)) == 0);
        CHECK_SAYS(coir_scope_wait(&scope), EPERM + i);
        CHECK(coir_check() == 0);
    }
    CHECK(counted == 3);
    CHECK(coir_scope_open(&scope) == 0);
    CHECK(coir_scope_wait(&scope) == 0); /* without children */
}

static void a_scope_that_was_waited_for_opens_again_afresh(void **state)
{
    (void)state;
    run_checks(opens_again);
}

static void first_failure(void *arg)
{
    _Atomic int began = 0;
    coir_scope scope;
    (void)arg;
    CHECK(coir_scope_open(&scope) == 0);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, sleep_for_ever, &began) == 0);
    CHECK(KIT_UNTIL(began == CHILDREN));
    CHECK(coir_scope_spawn_with(&scope, &spread, fail_with, ERR(ENOENT)) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ENOENT);
}

static void the_first_failure_cancels_the_others_and_is_what_wait_says(void **state)
{
    (void)state;
    run_checks(first_failure);
}

static int fail_without_errno(void *arg)
{
    (void)arg;
    errno = 0;
    return -1;
}

static int return_more_than_0(void *arg)
{
    (void)arg;
    errno = ENOENT;
    return 5;
}

static void odd_results(void *arg)
{
    coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, fail_without_errno, NULL) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), EIO);
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, return_more_than_0, NULL) == 0);
    CHECK(coir_scope_wait(&scope) == 0);
}

static void a_failure_without_errno_is_eio(void **state)
{
    (void)state;
    run_checks(odd_results);
}

static void cancels_by_itself(void *arg)
{
    _Atomic int began = 0;
    coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, sleep_for_ever, &began) == 0);
    CHECK(KIT_UNTIL(began == CHILDREN));
    CHECK(coir_scope_cancel(&scope) == 0);
    CHECK(coir_scope_cancel(&scope) == 0);
    CHECK(coir_check() == 0); /* no failure: the opener is not bothered */
    CHECK_SAYS(coir_scope_spawn(&scope, succeed, NULL), ECANCELED);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK_SAYS(coir_scope_cancel(&scope), EINVAL);

    coir_scope_open(&scope); /* anything but ECANCELED is a failure also then */
    CHECK(coir_scope_spawn(&scope, sleep_for_ever, NULL) == 0);
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(EPIPE)) == 0); /* maybe at once, elsewhere */
    CHECK(coir_scope_cancel(&scope) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), EPIPE);

    coir_scope_open(&scope); /* and without a cancel of the scope ECANCELED is one, too */
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(ECANCELED)) == 0);
    CHECK_SAYS(coir_scope_wait(&scope), ECANCELED);
}

static void cancelled_children_of_a_cancelled_scope_are_no_failure(void **state)
{
    (void)state;
    run_checks(cancels_by_itself);
}

struct ran {
    _Atomic int ran;
    int said;
};

static int note_first_call(void *arg)
{
    struct ran *r = arg;
    r->said = coir_sleep(1) < 0 ? errno : 0;
    r->ran++;
    return 0;
}

static void cancels_before_start(void *arg)
{
    struct ran ran[3] = { 0 };
    coir_scope scope;
    coir_scope_attr one = { .fibers_max = 1 };
    (void)arg;
    coir_scope_open_with(&scope, &one);
    for (int i = 0; i < 3; i++) /* the others are held back */
        CHECK(coir_scope_spawn(&scope, note_first_call, &ran[i]) == 0);
    CHECK(coir_scope_cancel(&scope) == 0);
    CHECK(coir_scope_wait(&scope) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(ran[i].ran == 1 && ran[i].said == ECANCELED);
}

static void a_child_cancelled_before_its_start_runs_all_the_same(void **state)
{
    (void)state;
    run_checks(cancels_before_start);
}

static void keeps_going(void *arg)
{
    _Atomic int counted = 0;
    coir_scope scope;
    coir_scope_attr attr = { .flags = COIR_SCOPE_KEEP_GOING };
    (void)arg;
    CHECK(coir_scope_open_with(&scope, &attr) == 0);
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(ECONNRESET)) == 0);
    CHECK(coir_sleep(COIR_US(10)) == 0 && coir_check() == 0);
    for (int i = 0; i < CHILDREN; i++) {
        CHECK(coir_scope_spawn_with(&scope, &spread, count_late, &counted) == 0);
        CHECK(coir_scope_spawn(&scope, fail_with, ERR(EPIPE)) == 0);
    }
    CHECK_SAYS(coir_scope_wait(&scope), ECONNRESET);
    CHECK(counted == CHILDREN);
}

static void a_scope_that_keeps_going_lets_children_fail_alone(void **state)
{
    (void)state;
    run_checks(keeps_going);
}

static void fails_its_opener(void *arg)
{
    coir_scope scope, other;
    (void)arg;
    coir_scope_open(&scope);
    CHECK(coir_scope_spawn(&scope, fail_with, ERR(ENOENT)) == 0);
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED); /* stopped in the middle */
    CHECK_SAYS(coir_check(), ECANCELED);
    CHECK_SAYS(coir_sleep(1), ECANCELED);
    COIR_SHIELD(COIR_SEC(10))
        CHECK(coir_sleep(1) == 0);
    CHECK_SAYS(coir_scope_spawn(&scope, succeed, NULL), ECANCELED);
    CHECK(coir_scope_open(&other) == 0); /* another is not cancelled, only the opener's wait is */
    CHECK(coir_scope_spawn(&other, succeed, NULL) == 0);
    CHECK_SAYS(coir_scope_wait(&other), ECANCELED);
    CHECK_SAYS(coir_check(), ECANCELED);
    CHECK_SAYS(coir_scope_wait(&scope), ENOENT);
    CHECK(coir_check() == 0);
    CHECK(coir_sleep(1) == 0);
}

static void a_failing_child_fails_the_openers_calls_until_it_waits(void **state)
{
    (void)state;
    run_checks(fails_its_opener);
}

static void two_fail(void *arg)
{
    coir_scope a, b;
    (void)arg;
    coir_scope_open(&a);
    coir_scope_open(&b);
    CHECK(coir_scope_spawn_with(&a, &spread, fail_with, ERR(ENOENT)) == 0);
    CHECK(coir_scope_spawn_with(&b, &spread, fail_with, ERR(EPERM)) == 0);
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    CHECK(KIT_UNTIL(scope_is(&a, COIR__SCOPE_HAS_FAILED) && scope_is(&b, COIR__SCOPE_HAS_FAILED)));
    CHECK_SAYS(coir_scope_wait(&a), ENOENT); /* the outer one first: any order will do */
    CHECK_SAYS(coir_sleep(COIR_SEC(1000)), ECANCELED);
    CHECK_SAYS(coir_scope_wait(&b), EPERM);
    CHECK(coir_sleep(1) == 0);
}

static void each_failed_scope_counts_until_it_is_waited_for(void **state)
{
    (void)state;
    run_checks(two_fail);
}

static _Atomic int auto_began, auto_ended;

static int end_late(void *arg)
{
    auto_began++;
    while (coir_sleep(COIR_SEC(1000)) == 0)
        ;
    COIR_SHIELD(COIR_SEC(10))
        coir_sleep(COIR_US(100));
    auto_ended++;
    (void)arg;
    return 0;
}

static int leaves_early(bool wait)
{
    COIR_SCOPE_AUTO coir_scope scope = COIR_SCOPE_INIT;
    coir_scope unopened COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_cancel(&unopened);
    coir_scope_open(&scope);
    for (int i = 0; i < CHILDREN; i++)
        CHECK(coir_scope_spawn_with(&scope, &spread, end_late, NULL) == 0);
    CHECK(KIT_UNTIL(auto_began == CHILDREN));
    if (!wait)
        return 7;
    coir_scope_cancel(&scope);
    return coir_scope_wait(&scope);
}

static void leaves_blocks(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2; i++) {
        auto_began = auto_ended = 0;
        errno = EDOM;
        CHECK(leaves_early(i) == (i ? 0 : 7));
        CHECK(auto_ended == CHILDREN);
    }
}

static void the_end_of_the_block_cancels_and_waits(void **state)
{
    (void)state;
    run_checks(leaves_blocks);
}

static void closes(void *arg)
{
    coir_scope scope = COIR_SCOPE_INIT;
    (void)arg;
    coir_scope_close(&scope); /* not open */
    for (int i = 0; i < 3; i++) {
        _Atomic int began = 0;
        coir_scope_open(&scope);
        CHECK(coir_scope_spawn_with(&scope, &spread, sleep_for_ever, &began) == 0);
        CHECK(KIT_UNTIL(began == 1));
        if (i == 1)
            CHECK(coir_scope_spawn(&scope, fail_with, ERR(ENOENT)) == 0);
        if (i == 2) { /* exempt from every check */
            coir_deadline_set(1);
            coir_cancel(coir_self());
        }
        errno = EDOM;
        coir_scope_close(&scope);
        CHECK(errno == EDOM);
        CHECK(is_zero(&scope));
        CHECK(i == 2 || coir_check() == 0);
    }
}

static void close_cancels_and_waits_whatever_happens(void **state)
{
    (void)state;
    run_checks(closes);
}

static int64_t deadline_of_child;

static int note_deadline(void *arg)
{
    (void)arg;
    deadline_of_child = coir_deadline();
    return 0;
}

static void inherits(void *arg)
{
    coir_scope scope;
    coir_attr none = { .deadline_ns = COIR_NEVER, .name = "free" };
    (void)arg;
    coir_scope_open(&scope);
    COIR_TIMEOUT(COIR_SEC(100)) {
        int64_t mine = coir_deadline();
        CHECK(coir_scope_spawn(&scope, note_deadline, NULL) == 0);
        CHECK(coir_scope_wait(&scope) == 0);
        CHECK(deadline_of_child == mine);
        coir_scope_open(&scope);
        CHECK(coir_scope_spawn_with(&scope, &none, note_deadline, NULL) == 0);
        CHECK(coir_scope_wait(&scope) == 0);
        CHECK(deadline_of_child == COIR_NEVER);
    }
}

static void children_inherit_the_spawners_deadline(void **state)
{
    (void)state;
    run_checks(inherits);
}

struct family {
    coir_scope *scope;
    _Atomic int *born;
    int depth;
};

static int bear(void *arg)
{
    struct family *f = arg, *child;
    atomic_fetch_add(f->born, 1);
    for (int i = 0; f->depth && i < 2; i++) {
        child = malloc(sizeof *child);
        *child = (struct family){ f->scope, f->born, f->depth - 1 };
        CHECK(coir_scope_spawn_with(f->scope, &spread, bear, child) == 0);
    }
    free(f);
    return 0;
}

static void *visit_scope(void *arg)
{
    struct family *f = arg;
    atomic_fetch_add(f->born, 1);
    CHECK(coir_scope_spawn(f->scope, bear, f) == 0);
    return NULL;
}

/* Holds the scope open for a thread that spawns into it. */
static int bear_by_thread(void *arg)
{
    pthread_t thread;
    pthread_create(&thread, NULL, visit_scope, arg);
    pthread_join(thread, NULL);
    return 0;
}

static void multiplies(void *arg)
{
    enum { DEPTH = 6 };
    _Atomic int born = 0;
    coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    struct family *first = malloc(sizeof *first), *second = malloc(sizeof *second);
    *first = *second = (struct family){ &scope, &born, DEPTH };
    CHECK(coir_scope_spawn(&scope, bear, first) == 0);
    CHECK(coir_scope_spawn(&scope, bear_by_thread, second) == 0);
    CHECK(coir_scope_wait(&scope) == 0);
    CHECK(born == 2 * ((1 << (DEPTH + 1)) - 1) + 1);
}

static void children_and_threads_spawn_into_their_scope(void **state)
{
    (void)state;
    run_checks(multiplies);
}

static coir_fiber *child_handle;

static int note_self(void *arg)
{
    child_handle = coir_self();
    return sleep_for_ever(arg);
}

static void *wait_for_anothers(void *arg)
{
    CHECK_SAYS(coir_scope_wait(arg), EINVAL);
    return NULL;
}

static void mistakes(void *arg)
{
    coir_scope scope = COIR_SCOPE_INIT;
    coir_scope_attr bad_flags = { .flags = 2 }, bad_reserved = { .reserved = { 0, 0, 0, 1 } };
    coir_attr detached = { .flags = COIR_DETACHED }, unknown = { .reserved0 = 1 };
    _Atomic int began = 0;
    (void)arg;
    CHECK_SAYS(coir_scope_open_with(&scope, &bad_flags), EINVAL);
    CHECK_SAYS(coir_scope_open_with(&scope, &bad_reserved), EINVAL);
    CHECK_SAYS(coir_scope_spawn(&scope, succeed, NULL), EINVAL);
    CHECK_SAYS(coir_scope_wait(&scope), EINVAL);
    CHECK_SAYS(coir_scope_cancel(&scope), EINVAL);
    CHECK(coir_scope_open_with(&scope, NULL) == 0);
    CHECK_SAYS(coir_scope_spawn(&scope, NULL, NULL), EINVAL);
    CHECK_SAYS(coir_scope_spawn_with(&scope, &detached, succeed, NULL), EINVAL);
    CHECK_SAYS(coir_scope_spawn_with(&scope, &unknown, succeed, NULL), EINVAL);
    CHECK(coir_scope_spawn(&scope, note_self, &began) == 0);
    CHECK(KIT_UNTIL(began));
    CHECK_SAYS(coir_join(child_handle, NULL), EINVAL); /* a child is its scope's to wait for */
    CHECK_SAYS(coir_detach(child_handle), EINVAL);
    coir_join(coir_spawn(wait_for_anothers, &scope), NULL);
    CHECK(coir_cancel(child_handle) == 0); /* this is nobody's mistake */
    CHECK_SAYS(coir_scope_wait(&scope), ECANCELED);
}

static void mistakes_are_told(void **state)
{
    (void)state;
    run_checks(mistakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wait_returns_when_all_children_have_ended),
        cmocka_unit_test(a_scope_that_was_waited_for_opens_again_afresh),
        cmocka_unit_test(the_first_failure_cancels_the_others_and_is_what_wait_says),
        cmocka_unit_test(a_failure_without_errno_is_eio),
        cmocka_unit_test(cancelled_children_of_a_cancelled_scope_are_no_failure),
        cmocka_unit_test(a_child_cancelled_before_its_start_runs_all_the_same),
        cmocka_unit_test(a_scope_that_keeps_going_lets_children_fail_alone),
        cmocka_unit_test(a_failing_child_fails_the_openers_calls_until_it_waits),
        cmocka_unit_test(each_failed_scope_counts_until_it_is_waited_for),
        cmocka_unit_test(the_end_of_the_block_cancels_and_waits),
        cmocka_unit_test(close_cancels_and_waits_whatever_happens),
        cmocka_unit_test(children_inherit_the_spawners_deadline),
        cmocka_unit_test(children_and_threads_spawn_into_their_scope),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
