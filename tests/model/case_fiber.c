/* tests/model/case_fiber.c - a fiber's life as others see it: join, detach, cancel, and its mail.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sync/sem.h"

#include <errno.h>

static void *handle;
static struct coir__fiber *fiber;
static int outcomes[4];
static struct coir__sem sem;
static int data; /* written by the fiber, read by who has joined it */

static void *end_at_once(void *arg)
{
    data++;
    model_pay();
    return arg;
}

static void begin(void *(*fn)(void *), unsigned workers)
{
    kit_begin(workers, workers);
    fiber = kit_fiber(0, fn, &data);
    handle = coir__fiber_handle(fiber);
    model_owe(1);
}

/* Every record of the case is free again, and none is so twice. */
static void records_are_free(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        for (struct coir__fiber *f = kit_workers[i].records; f; f = f->next, n++)
            model_assert(n <= kit_records_len && coir__fiber_state(f) == COIR__FREE);
    model_assert(n + kit_records_freed_outside == kit_records_len);
}

static int join_it(void)
{
    void *result = NULL;
    int error = -1;
    int err = coir__join(handle, &result, &error);
    if (err == 0) {
        model_assert(result == &data && error == 0 && data == 1);
    }
    return err;
}

static void join(void *arg)
{
    (void)arg;
    model_assert(join_it() == 0);
    model_pay();
}

static void *join_in_fiber(void *arg)
{
    join(arg);
    return NULL;
}

static void joined_by_a_thread(void)
{
    begin(end_at_once, 1);
    model_thread("joiner", join, NULL);
    model_owe(1);
}

static void joined_by_a_fiber(void)
{
    begin(end_at_once, 2);
    struct coir__fiber *joiner = kit_fiber(1, join_in_fiber, NULL);
    joiner->detached = true;
    model_owe(1);
}

static void join_or_be_late(void *arg)
{
    outcomes[(uintptr_t)arg] = join_it();
    model_pay();
}

static void joined_by_two(void)
{
    begin(end_at_once, 1);
    model_thread("joiner", join_or_be_late, (void *)0);
    model_thread("another", join_or_be_late, (void *)1);
    model_owe(2);
}

static void one_has_joined(void)
{
    model_assert((outcomes[0] == 0) != (outcomes[1] == 0));
    model_assert(outcomes[0] + outcomes[1] == -EINVAL);
    records_are_free();
}

static void join_with_deadline(void *arg)
{
    (void)arg;
    int err = join_it();
    model_assert(err == 0 || (err == -ETIMEDOUT && model_now() >= kit_thread_deadline_ns));
    if (err) {
        kit_thread_deadline_ns = COIR__NEVER;
        model_assert(join_it() == 0);
    }
    model_pay();
}

static void pass_time(void *arg)
{
    (void)arg;
    model_clock_advance(10);
}

static void joined_in_time(void)
{
    begin(end_at_once, 1);
    kit_thread_deadline_ns = 10;
    model_thread("joiner", join_with_deadline, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(1);
}

static void detach(void *arg)
{
    (void)arg;
    model_assert(coir__detach(handle) == 0);
    model_pay();
}

static void detached(void)
{
    begin(end_at_once, 1);
    model_thread("detacher", detach, NULL);
    model_owe(1);
}

static void detach_or_be_late(void *arg)
{
    outcomes[(uintptr_t)arg] = coir__detach(handle);
    model_pay();
}

static void joined_or_detached(void)
{
    begin(end_at_once, 1);
    model_thread("joiner", join_or_be_late, (void *)0);
    model_thread("detacher", detach_or_be_late, (void *)1);
    model_owe(2);
}

/* Cancel comes before, while or after it sleeps, and it may have ended before. */
static void *sleep_for_ever(void *arg)
{
    model_assert(coir__sleep_until(COIR__NEVER - 1) == -ECANCELED);
    data++;
    model_pay();
    return arg;
}

static void cancel(void *arg)
{
    int err = coir__cancel(handle);
    model_assert(err == 0 || (!arg && err == -EINVAL));
    model_pay();
}

static void cancelled_in_sleep(void)
{
    begin(sleep_for_ever, 1);
    model_thread("canceller", cancel, (void *)1);
    model_thread("joiner", join, NULL);
    model_owe(2);
}

static void cancelled_late(void)
{
    begin(end_at_once, 1);
    model_thread("canceller", cancel, NULL);
    model_thread("joiner", join, NULL);
    model_owe(2);
}

static void *cancel_in_fiber(void *arg)
{
    cancel(arg);
    return NULL;
}

static void cancelled_by_a_fiber(void)
{
    begin(sleep_for_ever, 2);
    struct coir__fiber *canceller = kit_fiber(1, cancel_in_fiber, (void *)1);
    canceller->detached = true;
    model_thread("joiner", join, NULL);
    model_owe(2);
}

/* Waker, cancel and timer want to end one wait: one does, and what was given is not lost. */
static void *wait_for_sem(void *arg)
{
    if (!coir__sem_take(&sem))
        outcomes[0] = coir__sem_wait_slowly(&sem, 10);
    data++;
    model_pay();
    return arg;
}

static void post(void *arg)
{
    (void)arg;
    coir__sem_post(&sem);
    model_pay();
}

static void one_is_the_waker(void)
{
    model_assert(outcomes[0] == 0 || outcomes[0] == -ECANCELED ||
                 (outcomes[0] == -ETIMEDOUT && model_now() == 10));
    model_assert(sem.word == (outcomes[0] != 0) && !sem.waiters);
}

static void claimed_by_three(void)
{
    begin(wait_for_sem, 1);
    model_name(&sem, sizeof sem, "the semaphore");
    model_thread("poster", post, NULL);
    model_thread("canceller", cancel, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

static void claimed_by_waker_and_cancel(void)
{
    begin(wait_for_sem, 1);
    model_thread("poster", post, NULL);
    model_thread("canceller", cancel, NULL);
    model_owe(2);
}

static void claimed_by_waker_and_timer(void)
{
    begin(wait_for_sem, 1);
    model_thread("poster", post, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(1);
}

static void *wait_for_sem_for_ever(void *arg)
{
    if (!coir__sem_take(&sem))
        coir__sem_wait_slowly(&sem, COIR__NEVER);
    model_pay();
    return arg;
}

static void *post_in_fiber(void *arg)
{
    post(arg);
    return NULL;
}

static void claimed_by_another_worker(void)
{
    begin(wait_for_sem, 2);
    kit_fiber(1, post_in_fiber, NULL);
    model_thread("time", pass_time, NULL);
    model_owe(1);
}

/* Calls by mail to a worker that falls asleep: each is handled once, in its sender's order. */
struct numbered_call {
    struct coir__mail_call call; /* first */
    int sender, number;
};
static struct numbered_call calls[2][2];
static int handled[2];

static void handle_call(struct coir__worker *w, struct coir__mail_call *call)
{
    struct numbered_call *c = (struct numbered_call *)call;
    model_assert(w == coir__worker_self() && handled[c->sender] == c->number);
    handled[c->sender]++;
    model_pay();
}

static void send_two(void *arg)
{
    for (int i = 0; i < 2; i++) {
        struct numbered_call *c = &calls[(uintptr_t)arg][i];
        c->sender = (int)(uintptr_t)arg;
        c->number = i;
        c->call.handle = handle_call;
        coir__worker_mail_call(&kit_workers[0], &c->call);
    }
}

static void mail_from_one(void)
{
    kit_begin(1, 1);
    model_thread("sender", send_two, (void *)0);
    model_owe(2);
}

static void mail_from_two(void)
{
    mail_from_one();
    model_thread("another", send_two, (void *)1);
    model_owe(2);
}

/* The worker looks for mail awake, for some time, before it sleeps. */
static void mail_while_awake(void)
{
    kit_begin(2, 1);
    kit_workers[0].spins = 4;
    model_thread("sender", send_two, (void *)0);
    model_thread("time", pass_time, NULL);
    model_owe(2);
}

/* All rest in the end, which is told, and not before. A worker that is disturbed while it looks
 * looks again, and disturbs others: there is no end of different orders. */
static void pass_time_when_quiet(void *arg)
{
    (void)arg;
    for (int i = 1; i <= 3 && !kit_told_rest; i++) {
        model_await_quiet();
        model_clock_advance(i * 100 * 1000);
    }
}

static void look_for_rest(void)
{
    kit_rt.rest = COIR__REST_UNKNOWN;
    model_thread("time", pass_time_when_quiet, NULL);
}

static void rest_after_a_post(void)
{
    begin(wait_for_sem_for_ever, 2);
    kit_fiber(1, post_in_fiber, NULL);
    model_owe(1);
    look_for_rest();
}

static void rest_in_deadlock(void)
{
    kit_begin(2, 2);
    kit_fiber(0, wait_for_sem_for_ever, NULL);
    look_for_rest();
}

static void rest_is_told(void)
{
    model_assert(kit_told_rest);
}

const struct model_case cases_fiber[] = {
    { "join, by a thread", "a fiber ends while a thread joins it", joined_by_a_thread,
      records_are_free, MODEL_BARRIERS, 0 },
    { "join, by a fiber", "a fiber ends while a fiber of another worker joins it",
      joined_by_a_fiber, records_are_free, MODEL_BARRIERS, 0 },
    { "join, by two", "a fiber ends while two threads join it", joined_by_two, one_has_joined,
      MODEL_BARRIERS, MODEL_ALWAYS },
    { "join, with a deadline", "a fiber ends while a thread joins it, and time passes",
      joined_in_time, records_are_free, MODEL_BARRIERS | MODEL_CLOCK, MODEL_BUFFERS },
    { "detach", "a fiber ends while a thread detaches it", detached, records_are_free,
      MODEL_BARRIERS, 0 },
    { "join or detach", "a fiber ends while a thread joins it and another detaches it",
      joined_or_detached, one_has_joined, MODEL_BARRIERS, MODEL_ALWAYS },
    { "cancel, asleep", "a fiber sleeps, is cancelled by a thread, and joined by another",
      cancelled_in_sleep, records_are_free, MODEL_BARRIERS, MODEL_ALWAYS },
    { "cancel, late", "a fiber ends while it is cancelled, and joined", cancelled_late,
      records_are_free, MODEL_BARRIERS, MODEL_ALWAYS },
    { "cancel, by a fiber", "a fiber sleeps, is cancelled by one of another worker, and joined",
      cancelled_by_a_fiber, records_are_free, MODEL_BARRIERS, MODEL_ALWAYS },
    { "claim, waker or cancel", "a fiber waits, a thread posts, another cancels",
      claimed_by_waker_and_cancel, one_is_the_waker, MODEL_BARRIERS | MODEL_CLOCK, MODEL_BUFFERS },
    { "claim, waker or timer", "a fiber waits, a thread posts, time passes",
      claimed_by_waker_and_timer, one_is_the_waker, MODEL_CLOCK, 0 },
    { "claim, by another worker", "a fiber waits, one of another worker posts, time passes",
      claimed_by_another_worker, one_is_the_waker, MODEL_CLOCK, 0 },
    { "claim, waker, cancel or timer",
      "a fiber waits, a thread posts, another cancels, time passes", claimed_by_three,
      one_is_the_waker, MODEL_BARRIERS | MODEL_CLOCK, MODEL_ALWAYS },
    { "mail, from one", "a thread sends two calls to a worker that falls asleep", mail_from_one,
      NULL, 0, 0 },
    { "mail, from two", "two threads send two calls each to a worker that falls asleep",
      mail_from_two, NULL, 0, MODEL_ALWAYS },
    { "mail, awake", "a thread sends two calls to a worker that looks for mail awake",
      mail_while_awake, NULL, MODEL_CLOCK | MODEL_SPINS, 0 },
    { "rest, after a post", "a fiber waits, one of another worker posts", rest_after_a_post,
      rest_is_told, MODEL_CLOCK | MODEL_SPINS, 0, MODEL_ALWAYS },
    { "rest, in a deadlock", "a fiber waits for ever, on one of two workers", rest_in_deadlock,
      rest_is_told, MODEL_CLOCK | MODEL_SPINS, MODEL_ALWAYS },
    { 0 },
};
