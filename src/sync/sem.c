/* sync/sem.c - the paths of a semaphore that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "sem.h"

int coir__sem_wait_slowly(struct coir__sem *s, int64_t deadline_ns)
{
    struct coir__wait me;
    coir__wait_init(&me, s);
    uint64_t value = coir__word_lock_by(&s->word, COIR__SEM_BUSY);
    if (value % COIR__SEM_WAITERS) {
        coir__word_unlock(&s->word, value - 1);
        return 0;
    }
    coir__wait_list_push(&s->waiters, &me.entry);
    int err = coir__wait_park(&me, COIR__WHY_SEM, deadline_ns, &s->word, COIR__SEM_WAITERS);
    if (err)
        coir__wait_leave(&me, &s->waiters, &s->word, COIR__SEM_BUSY, COIR__SEM_WAITERS);
    return -err;
}

void coir__sem_post_slowly(struct coir__sem *s)
{
    uint64_t value = coir__word_lock_by(&s->word, COIR__SEM_BUSY) % COIR__SEM_WAITERS;
    struct coir__wait_entry *e = coir__wait_list_claim(&s->waiters);
    if (!e)
        value++;
    else if (s->waiters)
        value = COIR__SEM_WAITERS;
    coir__word_unlock(&s->word, value);
    if (e)
        coir__waiter_release(e->waiter);
}
