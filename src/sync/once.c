/* sync/once.c - who does it, and who waits for that.
 * SPDX-License-Identifier: MIT */
#include "once.h"

static struct coir__wait_entry *list_in(uint64_t value)
{
    return (struct coir__wait_entry *)(uintptr_t)(value & ~(uint64_t)COIR__ONCE_RUNNING);
}

bool coir__once_begin(struct coir__once *o)
{
    struct coir__wait me;
    coir__wait_init(&me, o);
    uint64_t value = coir__word_lock(&o->word);
    if (!(value & COIR__ONCE_RUNNING)) {
        coir__word_unlock(&o->word, value & COIR__ONCE_DONE ? value : COIR__ONCE_RUNNING);
        return !value;
    }
    struct coir__wait_entry *list = list_in(value);
    coir__wait_list_push(&list, &me.entry);
    coir__wait_park_anyway(&me, COIR__WHY_ONCE, &o->word, (uintptr_t)list | COIR__ONCE_RUNNING);
    return false;
}

void coir__once_end(struct coir__once *o)
{
    struct coir__wait_entry *list = list_in(coir__word_lock(&o->word));
    struct coir__wait_chain chain = coir__wait_list_claim_all(&list);
    coir__word_unlock(&o->word, COIR__ONCE_DONE);
    coir__wait_release_all(chain);
}
