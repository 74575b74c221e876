/* tests/sync/cond_test.c - no signal is lost, nobody wakes without the mutex.
 * SPDX-License-Identifier: MIT
 *
 * What holds for every wait is in waits_test.c. */
#include "crowd.h"

struct buffer {
    coir_mutex mutex;
    coir_cond not_empty, not_full;
    int items[4], len;
    _Atomic long put, got, sum_put, sum_got, nth;
    long each;
};

static void put(struct buffer *b, int item)
{
    coir_mutex_lock(&b->mutex);
    while (b->len == 4)
        if (coir_cond_wait(&b->not_full, &b->mutex) < 0)
            abort();
    b->items[b->len++] = item;
    coir_mutex_unlock(&b->mutex);
    coir_cond_signal(&b->not_empty);
    b->put++;
    b->sum_put += item;
}

static void get(struct buffer *b)
{
    coir_mutex_lock(&b->mutex);
    while (b->len == 0)
        if (coir_cond_wait(&b->not_empty, &b->mutex) < 0)
            abort();
    b->sum_got += b->items[--b->len];
    coir_cond_signal(&b->not_full);
    coir_mutex_unlock(&b->mutex);
    b->got++;
}

/* Two of three are consumers of half as much. */
static void *produce_or_consume(void *arg)
{
    struct buffer *b = arg;
    bool produces = b->nth++ % 3 == 0;
    for (long i = 0; i < b->each; i++) {
        if (produces) {
            put(b, (int)i);
            put(b, (int)-2 * (int)i);
        } else {
            get(b);
        }
    }
    return NULL;
}

static void produce_and_consume(void *arg)
{
    crowd_run(produce_or_consume, arg);
}

static void a_buffer_of_fibers_and_threads_loses_no_signal(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct buffer b = { .each = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, produce_and_consume, &b), 0);
        assert_int_equal(b.put, CROWD / 3 * 2 * b.each);
        assert_int_equal(b.got, b.put);
        assert_int_equal(b.sum_got, b.sum_put);
    }
}

struct awaited {
    coir_mutex mutex;
    coir_cond cond;
    _Atomic int waiting, woken, inside, together;
    bool go;
    int each; /* fibers */
};

static void *await_go(void *arg)
{
    struct awaited *a = arg;
    coir_mutex_lock(&a->mutex);
    a->waiting++;
    while (!a->go)
        if (coir_cond_wait(&a->cond, &a->mutex) < 0)
            abort();
    a->together += a->inside++ != 0;
    a->woken++;
    a->inside--;
    coir_mutex_unlock(&a->mutex);
    return NULL;
}

static void wake_many(void *arg)
{
    struct awaited *a = arg;
    coir_fiber **fibers = calloc((size_t)a->each, sizeof *fibers);
    for (int i = 0; i < a->each; i++)
        fibers[i] = crowd_spawn(await_go, a);
    KIT_UNTIL(a->waiting == a->each);
    coir_mutex_lock(&a->mutex);
    a->go = true;
    coir_cond_broadcast(&a->cond);
    coir_mutex_unlock(&a->mutex);
    for (int i = 0; i < a->each; i++)
        coir_join(fibers[i], NULL);
    free(fibers);
}

static void a_broadcast_wakes_a_hundred_thousand_one_by_one(void **state)
{
    const struct awaited zero = { .go = false };
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct awaited a = { .each = test_scaled(100000, 500) };
        assert_int_equal(fiber_test_run(*w, wake_many, &a), 0);
        assert_int_equal(a.woken, a.each);
        assert_int_equal(a.together, 0);
        assert_memory_equal(&a.cond, &zero.cond, sizeof zero.cond);
        assert_memory_equal(&a.mutex, &zero.mutex, sizeof zero.mutex);
    }
}

enum { FEW = 8 };

struct watched {
    struct awaited a;
    int awake_before_unlock, waiting_after_signal;
};

static int count_parked(coir_fiber **fibers)
{
    int n = 0;
    for (int i = 0; i < FEW; i++)
        n += coir__fiber_state(kit_record(fibers[i])) == COIR__PARKED;
    return n;
}

static void signal_then_broadcast(void *arg)
{
    struct watched *w = arg;
    coir_fiber *fibers[FEW];
    for (int i = 0; i < FEW; i++) {
        fibers[i] = coir_spawn(await_go, &w->a);
        crowd_is_parked(fibers[i]);
    }
    coir_mutex_lock(&w->a.mutex);
    w->a.go = true;
    coir_cond_signal(&w->a.cond);
    coir_mutex_unlock(&w->a.mutex);
    KIT_UNTIL(w->a.woken == 1);
    w->waiting_after_signal = count_parked(fibers);
    coir_mutex_lock(&w->a.mutex);
    coir_cond_broadcast(&w->a.cond);
    w->awake_before_unlock = FEW - 1 - count_parked(fibers);
    coir_mutex_unlock(&w->a.mutex);
    for (int i = 0; i < FEW; i++)
        coir_join(fibers[i], NULL);
}

static void who_is_woken_waits_on_until_the_mutex_is_his(void **state)
{
    struct watched w = { .awake_before_unlock = -1 };
    (void)state;
    assert_int_equal(fiber_test_run(1, signal_then_broadcast, &w), 0);
    assert_int_equal(w.waiting_after_signal, FEW - 1);
    assert_int_equal(w.awake_before_unlock, 0);
    assert_int_equal(w.a.woken, FEW);
}

struct single {
    coir_mutex *mutex;
    coir_cond *cond;
    int64_t deadline_ns;
    struct kit_said said, has_it;
    _Atomic bool waits, done;
};

static void *wait_single(void *arg)
{
    struct single *s = arg;
    coir_mutex_lock(s->mutex);
    s->waits = true;
    s->said = KIT_SAID(coir_cond_timedwait(s->cond, s->mutex, s->deadline_ns));
    s->has_it = KIT_SAID(coir_mutex_trylock(s->mutex)); /* nobody else has it here */
    s->done = true;
    coir_mutex_unlock(s->mutex);
    return NULL;
}

struct pair {
    coir_mutex mutex, second;
    coir_cond cond;
    struct single s[2];
    int rounds, wrong;
    bool early;
};

static void pair_begin(struct pair *p)
{
    for (int i = 0; i < 2; i++)
        p->s[i] =
            (struct single){ .mutex = &p->mutex, .cond = &p->cond, .deadline_ns = COIR_NEVER };
}

/* The first is cancelled, or its deadline comes, while one signal is sent: it goes to one of the
 * two. */
static void signal_who_leaves(struct pair *p, int round)
{
    pair_begin(p);
    if (round % 2)
        p->s[0].deadline_ns = coir_after(COIR_US(round % 64));
    coir_fiber *first = crowd_spawn(wait_single, &p->s[0]);
    KIT_UNTIL(p->s[0].waits);
    coir_fiber *second = crowd_spawn(wait_single, &p->s[1]);
    KIT_UNTIL(p->s[1].waits);
    coir_mutex_lock(&p->mutex);
    coir_mutex_unlock(&p->mutex);
    if (round % 2 == 0)
        coir_cancel(first);
    for (int i = 0; i < round % 5; i++)
        kit_pause();
    coir_cond_signal(&p->cond);
    coir_join(first, NULL);
    bool got_it = p->s[0].said.result == 0;
    p->wrong += !got_it && p->s[0].said.err != (round % 2 ? ETIMEDOUT : ECANCELED);
    if (got_it)
        coir_cond_signal(&p->cond);
    p->wrong += !KIT_UNTIL(p->s[1].done); /* without: the signal was lost */
    coir_join(second, NULL);
    p->wrong += p->s[1].said.result != 0;
}

static void signal_those_who_leave(void *arg)
{
    struct pair *p = arg;
    for (int i = 0; i < p->rounds && !p->wrong; i++)
        signal_who_leaves(p, i);
}

static void a_signal_to_one_who_leaves_goes_to_the_next(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pair p = { .rounds = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, signal_those_who_leave, &p), 0);
        assert_int_equal(p.wrong, 0);
    }
}

static bool has_waiters(coir_mutex *mutex)
{
    return __atomic_load_n(&mutex->opaque[0], __ATOMIC_RELAXED) & 2;
}

/* The mutex is held until after the deadline, or the cancel: the wait goes on until it is free. */
static void hold_the_mutex(void *arg)
{
    struct pair *p = arg;
    coir_fiber *fiber;
    for (int64_t ns = COIR_MS(1);; ns *= 2) { /* until we have the mutex before the deadline */
        pair_begin(p);
        if (p->early)
            p->s[0].deadline_ns = coir_after(ns);
        fiber = crowd_spawn(wait_single, &p->s[0]);
        KIT_UNTIL(p->s[0].waits);
        coir_mutex_lock(&p->mutex);
        if (!p->s[0].done)
            break;
        coir_mutex_unlock(&p->mutex);
        coir_join(fiber, NULL);
    }
    if (!p->early) {
        coir_cond_signal(&p->cond);
        coir_cancel(fiber);
    }
    p->wrong += !KIT_UNTIL(has_waiters(&p->mutex));
    for (int i = 0; i < 20; i++)
        kit_pause();
    p->wrong += p->s[0].done;
    coir_mutex_unlock(&p->mutex);
    coir_join(fiber, NULL);
    p->wrong += p->s[0].has_it.err != EBUSY;
}

static void a_wait_ends_with_the_mutex_however_it_ends(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pair late = { .early = true }, signalled = { .early = false };
        assert_int_equal(fiber_test_run(*w, hold_the_mutex, &late), 0);
        assert_int_equal(late.wrong, 0);
        kit_assert_said(late.s[0].said, -1, ETIMEDOUT);
        assert_int_equal(fiber_test_run(*w, hold_the_mutex, &signalled), 0);
        assert_int_equal(signalled.wrong, 0);
        kit_assert_said(signalled.s[0].said, 0, 0); /* the signal came before the cancel */
    }
}

struct entry {
    coir_mutex mutex;
    coir_cond cond;
    struct kit_said said;
    bool let_go, began;
};

static void *look_whether_it_is_let_go(void *arg)
{
    struct entry *e = arg;
    coir_mutex_lock(&e->mutex);
    e->let_go = e->said.result == 0;
    coir_mutex_unlock(&e->mutex);
    return NULL;
}

static void *wait_cancelled(void *arg)
{
    struct entry *e = arg;
    coir_mutex_lock(&e->mutex);
    e->began = true;
    coir_fiber *other = coir_spawn(look_whether_it_is_let_go, e);
    while (coir_check() == 0)
        coir_yield();
    e->said = KIT_SAID(coir_cond_wait(&e->cond, &e->mutex));
    coir_mutex_unlock(&e->mutex);
    coir_detach(other);
    return NULL;
}

static void cancel_before_the_wait(void *arg)
{
    struct entry *e = arg;
    coir_fiber *fiber = coir_spawn(wait_cancelled, e);
    KIT_UNTIL(e->began);
    coir_cancel(fiber);
    coir_join(fiber, NULL);
}

static void who_was_cancelled_before_the_wait_does_not_let_go_of_the_mutex(void **state)
{
    struct entry e = { .let_go = false };
    (void)state;
    assert_int_equal(fiber_test_run(1, cancel_before_the_wait, &e), 0);
    kit_assert_said(e.said, -1, ECANCELED);
    assert_false(e.let_go);
}

static void use_two_mutexes(void *arg)
{
    struct pair *p = arg;
    coir_fiber *fibers[2];
    pair_begin(p);
    p->s[1].mutex = &p->second;
    for (int i = 0; i < 2; i++) {
        fibers[i] = coir_spawn(wait_single, &p->s[i]);
        crowd_is_parked(fibers[i]);
    }
    coir_mutex_lock(&p->mutex);
    coir_cond_broadcast(&p->cond);
    p->wrong += !KIT_UNTIL(p->s[1].done) || p->s[0].done;
    coir_mutex_unlock(&p->mutex);
    for (int i = 0; i < 2; i++)
        coir_join(fibers[i], NULL);
    p->wrong += !p->s[0].done;
}

static void waiters_of_one_condition_may_have_different_mutexes(void **state)
{
    struct pair p = { .wrong = 0 };
    (void)state;
    assert_int_equal(fiber_test_run(1, use_two_mutexes, &p), 0);
    assert_int_equal(p.wrong, 0);
}

/* The condition belongs to whoever broadcasts: it is gone as soon as that has returned. */
static void free_after_broadcast(void *arg)
{
    struct pair *p = arg;
    for (int i = 0; i < p->rounds; i++) {
        coir_cond *cond = calloc(1, sizeof *cond);
        coir_fiber *fibers[2];
        pair_begin(p);
        for (int k = 0; k < 2; k++) {
            p->s[k].cond = cond;
            fibers[k] = crowd_spawn(wait_single, &p->s[k]);
            KIT_UNTIL(p->s[k].waits);
        }
        coir_mutex_lock(&p->mutex);
        coir_mutex_unlock(&p->mutex);
        coir_cond_broadcast(cond);
        free(cond);
        for (int k = 0; k < 2; k++)
            coir_join(fibers[k], NULL);
        p->wrong += p->s[0].said.result != 0 || p->s[1].said.result != 0;
    }
}

static void the_condition_may_be_freed_when_the_broadcast_has_returned(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pair p = { .rounds = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, free_after_broadcast, &p), 0);
        assert_int_equal(p.wrong, 0);
    }
}

struct owned {
    coir_mutex mutex;
    coir_cond cond;
    _Atomic bool waits;
};

static void *wait_and_free(void *arg)
{
    struct owned *o = arg;
    coir_mutex_lock(&o->mutex);
    o->waits = true;
    if (coir_cond_wait(&o->cond, &o->mutex) < 0)
        abort();
    coir_mutex_unlock(&o->mutex);
    free(o);
    return NULL;
}

/* The one who is woken frees it, however late the signal comes back. */
static void signal_and_forget(void *arg)
{
    struct pair *p = arg;
    for (int i = 0; i < p->rounds; i++) {
        struct owned *o = calloc(1, sizeof *o);
        coir_fiber *fiber = crowd_spawn(wait_and_free, o);
        KIT_UNTIL(o->waits);
        coir_mutex_lock(&o->mutex);
        coir_mutex_unlock(&o->mutex);
        if (i % 2)
            coir_cond_signal(&o->cond);
        else
            coir_cond_broadcast(&o->cond);
        coir_join(fiber, NULL);
    }
}

static void who_is_woken_may_free_condition_and_mutex(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pair p = { .rounds = test_scaled(2000, 50) };
        assert_int_equal(fiber_test_run(*w, signal_and_forget, &p), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_of_fibers_and_threads_loses_no_signal),
        cmocka_unit_test(a_broadcast_wakes_a_hundred_thousand_one_by_one),
        cmocka_unit_test(who_is_woken_waits_on_until_the_mutex_is_his),
        cmocka_unit_test(a_signal_to_one_who_leaves_goes_to_the_next),
        cmocka_unit_test(a_wait_ends_with_the_mutex_however_it_ends),
        cmocka_unit_test(who_was_cancelled_before_the_wait_does_not_let_go_of_the_mutex),
        cmocka_unit_test(waiters_of_one_condition_may_have_different_mutexes),
        cmocka_unit_test(who_is_woken_may_free_condition_and_mutex),
        cmocka_unit_test(the_condition_may_be_freed_when_the_broadcast_has_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
