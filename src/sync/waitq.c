/* sync/waitq.c - the paths of sync/waitq.h that are seldom taken.
 * SPDX-License-Identifier: MIT */
#include "waitq.h"

uint64_t coir__word_lock_slowly(_Atomic uint64_t *word)
{
    uint32_t turns = 0;
    for (;;) {
        uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
        if (value & COIR__WORD_BUSY)
            coir__spin(&turns);
        else if (atomic_compare_exchange_weak_explicit(word, &value, value | COIR__WORD_BUSY,
                                                       memory_order_acquire, memory_order_relaxed))
            return value;
    }
}

void coir__wait_release_all(struct coir__wait_entry *first)
{
    while (first) {
        struct coir__wait_entry *e = first;
        first = e->next; /* before it is released: then it is gone */
        coir__waiter_release(e->waiter);
    }
}
