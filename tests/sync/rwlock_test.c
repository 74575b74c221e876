/* tests/sync/rwlock_test.c - many read or one writes, and nobody starves.
 * SPDX-License-Identifier: MIT
 *
 * What holds for every wait is in waits_test.c. */
#include "crowd.h"

struct shared {
    coir_rwlock lock;
    _Atomic int readers, writers, wrong, most_readers;
    _Atomic long nth, written;
    long each, value;
};

static void read_it(struct shared *s, bool pause)
{
    int readers = ++s->readers;
    if (readers > s->most_readers)
        s->most_readers = readers;
    long value = s->value;
    s->wrong += s->writers != 0;
    if (pause)
        kit_pause();
    s->wrong += s->value != value;
    s->readers--;
}

static void write_it(struct shared *s, bool pause)
{
    s->wrong += s->writers++ != 0 || s->readers != 0;
    s->value++;
    if (pause)
        kit_pause();
    s->written++;
    s->writers--;
}

static void *read_or_write(void *arg)
{
    struct shared *s = arg;
    unsigned seed = (unsigned)s->nth++;
    for (long i = 0; i < s->each; i++) {
        unsigned way = crowd_pick(&seed, 8);
        int64_t soon_ns = coir_after(crowd_pick(&seed, 20000));
        if (way == 0) {
            coir_rwlock_wrlock(&s->lock);
            write_it(s, i % 2);
        } else if (way == 1) {
            if (coir_rwlock_timedwrlock(&s->lock, soon_ns) < 0)
                continue;
            write_it(s, i % 2);
        } else if (way == 2) {
            if (coir_rwlock_trywrlock(&s->lock) < 0)
                continue;
            write_it(s, i % 2);
        } else if (way < 6) {
            coir_rwlock_rdlock(&s->lock);
            read_it(s, i % 2);
        } else {
            if (way == 6 ? coir_rwlock_timedrdlock(&s->lock, soon_ns) < 0
                         : coir_rwlock_tryrdlock(&s->lock) < 0)
                continue;
            read_it(s, i % 2);
        }
        coir_rwlock_unlock(&s->lock);
    }
    return NULL;
}

static void read_and_write(void *arg)
{
    struct shared *s = arg;
    coir_fiber *cancelled[CROWD_FIBERS];
    for (int i = 0; i < CROWD_FIBERS; i++)
        cancelled[i] = crowd_spawn(read_or_write, arg);
    for (int i = 0; i < CROWD_FIBERS; i++) {
        coir_sleep(COIR_US(100));
        coir_cancel(cancelled[i]);
    }
    crowd_run(read_or_write, s);
    for (int i = 0; i < CROWD_FIBERS; i++)
        coir_join(cancelled[i], NULL);
}

static void readers_share_it_and_a_writer_has_it_alone(void **state)
{
    const coir_rwlock zero = COIR_RWLOCK_INIT;
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct shared s = { .each = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, read_and_write, &s), 0);
        assert_int_equal(s.wrong, 0);
        assert_int_equal(s.value, s.written);
        assert_true(s.most_readers > 1);
        assert_memory_equal(&s.lock, &zero, sizeof zero);
    }
}

enum { SOME = 16 };

/* Who comes in what order, as letters: r reads, w writes, and t writes but is given up. */
struct queue {
    const char *order;
    coir_rwlock lock;
    coir_fiber *fibers[SOME];
    int nth, in, rounds;
    int round[SOME]; /* in which round the i-th had it */
    struct kit_said said[SOME], try_read, try_write;
    bool by_deadline, first_reads;
};

static void *queue_up(void *arg)
{
    struct queue *q = arg;
    int i = q->nth++;
    if (q->order[i] == 'r')
        coir_rwlock_rdlock(&q->lock);
    else if (q->order[i] == 'w')
        coir_rwlock_wrlock(&q->lock);
    else
        q->said[i] = KIT_SAID(coir_rwlock_timedwrlock(
            &q->lock, q->by_deadline ? coir_after(COIR_MS(1)) : COIR_NEVER));
    if (q->said[i].result < 0)
        return NULL;
    if (q->in++ == 0)
        q->rounds++;
    q->round[i] = q->rounds;
    for (int k = 0; k < SOME; k++)
        coir_yield();
    q->in--;
    coir_rwlock_unlock(&q->lock);
    return NULL;
}

static void form_a_queue(void *arg)
{
    struct queue *q = arg;
    if (q->first_reads)
        coir_rwlock_rdlock(&q->lock);
    else
        coir_rwlock_wrlock(&q->lock);
    for (int i = 0; q->order[i]; i++) {
        q->fibers[i] = coir_spawn(queue_up, q);
        crowd_is_parked(q->fibers[i]);
    }
    q->try_read = KIT_SAID(coir_rwlock_tryrdlock(&q->lock));
    q->try_write = KIT_SAID(coir_rwlock_trywrlock(&q->lock));
    for (int i = 0; q->order[i]; i++) {
        if (q->order[i] != 't')
            continue;
        if (!q->by_deadline)
            coir_cancel(q->fibers[i]);
        coir_join(q->fibers[i], NULL);
    }
    KIT_UNTIL(q->first_reads == (q->rounds == 1)); /* those behind it are let in by now */
    coir_rwlock_unlock(&q->lock);
    for (int i = 0; q->order[i]; i++)
        if (q->order[i] != 't')
            coir_join(q->fibers[i], NULL);
}

static void readers_next_to_each_other_get_it_together_and_all_in_turn(void **state)
{
    struct queue q = { .order = "rrwwrrrwr" };
    const int round[] = { 1, 1, 2, 3, 4, 4, 4, 5, 6 };
    (void)state;
    assert_int_equal(fiber_test_run(1, form_a_queue, &q), 0);
    for (int i = 0; q.order[i]; i++)
        assert_int_equal(q.round[i], round[i]);
    kit_assert_said(q.try_read, -1, EBUSY);
    kit_assert_said(q.try_write, -1, EBUSY);
}

/* A reader has it, and a writer waits: the reader that comes then waits behind the writer. */
static void a_writer_that_waits_keeps_readers_out_until_it_is_given_up(void **state)
{
    (void)state;
    for (int by_deadline = 0; by_deadline < 2; by_deadline++) {
        struct queue q = { .order = "tttrrw", .first_reads = true, .by_deadline = by_deadline };
        assert_int_equal(fiber_test_run(1, form_a_queue, &q), 0);
        kit_assert_said(q.try_read, -1, EBUSY);
        kit_assert_said(q.said[0], -1, by_deadline ? ETIMEDOUT : ECANCELED);
        assert_int_equal(q.round[3], 1); /* while the first reader still reads */
        assert_int_equal(q.round[4], 1);
        assert_int_equal(q.round[5], 2);
    }
}

struct tries {
    coir_rwlock lock;
    struct kit_said said[8];
};

static void try_all(void *arg)
{
    struct tries *t = arg;
    int n = 0;
    t->said[n++] = KIT_SAID(coir_rwlock_tryrdlock(&t->lock));
    t->said[n++] = KIT_SAID(coir_rwlock_tryrdlock(&t->lock));
    t->said[n++] = KIT_SAID(coir_rwlock_trywrlock(&t->lock));
    coir_rwlock_unlock(&t->lock);
    t->said[n++] = KIT_SAID(coir_rwlock_trywrlock(&t->lock));
    coir_rwlock_unlock(&t->lock);
    t->said[n++] = KIT_SAID(coir_rwlock_trywrlock(&t->lock));
    t->said[n++] = KIT_SAID(coir_rwlock_tryrdlock(&t->lock));
    t->said[n++] = KIT_SAID(coir_rwlock_trywrlock(&t->lock));
    coir_rwlock_unlock(&t->lock);
    t->said[n++] = KIT_SAID(coir_rwlock_timedrdlock(&t->lock, 0));
    coir_rwlock_unlock(&t->lock);
}

static void the_try_forms_say_busy_when_they_would_wait(void **state)
{
    const int busy[8] = { 0, 0, 1, 1, 0, 1, 1, 0 };
    struct tries as_fiber = { .lock = COIR_RWLOCK_INIT }, as_thread = { .lock = COIR_RWLOCK_INIT };
    (void)state;
    assert_int_equal(fiber_test_run(1, try_all, &as_fiber), 0);
    try_all(&as_thread);
    for (int i = 0; i < 8; i++) {
        kit_assert_said(as_fiber.said[i], -busy[i], busy[i] ? EBUSY : 0);
        kit_assert_said(as_thread.said[i], -busy[i], busy[i] ? EBUSY : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_share_it_and_a_writer_has_it_alone),
        cmocka_unit_test(readers_next_to_each_other_get_it_together_and_all_in_turn),
        cmocka_unit_test(a_writer_that_waits_keeps_readers_out_until_it_is_given_up),
        cmocka_unit_test(the_try_forms_say_busy_when_they_would_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
