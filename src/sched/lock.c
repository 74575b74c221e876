/* sched/lock.c - taking a record's lock from its home worker.
 * SPDX-License-Identifier: MIT */
#include "lock.h"

#include "sanitize.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>

bool coir__lock_biased;

void coir__lock_init(void)
{
    coir__lock_biased =
        COIR__SAN_SEES_MEMBARRIER &&
        coir__sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Home may be asked by several at once; who finds it revoked comes after a barrier. */
static void revoke(struct coir__fiber *f)
{
    uint16_t generation = coir__fiber_generation(f);
    if (atomic_load_explicit(&f->revoked, memory_order_acquire) == generation)
        return;
    atomic_store_explicit(&f->asked, generation, memory_order_relaxed);
    coir__sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    atomic_store_explicit(&f->revoked, generation, memory_order_release);
}

void coir__fiber_lock_as_other(struct coir__fiber *f)
{
    revoke(f);
    coir__spin_lock(&f->lock);
    while (atomic_load_explicit(&f->held, memory_order_acquire))
        coir__arch_pause();
}
