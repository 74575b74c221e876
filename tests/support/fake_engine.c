/* tests/support/fake_engine.c - see fake_engine.h.
 * SPDX-License-Identifier: MIT */
#include "fake_engine.h"

#include "sched/memory.h"
#include "sched/wait.h"
#include "sched/worker.h"

#include <errno.h>

struct fake {
    _Atomic int32_t kicked;
};

static int fail_index = -2, fail_err;

void fake_engine_fail_init(int index, int err)
{
    fail_index = err ? index : -2;
    fail_err = err;
}

static int init(struct coir__worker *w)
{
    if (fail_index == -1 || fail_index == (int)w->index)
        return fail_err;
    w->io = coir__map(sizeof(struct fake)); /* LeakSanitizer looks in no worker for a pointer */
    return w->io ? 0 : -ENOMEM;
}

static void fini(struct coir__worker *w)
{
    coir__unmap(w->io, sizeof(struct fake));
    w->io = NULL;
}

static void wait_until(struct coir__worker *w, int64_t until_ns)
{
    struct fake *fake = w->io;
    if (until_ns != 0)
        while (!atomic_load(&fake->kicked) &&
               coir__futex_wait(&fake->kicked, 0, until_ns) != -ETIMEDOUT)
            ;
    atomic_store(&fake->kicked, 0);
}

static void kick(struct coir__worker *w)
{
    struct fake *fake = w->io;
    atomic_store(&fake->kicked, 1);
    coir__futex_wake(&fake->kicked, 1);
}

static void nothing(struct coir__worker *w)
{
    (void)w;
}

static uint64_t none(struct coir__worker *w)
{
    (void)w;
    return 0;
}

static bool sees_nothing(struct coir__worker *w)
{
    (void)w;
    return false;
}

const struct coir__engine fake_engine = {
    .name = "fake",
    .init = init,
    .fini = fini,
    .wait = wait_until,
    .look = sees_nothing,
    .kick = kick,
    .stop_all = nothing,
    .stop_closing = nothing,
    .in_flight = none,
};
