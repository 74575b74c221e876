/* sync/future.h - a value that will be there, or the reason why it will not: coir_future.
 * SPDX-License-Identifier: MIT
 *
 * Word      FUTURE_DONE for ever once it is decided; then value and error are anybody's to read.
 *           Until then they and the list belong to who has the word.
 * Deciding  by the fiber of an async, as its last look at the future, or, for a promise, by anyone:
 *           the word is let go, and then those who wait are released. So whoever has seen it done
 *           may free it.
 * Waiting   a waiter may be on the lists of many futures. It goes there in its after-hook, on its
 *           home worker, and so does not run before it is on all of them; and it takes itself off
 *           all but the one that has claimed it.
 * Memory    the caller's of all this: who drops the last reference ends the fiber, then frees. */
#ifndef COIR_SYNC_FUTURE_H
#define COIR_SYNC_FUTURE_H

#include "waitq.h"

enum {
    COIR__FUTURE_DONE = 2,
    COIR__FUTURE_CANCELLED = 4, /* a promise that nobody can set any more */
};

struct coir__future {
    _Atomic uint64_t word;
    struct coir__wait_entry *waiters;
    void *_Atomic value; /* done without error: it; NULL once it was taken */
    void *fiber;         /* an async's handle; NULL: a promise. Constant once it is shared */
    int32_t error;       /* done: 0, or an errno */
    _Atomic uint32_t refs;
    _Atomic bool was_shared; /* there were two references once */
    _Atomic bool handed_out; /* somebody has got the value */
    bool detached;           /* the fiber: nobody can join it */
};

static inline bool coir__future_is_done(struct coir__future *f)
{
    return atomic_load_explicit(&f->word, memory_order_acquire) & COIR__FUTURE_DONE;
}

/* It is done: 0 and the value (value may be NULL), or -errno. */
static inline int coir__future_result(struct coir__future *f, void **value)
{
    if (f->error)
        return -f->error;
    if (value) {
        atomic_store_explicit(&f->handed_out, true, memory_order_relaxed);
        *value = atomic_load_explicit(&f->value, memory_order_acquire);
    }
    return 0;
}

/* Wait until it is done: 0, -ETIMEDOUT, -ECANCELED, or -EDEADLK (it is the calling fiber's). */
COIR_HIDDEN int coir__future_wait_slowly(struct coir__future *f, int64_t deadline_ns);

/* The calling fiber is the one of the async, and has ended but for this. error 0: well. */
COIR_HIDDEN void coir__future_end(struct coir__future *f, void *value, int error);

/* Decide a promise; error 0: by value. 0; -EALREADY; -ECANCELED: cancelled, or the reference of the
 * caller is the last of several. */
COIR_HIDDEN int coir__future_decide(struct coir__future *f, void *value, int error);

/* Let it fail with ECANCELED, unless it is done. */
COIR_HIDDEN void coir__future_revoke(struct coir__future *f);

/* The first of n futures that is done, or, when that is not -1, -errno. */
COIR_HIDDEN long coir__future_find_done(struct coir__future *const *futures, size_t n);

/* The same, waiting for it with n entries: an index, -ETIMEDOUT or -ECANCELED. */
COIR_HIDDEN long coir__future_wait_any(struct coir__future *const *futures, size_t n,
                                       struct coir__wait_entry *entries, int64_t deadline_ns);

/* Whose end is waited for: NULL for a promise. */
static inline struct coir__fiber *coir__future_fiber(const struct coir__future *f)
{
    return coir__fiber_of(f->fiber);
}

static inline void coir__future_ref(struct coir__future *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&f->was_shared, true, memory_order_relaxed);
}

/* True: it was the last. */
static inline bool coir__future_unref(struct coir__future *f)
{
    return atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1;
}

#endif
