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
    uint32_t closed;               /* it was claimed because the channel was closed */
};

struct coir__chan {
    struct coir__bias bias;
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

/* The usual sizes without a call. */
static inline __attribute__((always_inline)) void coir__chan_copy(void *to, const void *from,
                                                                  size_t bytes)
{
    switch (bytes) {
    case 8:
        memcpy(to, from, 8);
        break;
    case 4:
        memcpy(to, from, 4);
        break;
    case 16:
        memcpy(to, from, 16);
        break;
    case 1:
        memcpy(to, from, 1);
        break;
    case 2:
        memcpy(to, from, 2);
        break;
    case 0:
        break;
    default:
        memcpy(to, from, bytes);
    }
}

static inline size_t coir__chan_advance(const struct coir__chan *c, size_t at)
{
    at += c->elem_bytes;
    return at == c->ring_bytes ? 0 : at;
}

/* Under the lock, and there is room, or one. */
static inline void coir__chan_put(struct coir__chan *c, const void *elem)
{
    coir__chan_copy(c->ring + c->write_at, elem, c->elem_bytes);
    c->write_at = coir__chan_advance(c, c->write_at);
    atomic_store_explicit(&c->len, coir__chan_len(c) + 1, memory_order_relaxed);
}

static inline void coir__chan_take(struct coir__chan *c, void *elem)
{
    coir__chan_copy(elem, c->ring + c->read_at, c->elem_bytes);
    c->read_at = coir__chan_advance(c, c->read_at);
    atomic_store_explicit(&c->len, coir__chan_len(c) - 1, memory_order_relaxed);
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
static inline __attribute__((always_inline)) int coir__chan_send_locked(struct coir__chan *c,
                                                                        const void *elem)
{
    struct coir__chan_entry *e;
    if (c->receivers && (e = coir__chan_claim(&c->receivers))) {
        size_t bytes = c->elem_bytes;
        coir__bias_unlock(&c->bias);
        coir__chan_copy(e->elem, elem, bytes);
        coir__waiter_release(e->entry.waiter);
        return 0;
    }
    if (coir__chan_len(c) < c->limit) {
        coir__chan_put(c, elem);
        coir__bias_unlock(&c->bias);
        return 0;
    }
    if (c->closed) {
        coir__bias_unlock(&c->bias);
        return -EPIPE;
    }
    return -EAGAIN;
}

static inline __attribute__((always_inline)) int coir__chan_recv_locked(struct coir__chan *c,
                                                                        void *elem)
{
    struct coir__chan_entry *e = c->senders ? coir__chan_claim(&c->senders) : NULL;
    if (coir__chan_len(c)) {
        coir__chan_take(c, elem);
        if (e)
            coir__chan_put(c, e->elem);
        coir__bias_unlock(&c->bias);
    } else if (e) {
        size_t bytes = c->elem_bytes;
        coir__bias_unlock(&c->bias);
        coir__chan_copy(elem, e->elem, bytes);
    } else if (c->closed) {
        coir__bias_unlock(&c->bias);
        return -EPIPE;
    } else {
        return -EAGAIN;
    }
    if (e)
        coir__waiter_release(e->entry.waiter);
    return 0;
}

static inline void coir__chan_unlock(void *c)
{
    coir__bias_unlock(&((struct coir__chan *)c)->bias);
}

/* Wait in one of c's lists; c is locked. One function for both directions: returns from park() that
 * begin alike are predicted. 0, or -errno. */
static inline __attribute__((always_inline)) int coir__chan_wait(struct coir__chan *c,
                                                                 struct coir__wait_entry **list,
                                                                 void *elem, enum coir__why why)
{
    struct coir__waiter me;
    struct coir__chan_entry entry;
    coir__waiter_init(&me);
    me.on = c;
    entry.entry.waiter = &me;
    entry.entry.claimed = false;
    entry.elem = elem;
    entry.closed = false;
    coir__wait_list_push(list, &entry.entry);
    int err = coir__waiter_wait(&me, why, coir__fiber_deadline(me.fiber), coir__chan_unlock, c);
    if (__builtin_expect(!err, 1))
        return entry.closed ? -EPIPE : 0;
    coir__bias_lock(&c->bias);
    coir__wait_list_remove(list, &entry.entry);
    coir__bias_unlock(&c->bias);
    return -err;
}

#endif
