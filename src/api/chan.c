/* api/chan.c - coir/chan.h.
 * SPDX-License-Identifier: MIT
 *
 * send and recv, when they need not wait, run without a call to anything and without a frame. All
 * else is in functions that they end with. */
#include "edge.h"

#include "sync/chan.h"

#include <stdlib.h>

static struct coir__chan *chan_of(const coir_chan *chan)
{
    return (struct coir__chan *)chan;
}

coir_chan *coir_chan_new(size_t elem_bytes, size_t capacity)
{
    size_t bytes;
    void *c;
    if (__builtin_mul_overflow(elem_bytes, capacity, &bytes) ||
        __builtin_add_overflow(sizeof(struct coir__chan), bytes, &bytes) ||
        posix_memalign(&c, COIR__CACHE_LINE, bytes) != 0) {
        coir__edge(-ENOMEM);
        return NULL;
    }
    memset(c, 0, sizeof(struct coir__chan));
    coir__chan_init(c, elem_bytes, capacity);
    return c;
}

void coir_chan_free(coir_chan *chan)
{
    if (!chan)
        return;
    coir__chan_clear(chan_of(chan));
    free(chan);
}

void coir_chan_on_drop(coir_chan *chan, void (*drop)(void *elem))
{
    chan_of(chan)->drop = drop;
}

int coir_chan_writers(coir_chan *chan, size_t n)
{
    return (int)coir__edge(coir__chan_writers(chan_of(chan), n));
}

int coir_chan_close(coir_chan *chan)
{
    coir__chan_close(chan_of(chan));
    return 0;
}

size_t coir_chan_len(const coir_chan *chan)
{
    return coir__chan_len(chan_of(chan));
}

/* The public functions end with this one, so it returns to their caller. The CPU predicts that it
 * is the caller of the fiber that was left, which is right when both run the same code, and else a
 * third of the time that a message takes: then a jump is better (docs/adr/0018). */
static __attribute__((noinline)) int wait_here(struct coir__worker *w, struct coir__chan *c,
                                               struct coir__wait_entry **list, void *elem,
                                               enum coir__why why)
{
    const void *to = __builtin_return_address(0);
    w->left_for = to;
    int result = (int)coir__edge(coir__chan_wait_here(w, c, list, elem, why));
    if (coir__worker_self()->left_for == to)
        return result;
    return coir__arch_return(result);
}

static __attribute__((noinline)) int wait_for(struct coir__chan *c, struct coir__wait_entry **list,
                                              void *elem, enum coir__why why)
{
    return (int)coir__edge(coir__chan_wait(c, list, elem, why));
}

static __attribute__((noinline)) int send_locked(struct coir__chan *c, const void *elem)
{
    int err = coir__chan_send_locked(c, elem);
    if (err == -EAGAIN)
        return wait_for(c, &c->senders, (void *)elem, COIR__WHY_SEND);
    return (int)coir__edge(err);
}

static __attribute__((noinline)) int recv_locked(struct coir__chan *c, void *elem)
{
    int err = coir__chan_recv_locked(c, elem);
    if (err == -EAGAIN)
        return wait_for(c, &c->receivers, elem, COIR__WHY_RECV);
    return (int)coir__edge(err);
}

/* May the caller wait, and for that? */
static int check(const struct coir__chan *c, const void *elem)
{
    return elem || !c->elem_bytes ? coir__fiber_check(coir__fiber_self()) : -EINVAL;
}

static __attribute__((noinline)) int send_slowly(struct coir__chan *c, const void *elem)
{
    int err = check(c, elem);
    if (err < 0)
        return (int)coir__edge(err);
    coir__bias_lock(&c->bias);
    return send_locked(c, elem);
}

static __attribute__((noinline)) int recv_slowly(struct coir__chan *c, void *elem)
{
    int err = check(c, elem);
    if (err < 0)
        return (int)coir__edge(err);
    coir__bias_lock(&c->bias);
    return recv_locked(c, elem);
}

int coir_chan_send(coir_chan *chan, const void *elem)
{
    struct coir__chan *c = chan_of(chan);
    struct coir__worker *w = elem ? coir__chan_enter(c) : NULL;
    if (__builtin_expect(!w, 0))
        return send_slowly(c, elem);
    if (__builtin_expect(coir__chan_send_here(w, c, elem), 1))
        return 0;
    if (coir__chan_send_waits(c))
        return wait_here(w, c, &c->senders, (void *)elem, COIR__WHY_SEND);
    return send_locked(c, elem);
}

int coir_chan_recv(coir_chan *chan, void *elem)
{
    struct coir__chan *c = chan_of(chan);
    struct coir__worker *w = elem ? coir__chan_enter(c) : NULL;
    if (__builtin_expect(!w, 0))
        return recv_slowly(c, elem);
    if (__builtin_expect(coir__chan_recv_here(w, c, elem), 1))
        return 0;
    if (coir__chan_recv_waits(c))
        return wait_here(w, c, &c->receivers, elem, COIR__WHY_RECV);
    return recv_locked(c, elem);
}

int coir_chan_trysend(coir_chan *chan, const void *elem)
{
    struct coir__chan *c = chan_of(chan);
    if (!elem && c->elem_bytes)
        return (int)coir__edge(-EINVAL);
    coir__bias_lock(&c->bias);
    int err = coir__chan_send_locked(c, elem);
    if (err == -EAGAIN)
        coir__bias_unlock(&c->bias);
    return (int)coir__edge(err);
}

int coir_chan_tryrecv(coir_chan *chan, void *elem)
{
    struct coir__chan *c = chan_of(chan);
    if (!elem && c->elem_bytes)
        return (int)coir__edge(-EINVAL);
    coir__bias_lock(&c->bias);
    int err = coir__chan_recv_locked(c, elem);
    if (err == -EAGAIN)
        coir__bias_unlock(&c->bias);
    return (int)coir__edge(err);
}
