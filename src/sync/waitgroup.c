/* sync/waitgroup.c - the paths of a waitgroup that wait or wake.
 * SPDX-License-Identifier: MIT */
#include "waitgroup.h"

int coir__waitgroup_wait_slowly(struct coir__waitgroup *wg, int64_t deadline_ns)
{
    struct coir__wait me;
    coir__wait_init(&me, wg);
    uint64_t value = coir__word_lock(&wg->word);
    if (!value) {
        coir__word_unlock(&wg->word, value);
        return 0;
    }
    coir__wait_list_push(&wg->waiters, &me.entry);
    int err = coir__wait_park(&me, COIR__WHY_WAITGROUP, deadline_ns, &wg->word,
                              value | COIR__WAITGROUP_WAITERS);
    if (err)
        coir__wait_leave(&me, &wg->waiters, &wg->word, COIR__WORD_BUSY, COIR__WAITGROUP_WAITERS);
    return -err;
}

void coir__waitgroup_done_slowly(struct coir__waitgroup *wg)
{
    struct coir__wait_chain chain = { NULL, NULL };
    uint64_t value = coir__word_lock(&wg->word);
    COIR__MISUSE_IF(value < COIR__WAITGROUP_ONE, "coir_waitgroup_done: more often than added");
    if (value >= COIR__WAITGROUP_ONE)
        value -= COIR__WAITGROUP_ONE;
    if (value < COIR__WAITGROUP_ONE) {
        chain = coir__wait_list_claim_all(&wg->waiters);
        value = 0;
    }
    coir__word_unlock(&wg->word, value);
    coir__wait_release_all(chain);
}
