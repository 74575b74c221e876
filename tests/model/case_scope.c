/* tests/model/case_scope.c - scopes: the opener goes on when the last child has ended, and not
 * before.
 * SPDX-License-Identifier: MIT */
#include "cases.h"
#include "kit.h"
#include "sync/scope.h"

#include <errno.h>

static int ended; /* children that have */
static struct coir__scope *shared;
static _Atomic bool is_open;

static int child_ends(void *arg)
{
    (void)arg;
    ended++;
    return 0;
}

static int child_sleeps(void *arg)
{
    (void)arg;
    int err = coir__sleep_until(COIR__NEVER - 1);
    model_assert(err == -ECANCELED);
    ended++;
    return 0;
}

static int child_fails(void *arg)
{
    (void)arg;
    ended++;
    return -1;
}

/* On another worker than the opener's. */
static void spawn(struct coir__scope *s, int (*fn)(void *))
{
    struct coir__spawn how = { .fn = (void *(*)(void *))(void (*)(void))fn,
                               .flags = COIR__SPREAD,
                               .stack_class = -1,
                               .deadline_ns = COIR__NEVER };
    model_assert(coir__scope_spawn(s, &kit_rt, &how) == 0);
}

static void *open_one(void *arg)
{
    struct coir__scope s;
    coir__scope_open(&s, 0, 0);
    spawn(&s, arg == NULL ? child_ends : child_fails);
    int err = coir__scope_wait(&s, false);
    model_assert(ended == 1 && err == (arg ? -EIO : 0));
    model_pay();
    return NULL;
}

/* The deadline comes before, after or while the child ends; or, with an argument, has to, for the
 * child sleeps. */
static void *open_until(void *arg)
{
    struct coir__scope s;
    coir__scope_open(&s, 0, 0);
    spawn(&s, arg ? child_sleeps : child_ends);
    coir__worker_self()->current->deadline_ns = 10;
    int err = coir__scope_wait(&s, false);
    model_assert(ended == 1 && (err == -ETIMEDOUT || (!arg && err == 0)));
    coir__worker_self()->current->deadline_ns = COIR__NEVER;
    coir__yield();
    model_pay();
    return NULL;
}

/* Somebody else cancels it: he knows that it is open as long as the child, which waits for that, is
 * there. */
static void *open_and_be_cancelled(void *arg)
{
    struct coir__scope s;
    (void)arg;
    coir__scope_open(&s, 0, 0);
    spawn(&s, child_sleeps);
    shared = &s;
    atomic_store(&is_open, true);
    coir__scope_wait(&s, false);
    model_assert(ended == 1);
    coir__yield();
    model_pay();
    return NULL;
}

static void cancel(void *arg)
{
    (void)arg;
    while (!atomic_load(&is_open))
        coir__arch_pause();
    coir__scope_cancel(shared);
}

static void pass_time(void *arg)
{
    (void)arg;
    model_clock_advance(10);
}

static void begin(void *(*opener)(void *), void *arg)
{
    kit_begin(2, 2);
    kit_rt.next_worker = 1;
    kit_fiber(0, opener, arg);
    model_owe(1);
}

static void one_ends(void)
{
    begin(open_one, NULL);
}

static void one_fails(void)
{
    begin(open_one, "fails");
}

static void ends_in_time(void)
{
    begin(open_until, NULL);
    model_thread("time", pass_time, NULL);
}

static void times_out(void)
{
    begin(open_until, "sleeps");
    model_thread("time", pass_time, NULL);
}

static void cancelled(void)
{
    begin(open_and_be_cancelled, NULL);
    model_thread("canceller", cancel, NULL);
}

const struct model_case cases_scope[] = {
    { "scope, a child ends", "a fiber opens it, a child on another worker ends", one_ends, NULL,
      MODEL_BARRIERS },
    { "scope, a child fails", "the same, and it fails", one_fails, NULL, MODEL_BARRIERS },
    { "scope, a deadline", "a child ends, or the opener's time is up", ends_in_time, NULL,
      MODEL_BARRIERS | MODEL_CLOCK, MODEL_ALWAYS },
    { "scope, a deadline that is missed", "a child sleeps, until the opener's time is up",
      times_out, NULL, MODEL_BARRIERS | MODEL_CLOCK, MODEL_ALWAYS },
    { "scope, cancelled", "a child sleeps, a thread cancels the scope", cancelled, NULL,
      MODEL_BARRIERS, MODEL_ALWAYS },
    { 0 },
};
