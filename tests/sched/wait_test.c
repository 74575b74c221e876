/* tests/sched/wait_test.c - waits and wakes (sched/wait.h), and the inboxes they travel through.
 * SPDX-License-Identifier: MIT
 *
 * Method: several rivals - fibers of all workers, plain threads, a timer, a cancel - try to end one
 * wait. One of them must win, the waiter must return once, with that one's word; and mail that is
 * sent while the worker falls asleep must still wake it. */
#include "kit.h"

#include "sched/wait.h"

enum { RIVALS = 3, SENDERS = 3, MAIL = 2000 };

struct arena {
    struct coir__waiter waiter; /* outlives every wait: late rivals may look at it */
    _Atomic int round, open, arrived;
    _Atomic int claims; /* successful ones of this round */
    _Atomic int winner;
    _Atomic bool stop;
    int rounds, wrong, by_rival, by_time, by_cancel;
    bool timed, cancelled, waits_as_thread;
    coir_fiber *waiting;
};

/* In each round every rival tries once, as soon as the wait is open. */
static void *contend(struct arena *a, int me)
{
    for (int round = 1; !atomic_load(&a->stop); round++) {
        while (atomic_load(&a->open) < round && !atomic_load(&a->stop))
            kit_pause();
        if (atomic_load(&a->stop))
            break;
        if (coir__waiter_claim(&a->waiter, 1000 + me)) {
            atomic_fetch_add(&a->claims, 1);
            atomic_store(&a->winner, 1000 + me);
            coir__waiter_release(&a->waiter);
        }
        atomic_fetch_add(&a->arrived, 1);
    }
    return NULL;
}

struct rival {
    struct arena *arena;
    int number;
};

static void *rival(void *arg)
{
    struct rival *r = arg;
    return contend(r->arena, r->number);
}

static void *canceller(void *arg)
{
    struct arena *a = arg;
    for (int round = 1; !atomic_load(&a->stop); round++) {
        while (atomic_load(&a->open) < round && !atomic_load(&a->stop))
            kit_pause();
        if (!atomic_load(&a->stop))
            coir_cancel(a->waiting);
        atomic_fetch_add(&a->arrived, 1);
    }
    return NULL;
}

/* after-hook: from here on the wait can be ended. */
static void open_round(void *arg)
{
    struct arena *a = arg;
    atomic_fetch_add(&a->open, 1);
}

static void judge(struct arena *a, int outcome, int rivals)
{
    a->wrong += !KIT_UNTIL(atomic_load(&a->arrived) == rivals);
    if (outcome == ETIMEDOUT && a->timed)
        a->by_time++;
    else if (outcome == ECANCELED && a->cancelled)
        a->by_cancel++;
    else if (outcome == atomic_load(&a->winner))
        a->by_rival++;
    else
        a->wrong++;
    a->wrong += a->claims != (outcome >= 1000);
}

static void *wait_rounds(void *arg)
{
    struct arena *a = arg;
    int rivals = RIVALS + a->cancelled;
    for (int i = 0; i < a->rounds; i++) {
        atomic_store(&a->arrived, 0);
        atomic_store(&a->claims, 0);
        atomic_store(&a->winner, 0);
        coir__waiter_init(&a->waiter);
        a->wrong += (a->waiter.fiber == NULL) != a->waits_as_thread;
        int64_t until_ns = a->timed ? coir_now() + i % 64 * 500 : COIR_NEVER;
        judge(a, coir__waiter_wait(&a->waiter, COIR__WHY_NOTHING, until_ns, open_round, a), rivals);
        if (a->cancelled)
            kit_record(a->waiting)->cancelled = 0;
    }
    atomic_store(&a->stop, true);
    return NULL;
}

static void fight(void *arg)
{
    const coir_attr spread = { .flags = COIR_SPREAD };
    struct arena *a = arg;
    struct rival rivals[RIVALS];
    coir_fiber *fibers[RIVALS + 1];
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = (struct rival){ a, i };
        fibers[i] = coir_spawn_with(&spread, rival, &rivals[i]);
    }
    a->waiting = coir_spawn_with(&spread, wait_rounds, a);
    if (a->cancelled)
        fibers[RIVALS] = coir_spawn_with(&spread, canceller, a);
    coir_join(a->waiting, NULL);
    for (int i = 0; i < RIVALS + a->cancelled; i++)
        coir_join(fibers[i], NULL);
}

static void check_fight(const struct arena *a)
{
    assert_int_equal(a->wrong, 0);
    assert_int_equal(a->by_rival + a->by_time + a->by_cancel, a->rounds);
}

static void of_many_wakers_exactly_one_wakes_a_fiber(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct arena a = { .rounds = test_scaled(2000, 200) };
        assert_int_equal(fiber_test_run(*w, fight, &a), 0);
        check_fight(&a);
    }
}

static void time_and_cancel_compete_with_the_wakers(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct arena a = { .rounds = test_scaled(2000, 200), .timed = true, .cancelled = true };
        assert_int_equal(fiber_test_run(*w, fight, &a), 0);
        check_fight(&a);
    }
}

/* The same for a wait of a plain thread; rivals are threads, too. */
static void of_many_wakers_exactly_one_wakes_a_thread(void **state)
{
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        struct arena a = { .rounds = test_scaled(2000, 200), .timed = timed };
        struct rival rivals[RIVALS];
        pthread_t threads[RIVALS];
        a.waits_as_thread = true;
        for (int i = 0; i < RIVALS; i++) {
            rivals[i] = (struct rival){ &a, i };
            assert_int_equal(pthread_create(&threads[i], NULL, rival, &rivals[i]), 0);
        }
        wait_rounds(&a);
        for (int i = 0; i < RIVALS; i++)
            pthread_join(threads[i], NULL);
        check_fight(&a);
    }
}

/* Calls that threads mail to a worker: each is handled once, on the worker, in the sender's order.
 * */
struct letter {
    struct coir__mail_call call; /* first: the handler finds the letter by it */
    struct sender *sender;
    int number;
};

struct sender {
    struct post *post;
    pthread_t thread;
    struct letter letters[MAIL];
    int handled; /* by the worker */
};

struct post {
    struct coir__worker *to;
    struct sender senders[SENDERS];
    _Atomic int handled;
    int wrong;
};

static void handle_letter(struct coir__worker *w, struct coir__mail_call *call)
{
    struct letter *l = (struct letter *)call;
    struct post *p = l->sender->post;
    p->wrong += w != p->to || coir__worker_self() != w || coir__fiber_self() != NULL;
    p->wrong += l->number != l->sender->handled++;
    atomic_fetch_add(&p->handled, 1);
}

static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < MAIL; i++) {
        s->letters[i] = (struct letter){ { 0, handle_letter }, s, i };
        coir__worker_mail_call(s->post->to, &s->letters[i].call);
        if (i % 16 == 0)
            sched_yield();
    }
    return NULL;
}

static void receive(void *arg)
{
    struct post *p = arg;
    p->to = coir__worker_self();
    for (int i = 0; i < SENDERS; i++) {
        p->senders[i].post = p;
        pthread_create(&p->senders[i].thread, NULL, send_letters, &p->senders[i]);
    }
    while (atomic_load(&p->handled) < SENDERS * MAIL)
        if (coir_sleep(COIR_US(20)) < 0)
            p->wrong++;
    for (int i = 0; i < SENDERS; i++)
        pthread_join(p->senders[i].thread, NULL);
}

static void mail_is_handled_once_and_in_order(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct post *p = calloc(1, sizeof *p);
        assert_int_equal(fiber_test_run(*w, receive, p), 0);
        assert_int_equal(p->wrong, 0);
        for (int i = 0; i < SENDERS; i++)
            assert_int_equal(p->senders[i].handled, MAIL);
        free(p);
    }
}

/* A thread writes to a worker that is just falling asleep, waits for the answer, and again. */
struct pingpong {
    struct letter letter;
    struct coir__worker *to;
    _Atomic int32_t answered;
    int rounds, lost;
};

static void answer(struct coir__worker *w, struct coir__mail_call *call)
{
    struct pingpong *p = (struct pingpong *)call;
    (void)w;
    atomic_fetch_add(&p->answered, 1);
    coir__futex_wake(&p->answered, 1);
}

static void *ping(void *arg)
{
    struct pingpong *p = arg;
    for (int i = 0; i < p->rounds; i++) {
        int64_t until_ns = coir_after(COIR_SEC(KIT_PATIENCE_S));
        p->letter.call = (struct coir__mail_call){ 0, answer };
        coir__worker_mail_call(p->to, &p->letter.call);
        while (atomic_load(&p->answered) == i && coir_now() < until_ns)
            coir__futex_wait(&p->answered, i, until_ns);
        if (atomic_load(&p->answered) == i) {
            p->lost++;
            break;
        }
        for (int k = i % 400; k > 0; k--)
            coir__arch_pause();
    }
    return NULL;
}

static void sleep_till_pinged(void *arg)
{
    struct pingpong *p = arg;
    pthread_t thread;
    p->to = coir__worker_self();
    pthread_create(&thread, NULL, ping, p);
    while (!p->lost && atomic_load(&p->answered) < p->rounds)
        coir_sleep(COIR_SEC(1)); /* the worker has nothing else to do, and sleeps too */
    pthread_join(thread, NULL);
}

static void no_kick_is_lost_while_a_worker_falls_asleep(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pingpong p = { .rounds = test_scaled(10000, 500) };
        assert_int_equal(fiber_test_run(*w, sleep_till_pinged, &p), 0);
        assert_int_equal(p.lost, 0);
        assert_int_equal(p.answered, p.rounds);
    }
}

/* Many fibers and threads cancel one fiber that keeps sleeping in shields: its record is put into
 * the inbox over and over, and the sleeps are neither shortened nor lost. */
struct pest {
    coir_fiber *victim;
    _Atomic bool stop;
    _Atomic long sent;
    int rounds;
    _Atomic int wrong;
};

static void *pester(void *arg)
{
    struct pest *p = arg;
    while (!atomic_load(&p->stop)) {
        p->wrong += coir_cancel(p->victim) < 0;
        atomic_fetch_add(&p->sent, 1);
        kit_pause();
    }
    return NULL;
}

static void *keep_sleeping(void *arg)
{
    struct pest *p = arg;
    KIT_UNTIL(atomic_load(&p->sent) > 0);
    for (int i = 0; i < p->rounds; i++) {
        COIR_SHIELD(COIR_SEC(KIT_PATIENCE_S)) {
            int64_t begun_ns = coir_now();
            p->wrong += coir_sleep(COIR_US(50)) < 0 || coir_now() - begun_ns < COIR_US(50);
        }
        p->wrong += coir_sleep(COIR_SEC(KIT_PATIENCE_S)) != -1 || errno != ECANCELED;
    }
    atomic_store(&p->stop, true);
    return NULL;
}

static void pester_one(void *arg)
{
    const coir_attr spread = { .flags = COIR_SPREAD };
    struct pest *p = arg;
    coir_fiber *fibers[RIVALS];
    pthread_t thread;
    p->victim = coir_spawn(keep_sleeping, p);
    pthread_create(&thread, NULL, pester, p);
    for (int i = 0; i < RIVALS; i++)
        fibers[i] = coir_spawn_with(&spread, pester, p);
    for (int i = 0; i < RIVALS; i++)
        coir_join(fibers[i], NULL);
    KIT_UNTIL(pthread_tryjoin_np(thread, NULL) == 0);
    coir_join(p->victim, NULL);
}

static void any_number_of_cancels_travels_in_one_record(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        struct pest p = { .rounds = test_scaled(1000, 50) };
        assert_int_equal(fiber_test_run(*w, pester_one, &p), 0);
        assert_int_equal(p.wrong, 0);
        assert_true(p.sent > 0);
    }
}

static void a_futex_wait_tells_why_it_ended(void **state)
{
    _Atomic int32_t word = 5;
    int64_t begun_ns = coir_now();
    (void)state;
    assert_int_equal(coir__futex_wait(&word, 4, COIR_NEVER), -EAGAIN);
    assert_int_equal(coir__futex_wait(&word, 5, begun_ns + COIR_MS(5)), -ETIMEDOUT);
    assert_true(coir_now() >= begun_ns + COIR_MS(5));
    coir__futex_wake(&word, 1); /* nobody there: nothing happens */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_wakers_exactly_one_wakes_a_fiber),
        cmocka_unit_test(time_and_cancel_compete_with_the_wakers),
        cmocka_unit_test(of_many_wakers_exactly_one_wakes_a_thread),
        cmocka_unit_test(mail_is_handled_once_and_in_order),
        cmocka_unit_test(no_kick_is_lost_while_a_worker_falls_asleep),
        cmocka_unit_test(any_number_of_cancels_travels_in_one_record),
        cmocka_unit_test(a_futex_wait_tells_why_it_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
