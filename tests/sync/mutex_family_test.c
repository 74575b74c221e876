/* tests/sync/mutex_family_test.c - a mutex's waiters by worker (sync/mutex.c): whatever comes, goes
 * and gives up, the list is whole, and everybody has the mutex in the end.
 * SPDX-License-Identifier: MIT
 *
 * Method: fibers of several workers and plain threads lock, lock with short deadlines, and wait for
 * a condition. Who has the mutex looks at its list now and then: it is a ring, and the family at
 * its head is of one worker. */
#include "crowd.h"

#include "sync/mutex.h"

enum { FIBERS = 200, THREADS = 2 };

struct family {
    coir_mutex mutex;
    coir_cond cond;
    long counted; /* with the mutex */
    _Atomic long had;
    _Atomic int broken;
    int turns;
};

static struct coir__worker *home_of(struct coir__wait_entry *e)
{
    return e->waiter->fiber ? coir__fiber_home(e->waiter->fiber) : NULL;
}

static bool is_whole(struct coir__mutex *m)
{
    struct coir__wait_entry *e = m->waiters, *last = e ? coir__wait_of(e)->family : NULL;
    bool within = last, found = !last;
    if (!e)
        return true;
    do {
        if (e->next->prev != e || e->prev->next != e)
            return false;
        if (within && home_of(e) != home_of(m->waiters))
            return false;
        found = found || e == last;
        within = within && e != last;
        e = e->next;
    } while (e != m->waiters);
    return found;
}

static void look(struct family *f)
{
    struct coir__mutex *m = (struct coir__mutex *)&f->mutex;
    uint64_t value = coir__word_lock(&m->word);
    f->broken += !is_whole(m);
    coir__word_unlock(&m->word, value);
}

static void use(struct family *f, int turn)
{
    f->counted++;
    if (turn % 3 == 0 && coir_self())
        coir_yield();
    if (turn % 16 == 0)
        look(f);
    atomic_fetch_add(&f->had, 1);
}

static void *take_turns(void *arg)
{
    struct family *f = arg;
    for (int i = 0; i < f->turns; i++) {
        if (i % 4 == 1 && coir_mutex_timedlock(&f->mutex, coir_after(COIR_US(i % 64))) < 0)
            continue;
        if (i % 4 != 1)
            coir_mutex_lock(&f->mutex);
        use(f, i);
        if (i % 8 == 2 && coir_cond_timedwait(&f->cond, &f->mutex, coir_after(COIR_US(50))) == 0)
            use(f, i);
        if (i % 8 == 3)
            coir_cond_broadcast(&f->cond);
        coir_mutex_unlock(&f->mutex);
    }
    return NULL;
}

static void all_take_turns(void *arg)
{
    const coir_attr spread = { .flags = COIR_SPREAD };
    coir_fiber *fibers[FIBERS];
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = i % 5 ? coir_spawn_with(&spread, take_turns, arg) : coir_spawn(take_turns, arg);
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
}

static void whoever_waits_the_list_is_whole(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct family f = { .turns = test_scaled(300, 20) };
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, take_turns, &f), 0);
        assert_int_equal(fiber_test_run(*w, all_take_turns, &f), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(f.broken, 0);
        assert_int_equal(f.counted, f.had);
        assert_int_equal(f.mutex.opaque[0] | f.mutex.opaque[1], 0);
    }
}

/* Of the family's two or three one gives up after another, in any order, with a stranger behind. */
enum { MEMBERS = 3, COMERS = 5 };

struct leavers {
    struct family family;
    coir_fiber *stranger[2], *holder, *member[MEMBERS];
    _Atomic bool holds, go, holds_elsewhere, go_elsewhere;
    bool late; /* the holder takes too long for the strangers */
    int order[MEMBERS];
    _Atomic int gave_up;
    int served[COMERS], had;
};

static void *hold(void *arg)
{
    struct leavers *l = arg;
    coir_mutex_lock(&l->family.mutex);
    l->holds = true;
    KIT_UNTIL(l->go);
    if (l->late)
        coir__worker_self()->stamp += 3;
    coir_mutex_unlock(&l->family.mutex);
    return NULL;
}

static void *hold_elsewhere(void *arg)
{
    struct leavers *l = arg;
    coir_mutex_lock(&l->family.mutex);
    l->holds_elsewhere = true;
    KIT_UNTIL(l->go_elsewhere);
    coir_mutex_unlock(&l->family.mutex);
    return NULL;
}

static void *lock_or_give_up(void *arg)
{
    struct leavers *l = arg;
    if (coir_mutex_timedlock(&l->family.mutex, COIR_NEVER) < 0)
        l->gave_up++;
    else
        coir_mutex_unlock(&l->family.mutex);
    return NULL;
}

static coir_fiber *spawn_stranger(void *(*fn)(void *), struct leavers *l)
{
    coir__worker_self()->rt->next_worker = 1;
    coir_fiber *f = crowd_spawn(fn, l);
    crowd_is_parked(f);
    return f;
}

/* Two strangers wait, then the holder and the members. He has it next, and they are gathered. */
static void begin_waiting(struct leavers *l)
{
    kit_nobody_steals();
    coir_mutex_lock(&l->family.mutex);
    l->stranger[0] = spawn_stranger(hold_elsewhere, l);
    l->stranger[1] = spawn_stranger(lock_or_give_up, l);
    l->holder = coir_spawn(hold, l);
    crowd_is_parked(l->holder);
    for (int i = 0; i < MEMBERS; i++)
        l->member[i] = coir_spawn(lock_or_give_up, l);
    crowd_is_parked(l->member[MEMBERS - 1]);
    coir_mutex_unlock(&l->family.mutex);
    KIT_UNTIL(l->holds);
}

static void end_waiting(struct leavers *l)
{
    l->go = l->go_elsewhere = true;
    coir_join(l->holder, NULL);
    coir_join(l->stranger[0], NULL);
    coir_join(l->stranger[1], NULL);
}

static void give_up_in_order(void *arg)
{
    struct leavers *l = arg;
    begin_waiting(l);
    for (int i = 0; i < MEMBERS; i++) {
        coir_fiber *late, *f = l->member[l->order[i]];
        coir_cancel(f);
        coir_join(f, NULL);
        look(&l->family);
        late = coir_spawn(lock_or_give_up, l);
        crowd_is_parked(late);
        look(&l->family);
        coir_cancel(late);
        coir_join(late, NULL);
        look(&l->family);
    }
    end_waiting(l);
}

/* The family has gone behind the strangers. */
static void give_up_behind(void *arg)
{
    struct leavers *l = arg;
    begin_waiting(l);
    l->go = true;
    KIT_UNTIL(l->holds_elsewhere);
    look(&l->family);
    for (int i = MEMBERS - 1; i > 0; i--) {
        coir_cancel(l->member[i]);
        coir_join(l->member[i], NULL);
        look(&l->family);
    }
    end_waiting(l);
    coir_join(l->member[0], NULL);
}

struct comer {
    struct leavers *leavers;
    int number;
};

static void *note_order(void *arg)
{
    struct comer *c = arg;
    struct leavers *l = c->leavers;
    coir_mutex_lock(&l->family.mutex);
    l->served[l->had++] = c->number;
    coir_mutex_unlock(&l->family.mutex);
    return NULL;
}

static void come_later(void *arg)
{
    struct comer comer[COMERS];
    coir_fiber *f[COMERS];
    struct leavers *l = arg;
    begin_waiting(l);
    for (int i = 0; i < COMERS; i++) {
        comer[i] = (struct comer){ l, i };
        f[i] = coir_spawn(note_order, &comer[i]);
        crowd_is_parked(f[i]);
        look(&l->family);
    }
    end_waiting(l);
    for (int i = 0; i < COMERS; i++)
        coir_join(f[i], NULL);
    for (int i = 0; i < MEMBERS; i++)
        coir_join(l->member[i], NULL);
}

static void who_gives_up_leaves_the_list_whole(void **state)
{
    static const int orders[][MEMBERS] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                           { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    (void)state;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        struct leavers l = { .gave_up = 0 };
        memcpy(l.order, orders[i], sizeof l.order);
        assert_int_equal(fiber_test_run(2, give_up_in_order, &l), 0);
        assert_int_equal(l.family.broken, 0);
        assert_int_equal(l.gave_up, 2 * MEMBERS);
        assert_int_equal(l.family.mutex.opaque[0] | l.family.mutex.opaque[1], 0);
    }
}

static void who_gives_up_behind_leaves_the_list_whole(void **state)
{
    struct leavers l = { .late = true };
    (void)state;
    assert_int_equal(fiber_test_run(2, give_up_behind, &l), 0);
    assert_int_equal(l.family.broken, 0);
    assert_int_equal(l.gave_up, MEMBERS - 1);
    assert_int_equal(l.family.mutex.opaque[0] | l.family.mutex.opaque[1], 0);
}

static void who_comes_later_enters_behind_the_family(void **state)
{
    struct leavers l = { .gave_up = 0 };
    (void)state;
    assert_int_equal(fiber_test_run(2, come_later, &l), 0);
    assert_int_equal(l.family.broken, 0);
    assert_int_equal(l.had, COMERS);
    for (int i = 0; i < COMERS; i++)
        assert_int_equal(l.served[i], i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_waits_the_list_is_whole),
        cmocka_unit_test(who_gives_up_leaves_the_list_whole),
        cmocka_unit_test(who_gives_up_behind_leaves_the_list_whole),
        cmocka_unit_test(who_comes_later_enters_behind_the_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
