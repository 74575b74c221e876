/* sched/dump.c - the looks of dump.h.
 * SPDX-License-Identifier: MIT */
#include "dump.h"

#include "record.h"

/* A tick's share: records in use, of whatever worker, and places passed over to find one. */
enum { FOUND_MAX = 64, PASSED_MAX = 8192 };

static void see_some(struct coir__worker *w, struct coir__look *look, uint32_t found_max,
                     uint32_t passed_max)
{
    struct coir__fiber *f;
    while (found_max-- && (f = coir__record_next(&look->at, passed_max)))
        if (coir__fiber_home(f) == w)
            look->see(look, f);
    atomic_fetch_add_explicit(&look->turns, 1, memory_order_relaxed);
    if (look->at == COIR__RECORDS_END)
        atomic_store_explicit(&look->done, 1, memory_order_release);
}

/* What is to be seen by w now; NULL: nothing. Then, and only then, w is not busy. */
static struct coir__look *enter(struct coir__worker *w)
{
    if (atomic_exchange(&w->looker.busy, 1)) /* pairs with coir__look_end() */
        return NULL;
    struct coir__look *look = atomic_load(&w->looker.look);
    if (look && !atomic_load_explicit(&look->done, memory_order_relaxed))
        return look;
    atomic_store(&w->looker.busy, 0);
    return NULL;
}

static void post(struct coir__worker *w)
{
    if (!atomic_exchange(&w->looker.posted, 1))
        coir__worker_mail_call(w, &w->looker.mail);
}

void coir__look_mail(struct coir__worker *w, struct coir__mail_call *call)
{
    (void)call;
    atomic_store(&w->looker.posted, 0);
    /* The mail of a worker that has ended is read by another thread. */
    struct coir__look *look = coir__worker_self() == w ? enter(w) : NULL;
    if (!look)
        return;
    see_some(w, look, FOUND_MAX, PASSED_MAX);
    bool done = atomic_load_explicit(&look->done, memory_order_relaxed);
    atomic_store(&w->looker.busy, 0);
    if (!done)
        post(w);
}

void coir__look_begin(struct coir__look *look)
{
    atomic_store(&look->worker->looker.look, look);
    post(look->worker);
}

bool coir__look_now(struct coir__worker *w, void (*before)(struct coir__look *look, void *arg),
                    void *arg)
{
    struct coir__look *look = enter(w);
    if (!look)
        return false;
    if (before)
        before(look, arg);
    see_some(w, look, UINT32_MAX, UINT32_MAX);
    atomic_store(&w->looker.busy, 0);
    return true;
}

void coir__look_end(struct coir__look *look)
{
    struct coir__looker *looker = &look->worker->looker;
    uint32_t turns = 0;
    atomic_store(&looker->look, NULL);
    while (atomic_load(&looker->busy)) /* pairs with enter() */
        coir__spin(&turns);
}
