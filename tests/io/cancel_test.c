/* tests/io/cancel_test.c - cancel and deadline reach every call, at every moment of its op's life;
 * nothing is lost, nothing is written late, and the descriptor is as good as before.
 * SPDX-License-Identifier: MIT
 *
 * Method: a victim makes a call that waits and is stopped. Then what it waited for comes, the
 * victim's buffer is looked at, and the victim makes the call again. Races are in
 * cancel_race_test.c. */
#include "calls_that_wait.h"

enum moment { BEFORE_THE_CALL, BEFORE_SUBMISSION, IN_FLIGHT, MOMENTS };
enum means { BY_THIS_WORKER, BY_ANOTHER, BY_A_THREAD, BY_DEADLINE, MEANS };

struct victim {
    struct waiting wait;
    enum moment moment;
    enum means means;
    coir_fiber *fiber;
    long first, second;
    _Atomic int begin, stopped, again;
};

static void *be_stopped(void *arg)
{
    struct victim *v = arg;
    while (!atomic_load(&v->begin))
        coir_yield();
    if (v->means == BY_DEADLINE) {
        COIR_TIMEOUT(v->moment == BEFORE_THE_CALL     ? -1
                     : v->moment == BEFORE_SUBMISSION ? 1
                                                      : COIR_MS(3))
            v->first = do_call(&v->wait);
    } else {
        v->first = do_call(&v->wait);
    }
    atomic_store(&v->stopped, 1);
    while (!atomic_load(&v->again))
        nap();
    COIR_SHIELD(LONG)
        v->second = do_call(&v->wait);
    return NULL;
}

static void cancel_it(void *arg)
{
    struct victim *v = arg;
    EXPECT_EQ(coir_cancel(v->fiber), 0);
}

static void *cancel_as_fiber(void *arg)
{
    cancel_it(arg);
    return NULL;
}

static void stop(struct victim *v)
{
    pthread_t thread;
    if (v->means == BY_THIS_WORKER) {
        cancel_it(v);
    } else if (v->means == BY_ANOTHER) {
        join(spawn_apart(cancel_as_fiber, v));
    } else if (v->means == BY_A_THREAD) {
        EXPECT_EQ(pthread_create(&thread, NULL, cancel_as_fiber, v), 0);
        pthread_join(thread, NULL);
    }
}

static void one_victim(struct victim *v)
{
    set_up(&v->wait);
    v->fiber = v->means == BY_THIS_WORKER || v->moment == BEFORE_SUBMISSION
                   ? coir_spawn(be_stopped, v)
                   : spawn_apart(be_stopped, v);
    if (v->moment == BEFORE_THE_CALL)
        stop(v);
    atomic_store(&v->begin, 1);
    if (v->means != BY_DEADLINE && v->moment != BEFORE_THE_CALL) {
        until_parked(v->fiber);
        if (v->moment == IN_FLIGHT)
            coir_sleep(COIR_US(100));
        stop(v);
    }
    while (!atomic_load(&v->stopped))
        nap();
    EXPECT_EQ(v->first, v->means == BY_DEADLINE ? -ETIMEDOUT : -ECANCELED);
    feed(&v->wait);
    for (int i = 0; i < ROOM; i++)
        EXPECT_EQ(v->wait.buf[i], GUARD);
    atomic_store(&v->again, 1);
    join(v->fiber);
    check_data(&v->wait, v->second);
    clean_up(&v->wait);
}

static void all_victims(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++)
        for (int moment = 0; moment < MOMENTS; moment++)
            for (int means = 0; means < MEANS; means++) {
                struct victim v = { .wait.call = (enum call)call,
                                    .moment = (enum moment)moment,
                                    .means = (enum means)means };
                one_victim(&v);
            }
}

static void every_call_is_stopped(void **state)
{
    (void)state;
    run_on_each(all_victims, NULL);
}

struct late {
    int ends[2];
    coir_fiber *reader;
    long first, next, shielded;
    char got[ROOM];
};

static void *read_on(void *arg)
{
    struct late *l = arg;
    l->first = minus_errno(coir_read(l->ends[0], l->got, ROOM));
    l->next = minus_errno(coir_read(l->ends[0], l->got + 8, 8));
    COIR_SHIELD(LONG)
        l->shielded = minus_errno(coir_read(l->ends[0], l->got + 8, 8));
    EXPECT_FAILS(coir_check(), ECANCELED);
    EXPECT_EQ(coir_close(l->ends[0]), 0);
    return NULL;
}

/* Its data has arrived, but it has not run yet, when it is cancelled: it gets the data; the next
 * call tells of the cancel, a shielded one works, and closing always does. */
static void complete_but_not_resumed(void *arg)
{
    (void)arg;
    struct late l = { 0 };
    make_ends(PIPE, l.ends);
    l.reader = coir_spawn(read_on, &l);
    until_parked(l.reader);
    until_submitted();
    EXPECT_EQ(write(l.ends[1], "data", 4), 4);
    while (!has_state(l.reader, COIR__READY))
        coir_yield();
    EXPECT_EQ(coir_cancel(l.reader), 0);
    EXPECT_EQ(write(l.ends[1], "more", 4), 4);
    join(l.reader);
    EXPECT_EQ(l.first, 4);
    EXPECT_EQ(l.next, -ECANCELED);
    EXPECT_EQ(l.shielded, 4);
    EXPECT(memcmp(l.got, "data", 4) == 0 && memcmp(l.got + 8, "more", 4) == 0);
    close(l.ends[1]);
}

static void data_beats_a_late_cancel(void **state)
{
    (void)state;
    if (rung->interrupt_every)
        skip(); /* there the call is READY when it is to be tried again, and has no data yet */
    for (int i = 0; i < 20; i++)
        run_on(1, complete_but_not_resumed, NULL);
}

struct part {
    int ends[2];
    int way, deadline;
    long moved, next;
    char got[ROOM];
};

static char big[1 << 20];

static void *move_a_part(void *arg)
{
    struct part *p = arg;
    int64_t before_ns = coir_deadline();
    if (p->deadline)
        coir_deadline_narrow(coir_after(COIR_MS(20)));
    p->moved = p->way == 0   ? minus_errno(coir_write(p->ends[0], big, sizeof big))
               : p->way == 1 ? minus_errno(coir_send(p->ends[0], big, sizeof big, 0))
                             : minus_errno(coir_recv(p->ends[0], p->got, ROOM, MSG_WAITALL));
    p->next = minus_errno(coir_write(p->ends[0], "x", 1));
    coir_deadline_set(before_ns);
    return NULL;
}

/* What was stopped in the middle says how far it had come. */
static void stopped_in_the_middle(void *arg)
{
    struct part *p = arg;
    make_ends(UNIX_STREAM, p->ends);
    coir_fiber *f = spawn_apart(move_a_part, p);
    until_parked(f);
    if (p->way == 2)
        EXPECT_EQ(write(p->ends[1], "abc", 3), 3);
    coir_sleep(COIR_MS(2));
    if (!p->deadline)
        EXPECT_EQ(coir_cancel(f), 0);
    join(f);
    EXPECT_EQ(p->next, p->deadline ? -ETIMEDOUT : -ECANCELED);
    if (p->way == 2) {
        EXPECT_EQ(p->moved, 3);
        EXPECT(memcmp(p->got, "abc", 3) == 0);
    } else {
        ssize_t n, bytes = 0;
        while ((n = recv(p->ends[1], big, sizeof big, MSG_DONTWAIT)) > 0)
            bytes += n;
        EXPECT(p->moved > 0 && p->moved < (long)sizeof big);
        EXPECT_EQ(bytes, p->moved);
    }
    close_ends(p->ends);
}

static void bytes_beat_cancel_and_deadline(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++)
        for (int deadline = 0; deadline < 2; deadline++)
            for (const unsigned *w = test_workers; *w; w++) {
                struct part p = { .way = way, .deadline = deadline };
                run_on(*w, stopped_in_the_middle, &p);
            }
}

static void *after_the_deadline(void *arg)
{
    struct waiting v = { .call = (enum call)(intptr_t)arg };
    set_up(&v);
    coir_deadline_set(coir_now() - 1);
    EXPECT_EQ(do_call(&v), -ETIMEDOUT);
    EXPECT_EQ(do_call(&v), -ETIMEDOUT); /* level-triggered */
    if (v.ends[0] >= 0) {
        EXPECT_EQ(coir_close(v.ends[0]), 0);
        EXPECT_FAILS(coir_close(v.ends[0]), EBADF);
        v.ends[0] = -1;
    }
    coir_deadline_set(COIR_NEVER);
    clean_up(&v);
    return NULL;
}

static void passed_deadlines(void *arg)
{
    (void)arg;
    for (int call = 0; call < CALLS; call++)
        join(coir_spawn(after_the_deadline, (void *)(intptr_t)call));
}

static void a_passed_deadline_stays_passed(void **state)
{
    (void)state;
    run_on(1, passed_deadlines, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_stopped),
        cmocka_unit_test(data_beats_a_late_cancel),
        cmocka_unit_test(bytes_beat_cancel_and_deadline),
        cmocka_unit_test(a_passed_deadline_stays_passed),
    };
    return RUN_AT_HOME(tests);
}
