/* sync/chan.h - elements handed from fiber to fiber, with or without room in between: coir_chan.
 * SPDX-License-Identifier: MIT
 *
 * Lock      a biased one: most channels are used on the worker that made them.
 * Ring      elements that nobody has received yet. Those who wait to send wait because it is full,
 *           those who wait to receive because it is empty (with no capacity it is both).
 * Hand-off  a receiver that waits gets its element from the sender, directly. When a receiver makes
 *           room, the oldest waiting sender's element moves into it: nobody overtakes.
 * Copying to or from a waiter that has been claimed comes after the unlock: it stays where it is
 * until its release, and the channel need not. */
#ifndef COIR_SYNC_CHAN_H
#define COIR_SYNC_CHAN_H

#include "sched/bias.h"
#include "waitq.h"

#include <string.h>

/* One who waits; in struct coir__case, the same fields. */
struct coir__chan_entry {
    struct coir__wait_entry entry; /* first */
    void *elem;                    /* a sender's element; a receiver's place for it */
    uint32_t order;                /* select's */
    bool closed;                   /* it was claimed because the channel was closed */
    bool alone;                    /* it is a struct coir__chan_wait's, of a fiber */
};

/* One caller's wait. */
struct coir__chan_wait {
    struct coir__waiter waiter;
    struct coir__chan_entry entry;
    struct coir__wait_entry **list;
};

struct coir__chan {
    struct coir__bias bias;
    struct coir__slot *quick; /* bias.home, for elements that are copied without a call; or NULL */
    size_t elem_bytes;
    _Atomic size_t len;       /* in the ring; written under the lock */
    size_t limit;             /* of len: the capacity; 0 once closed */
    size_t read_at, write_at; /* of the oldest, of the next: in bytes from the ring's beginning */
    size_t ring_bytes;
    struct coir__wait_entry *senders, *receivers;
    size_t writers; /* so many closes are still to come */
    bool closed;
    void (*drop)(void *elem);
    _Alignas(16) char ring[];
};

static inline size_t coir__chan_len(const struct coir__chan *c)
{
    return atomic_load_explicit(&c->len, memory_order_relaxed);
}

/* c's memory is all 0, and has room for ring_bytes in its ring. */
COIR_HIDDEN void coir__chan_init(struct coir__chan *c, size_t elem_bytes, size_t capacity);

/* The n-th close from now on closes. */
COIR_HIDDEN int coir__chan_writers(struct coir__chan *c, size_t n);
COIR_HIDDEN void coir__chan_close(struct coir__chan *c);

/* Give the elements that are left to drop. The last call. */
COIR_HIDDEN void coir__chan_clear(struct coir__chan *c);

/* Numbers, pointers and pairs of them: of 1, 2, 4, 8 or 16 bytes. */
static inline __attribute__((always_inline)) void coir__chan_copy_small(void *to, const void *from,
                                                                        size_t bytes)
{
    if (__builtin_expect(bytes == 8, 1))
        memcpy(to, from, 8);
    else if (bytes == 4)
        memcpy(to, from, 4);
    else if (bytes == 16)
        memcpy(to, from, 16);
    else if (bytes == 1)
        memcpy(to, from, 1);
    else
        memcpy(to, from, 2);
}

static inline void coir__chan_copy(void *to, const void *from, size_t bytes)
{
    if (bytes)
        memcpy(to, from, bytes);
}

static inline size_t coir__chan_advance(const struct coir__chan *c, size_t at)
{
    at += c->elem_bytes;
    return at == c->ring_bytes ? 0 : at;
}

/* Under the lock, and there is room, or one. */
static inline __attribute__((always_inline)) void coir__chan_put(struct coir__chan *c,
                                                                 const void *elem, bool small)
{
    char *at = c->ring + c->write_at;
    if (small)
        coir__chan_copy_small(at, elem, c->elem_bytes);
    else
        coir__chan_copy(at, elem, c->elem_bytes);
    c->write_at = coir__chan_advance(c, c->write_at);
    atomic_store_explicit(&c->len, coir__chan_len(c) + 1, memory_order_relaxed);
}

static inline __attribute__((always_inline)) void coir__chan_take(struct coir__chan *c, void *elem,
                                                                  bool small)
{
    const char *at = c->ring + c->read_at;
    if (small)
        coir__chan_copy_small(elem, at, c->elem_bytes);
    else
        coir__chan_copy(elem, at, c->elem_bytes);
    c->read_at = coir__chan_advance(c, c->read_at);
    atomic_store_explicit(&c->len, coir__chan_len(c) - 1, memory_order_relaxed);
}

/* Would it have to wait? c is locked. */
static inline bool coir__chan_send_waits(const struct coir__chan *c)
{
    return !c->receivers && coir__chan_len(c) == c->limit && !c->closed;
}

static inline bool coir__chan_recv_waits(const struct coir__chan *c)
{
    return !c->senders && !coir__chan_len(c) && !c->closed;
}

/* The oldest that still waits, taken off and claimed; NULL. */
static inline struct coir__chan_entry *coir__chan_claim(struct coir__wait_entry **list)
{
    struct coir__wait_entry *e = coir__wait_list_claim(list);
    if (e)
        e->claimed = true;
    return (struct coir__chan_entry *)e;
}

/* c is locked. What the call would do without waiting: 0 or -EPIPE, and then c is unlocked. Or
 * -EAGAIN, and it is still locked. */
COIR_HIDDEN int coir__chan_send_locked(struct coir__chan *c, const void *elem);
COIR_HIDDEN int coir__chan_recv_locked(struct coir__chan *c, void *elem);

/* The usual case: a fiber that is not cancelled and has no deadline, at c's home, with elements
 * that are copied without a call. The worker, and c is locked; else NULL. */
static inline __attribute__((always_inline)) struct coir__worker *
coir__chan_enter(struct coir__chan *c)
{
    struct coir__worker *w = coir__worker_self();
    if (__builtin_expect(!w || w->slot != c->quick, 0))
        return NULL;
    struct coir__fiber *f = w->current;
    uint8_t cancelled = atomic_load_explicit(&f->cancelled, memory_order_relaxed);
    if (__builtin_expect(cancelled || f->deadline_ns != COIR__NEVER, 0))
        return NULL;
    return coir__bias_enter(w, &c->bias) ? w : NULL;
}

/* Take the oldest off a list and claim it, when it is an ordinary fiber of this worker, w, that
 * still waits. Its entry tells where its waiter is, which is faster than a look there: what is read
 * here is on the way to the next switch. */
static inline __attribute__((always_inline)) struct coir__chan_wait *
coir__chan_claim_here(struct coir__worker *w, struct coir__wait_entry **list)
{
    struct coir__wait_entry *e = *list, *next = e->next;
    struct coir__chan_wait *wait =
        (struct coir__chan_wait *)((char *)e - offsetof(struct coir__chan_wait, entry));
    if (__builtin_expect(!wait->entry.alone || coir__fiber_home(wait->waiter.fiber) != w, 0) ||
        atomic_load_explicit(&wait->waiter.word, memory_order_relaxed) != COIR__WAITING)
        return NULL;
    atomic_store_explicit(&wait->waiter.word, 0, memory_order_relaxed);
    if (next == e) {
        *list = NULL;
    } else {
        next->prev = e->prev;
        e->prev->next = next;
        *list = next;
    }
    return wait;
}

/* Send after coir__chan_enter, in the usual cases: true, and c is unlocked. Without a call, so that
 * it needs no frame. */
static inline __attribute__((always_inline)) bool
coir__chan_send_here(struct coir__worker *w, struct coir__chan *c, const void *elem)
{
    size_t bytes = c->elem_bytes;
    if (c->receivers) {
        struct coir__chan_wait *r = coir__chan_claim_here(w, &c->receivers);
        if (__builtin_expect(!r, 0))
            return false;
        coir__bias_leave(w);
        coir__chan_copy_small(r->entry.elem, elem, bytes);
        coir__wake_here(w, r->waiter.fiber);
        return true;
    }
    if (coir__chan_len(c) >= c->limit)
        return false;
    coir__chan_put(c, elem, true);
    coir__bias_leave(w);
    return true;
}

static inline __attribute__((always_inline)) bool
coir__chan_recv_here(struct coir__worker *w, struct coir__chan *c, void *elem)
{
    size_t bytes = c->elem_bytes;
    struct coir__chan_wait *s = NULL;
    if (c->senders) {
        s = coir__chan_claim_here(w, &c->senders);
        if (__builtin_expect(!s, 0))
            return false;
    }
    if (coir__chan_len(c)) {
        coir__chan_take(c, elem, true);
        if (s)
            coir__chan_put(c, s->entry.elem, true);
        coir__bias_leave(w);
    } else if (s) {
        coir__bias_leave(w);
        coir__chan_copy_small(elem, s->entry.elem, bytes);
    } else {
        return false;
    }
    if (s)
        coir__wake_here(w, s->waiter.fiber);
    return true;
}

static inline __attribute__((always_inline)) void
coir__chan_wait_begin(struct coir__chan_wait *w, struct coir__chan *c, struct coir__fiber *f,
                      struct coir__wait_entry **list, void *elem)
{
    coir__waiter_init_fiber(&w->waiter, f);
    w->waiter.on = c;
    w->entry.entry.waiter = &w->waiter;
    w->entry.elem = elem;
    w->entry.closed = false;
    w->entry.alone = f;
    w->list = list;
    coir__wait_list_push(list, &w->entry.entry);
}

/* A wait that is over, but got nothing: -errno. */
COIR_HIDDEN int coir__chan_wait_failed(struct coir__chan_wait *w);

/* Wait in one of c's lists; c is locked. 0, or -errno. */
COIR_HIDDEN int coir__chan_wait(struct coir__chan *c, struct coir__wait_entry **list, void *elem,
                                enum coir__why why);

/* The same after coir__chan_enter. c is let go before the park: only w wakes this fiber, once it
 * has left it (others send it mail); one that could move would need the after-hook. One function
 * for both directions: returns from park() that begin alike are predicted. */
static inline __attribute__((always_inline)) int
coir__chan_wait_here(struct coir__worker *w, struct coir__chan *c, struct coir__wait_entry **list,
                     void *elem, enum coir__why why)
{
    struct coir__chan_wait me;
    coir__chan_wait_begin(&me, c, w->current, list, elem);
    coir__bias_leave(w);
    coir__waiter_park(&me.waiter, w, why, NULL, NULL);
    int outcome = atomic_load_explicit(&me.waiter.word, memory_order_acquire);
    if (__builtin_expect(!outcome && !me.entry.closed, 1))
        return 0;
    return coir__chan_wait_failed(&me);
}

#endif
