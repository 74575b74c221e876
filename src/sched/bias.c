/* sched/bias.c - taking an object's lock from its home worker.
 * SPDX-License-Identifier: MIT */
#include "bias.h"

#include "runtime.h"

enum { BIAS_DEBT = 64, DEBT_MAX = 1024 };

static struct coir__slot slots[2][COIR__WORKERS_MAX];

/* So many objects are still to be born revoked. Lost updates do no harm. */
static _Atomic int32_t debt;

struct coir__slot *coir__slot_of(bool main_runtime, unsigned index)
{
    return &slots[main_runtime][index];
}

void coir__bias_init(struct coir__bias *b)
{
    struct coir__worker *w = coir__worker_self();
    int32_t owed = atomic_load_explicit(&debt, memory_order_relaxed);
    bool biased = w && owed <= 0 && atomic_load_explicit(&coir__lock_biased, memory_order_relaxed);
    if (owed > 0)
        atomic_store_explicit(&debt, owed - 1, memory_order_relaxed);
    b->home = biased ? w->slot : NULL;
    atomic_store_explicit(&b->asked, biased ? COIR__BIASED : COIR__BIAS_REVOKED,
                          memory_order_relaxed);
    atomic_store_explicit(&b->lock, 0, memory_order_relaxed);
}

void coir__bias_revoke(struct coir__bias *b)
{
    struct coir__worker *w = coir__worker_self();
    if (atomic_load_explicit(&b->asked, memory_order_acquire) == COIR__BIAS_REVOKED)
        return;
    if (!w || w->slot != b->home) {
        uint8_t none = COIR__BIASED;
        atomic_compare_exchange_strong(&b->asked, &none, COIR__BIAS_ASKED);
        coir__barrier_everywhere();
        int32_t owed = atomic_load_explicit(&debt, memory_order_relaxed);
        if (owed < DEBT_MAX)
            atomic_store_explicit(&debt, owed + BIAS_DEBT, memory_order_relaxed);
    }
    atomic_store_explicit(&b->asked, COIR__BIAS_REVOKED, memory_order_release);
}

void coir__bias_lock_shared(struct coir__bias *b)
{
    coir__bias_revoke(b);
    coir__spin_lock(&b->lock);
    uint32_t turns = 0;
    while (b->home && atomic_load_explicit(&b->home->holding, memory_order_acquire) == b)
        coir__spin(&turns);
}
