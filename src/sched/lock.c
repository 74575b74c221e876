/* sched/lock.c - taking a record's lock from its home worker.
 * SPDX-License-Identifier: MIT */
#include "lock.h"

#include "runtime.h"
#include "sanitize.h"

#include <linux/membarrier.h>
#include <linux/time_types.h>
#include <sys/syscall.h>

_Atomic bool coir__lock_biased;

void coir__lock_init(void)
{
    coir__lock_biased =
        COIR__SAN_SEES_MEMBARRIER &&
        coir__sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* A filter that the program has put in place since may refuse it; then time does: what a CPU has
 * stored is seen by the others within microseconds, and a thread that does not run has passed a
 * barrier. */
void coir__barrier_everywhere(void)
{
    if (coir__sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0)
        return;
    atomic_store_explicit(&coir__lock_biased, false, memory_order_relaxed);
    struct __kernel_timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
    coir__sys(SYS_nanosleep, &pause, NULL);
}

/* Several may ask at once; who finds it revoked comes after a barrier. False: stale. */
static bool revoke(struct coir__fiber *f, uint16_t generation)
{
    uint32_t ident = generation;
    if (!atomic_compare_exchange_strong_explicit(&f->ident, &ident, generation | COIR__ASKED,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        if ((uint16_t)ident != generation)
            return false;
        if (ident & COIR__REVOKED)
            return true;
    }
    coir__barrier_everywhere();
    ident = generation | COIR__ASKED;
    atomic_compare_exchange_strong_explicit(&f->ident, &ident, ident | COIR__REVOKED,
                                            memory_order_acq_rel, memory_order_relaxed);
    return (uint16_t)ident == generation;
}

void coir__fibers_unbias(struct coir__fiber **f, uint32_t n)
{
    uint32_t all = COIR__REVOKED;
    for (uint32_t i = 0; i < n; i++)
        all &= atomic_fetch_or_explicit(&f[i]->ident, COIR__ASKED, memory_order_acq_rel);
    if (all)
        return;
    coir__barrier_everywhere();
    for (uint32_t i = 0; i < n; i++)
        atomic_fetch_or_explicit(&f[i]->ident, COIR__REVOKED, memory_order_acq_rel);
}

/* Locked, and of that generation, f keeps its home; and its home, if it has one, is there. */
static bool enter(struct coir__fiber *f, uint16_t generation)
{
    if (!revoke(f, generation))
        return false;
    coir__spin_lock(&f->lock);
    if (coir__fiber_generation(f) != generation) {
        coir__spin_unlock(&f->lock);
        return false;
    }
    struct coir__worker *home = coir__fiber_home(f);
    uint32_t turns = 0;
    while (home && atomic_load_explicit(&home->holding, memory_order_acquire) == f)
        coir__spin(&turns);
    return true;
}

bool coir__fiber_lock_shared(struct coir__fiber *f, uint16_t generation)
{
    bool outside = !coir__worker_is_sibling(coir__fiber_home(f));
    if (outside)
        coir__knock();
    bool locked = enter(f, generation);
    if (outside)
        coir__knocked();
    return locked;
}
