/* sync/waitq.c - the paths of sync/waitq.h that are seldom taken.
 * SPDX-License-Identifier: MIT */
#include "waitq.h"

uint64_t coir__word_lock_slowly(_Atomic uint64_t *word, uint64_t busy)
{
    uint32_t turns = 0;
    for (;;) {
        uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
        if (value & busy)
            coir__spin(&turns);
        else if (atomic_compare_exchange_weak_explicit(word, &value, value | busy,
                                                       memory_order_acquire, memory_order_relaxed))
            return value;
    }
}

uint64_t coir__word_settled(_Atomic uint64_t *word, uint64_t busy)
{
    uint32_t turns = 0;
    uint64_t value;
    while ((value = atomic_load_explicit(word, memory_order_acquire)) & busy)
        coir__spin(&turns);
    return value;
}

struct coir__wait_chain coir__wait_list_claim_all(struct coir__wait_entry **list)
{
    struct coir__wait_chain chain = { NULL, NULL };
    struct coir__wait_entry *e;
    while ((e = coir__wait_list_claim(list)))
        coir__wait_chain_add(&chain, e);
    return chain;
}

void coir__wait_release_all(struct coir__wait_chain chain)
{
    while (chain.first) {
        struct coir__wait_entry *e = chain.first;
        chain.first = e->next; /* before it is released: then it is gone */
        coir__waiter_release(e->waiter);
    }
}

void coir__wait_leave(struct coir__wait *w, struct coir__wait_entry **list, _Atomic uint64_t *word,
                      uint64_t busy, uint64_t bit)
{
    uint64_t value = coir__word_lock_by(word, busy);
    coir__wait_list_remove(list, &w->entry);
    coir__word_unlock(word, *list ? value : value & ~bit);
}
