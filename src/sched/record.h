/* sched/record.h - getting and giving back the memory of fiber records: record.c.
 * SPDX-License-Identifier: MIT
 *
 * The usual case is inline: it is on the way of every spawn and join. */
#ifndef COIR_SCHED_RECORD_H
#define COIR_SCHED_RECORD_H

#include "worker.h"

#define COIR__RECORDS_END UINT64_MAX

/* For the inline ones. Get w another magazine; false: out of memory. Put its full one away. */
COIR_HIDDEN bool coir__record_reload(struct coir__worker *w);
COIR_HIDDEN void coir__record_unload(struct coir__worker *w);
COIR_HIDDEN struct coir__fiber *coir__record_alloc_outside(void);
COIR_HIDDEN void coir__record_free_outside(struct coir__fiber *f);

/* A record with nothing set but its generation; NULL when out of memory. w: the calling worker or
 * NULL. */
static inline struct coir__fiber *coir__record_alloc(struct coir__worker *w)
{
    if (!w)
        return coir__record_alloc_outside();
    if (__builtin_expect(!w->records, 0) && !coir__record_reload(w))
        return NULL;
    struct coir__fiber *f = w->records;
    w->records = f->next;
    w->records_len--;
    return f;
}

/* From here on f's handles are stale. */
static inline void coir__record_expire(struct coir__fiber *f)
{
    uint16_t generation = (uint16_t)(coir__fiber_generation(f) + 1);
    coir__fiber_state_set(f, COIR__FREE);
    atomic_store_explicit(&f->ident, generation ? generation : 1, memory_order_release);
    atomic_thread_fence(memory_order_release); /* before anything of the record's next use */
}

/* Give it back. Any thread. */
static inline void coir__record_free(struct coir__worker *w, struct coir__fiber *f)
{
    if (__builtin_expect(!w, 0)) {
        coir__record_free_outside(f);
        return;
    }
    coir__record_expire(f);
    if (__builtin_expect(w->records_len >= COIR__RECORD_MAGAZINE, 0))
        coir__record_unload(w);
    f->next = w->records;
    w->records = f;
    w->records_len++;
}

/* Return a worker's cache to the process. */
COIR_HIDDEN void coir__record_flush(struct coir__worker *w);
/* Call fn for every record that is in use by rt. Other threads may change them meanwhile. */
COIR_HIDDEN void coir__record_each(struct coir__runtime *rt,
                                   void (*fn)(struct coir__fiber *, void *), void *arg);
/* The next record in use, from place *at on, which moves on behind it; at most `most` are passed
 * over. NULL: none so far, and *at is COIR__RECORDS_END when there are no more. Places stay, so who
 * goes from 0 to the end meets each record once. */
COIR_HIDDEN struct coir__fiber *coir__record_next(uint64_t *at, uint32_t most);
/* Give the memory of all records back to the kernel; none is in use. */
COIR_HIDDEN void coir__record_trim(void);

#endif
