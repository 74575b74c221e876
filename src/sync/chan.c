/* sync/chan.c - what channels do seldom, and their cases of a select.
 * SPDX-License-Identifier: MIT */
#include "chan.h"

#include "select.h"

static bool is_small(size_t bytes)
{
    return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16;
}

void coir__chan_init(struct coir__chan *c, size_t elem_bytes, size_t capacity)
{
    coir__bias_init(&c->bias);
    c->quick = is_small(elem_bytes) ? c->bias.home : NULL;
    c->elem_bytes = elem_bytes;
    c->limit = capacity;
    c->ring_bytes = elem_bytes * capacity;
    c->writers = 1;
}

int coir__chan_writers(struct coir__chan *c, size_t n)
{
    if (n == 0)
        return -EINVAL;
    coir__bias_lock(&c->bias);
    int err = c->closed ? -EPIPE : 0;
    if (!err)
        c->writers = n;
    coir__bias_unlock(&c->bias);
    return err;
}

int coir__chan_send_locked(struct coir__chan *c, const void *elem)
{
    struct coir__chan_entry *e = c->receivers ? coir__chan_claim(&c->receivers) : NULL;
    if (e) {
        size_t bytes = c->elem_bytes;
        coir__bias_unlock(&c->bias);
        coir__chan_copy(e->elem, elem, bytes);
        coir__waiter_release(e->entry.waiter);
        return 0;
    }
    if (coir__chan_len(c) < c->limit) {
        coir__chan_put(c, elem, false);
        coir__bias_unlock(&c->bias);
        return 0;
    }
    if (!c->closed)
        return -EAGAIN;
    coir__bias_unlock(&c->bias);
    return -EPIPE;
}

int coir__chan_recv_locked(struct coir__chan *c, void *elem)
{
    struct coir__chan_entry *e = c->senders ? coir__chan_claim(&c->senders) : NULL;
    if (coir__chan_len(c)) {
        coir__chan_take(c, elem, false);
        if (e)
            coir__chan_put(c, e->elem, false);
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

int coir__chan_wait_failed(struct coir__chan_wait *w)
{
    struct coir__chan *c = (struct coir__chan *)w->waiter.on;
    int outcome = atomic_load_explicit(&w->waiter.word, memory_order_relaxed);
    if (!outcome)
        return -EPIPE;
    coir__bias_lock(&c->bias);
    coir__wait_list_remove(w->list, &w->entry.entry);
    coir__bias_unlock(&c->bias);
    return -outcome;
}

static void unlock(void *c)
{
    coir__bias_unlock(&((struct coir__chan *)c)->bias);
}

int coir__chan_wait(struct coir__chan *c, struct coir__wait_entry **list, void *elem,
                    enum coir__why why)
{
    struct coir__chan_wait me;
    struct coir__fiber *f = coir__fiber_self();
    coir__chan_wait_begin(&me, c, f, list, elem);
    int outcome = coir__waiter_wait(&me.waiter, why, coir__fiber_deadline(f), unlock, c);
    return outcome || me.entry.closed ? coir__chan_wait_failed(&me) : 0;
}

/* Claim all who wait in list; they learn that it is closed. */
static void claim_all(struct coir__wait_chain *chain, struct coir__wait_entry **list)
{
    struct coir__chan_entry *e;
    while ((e = coir__chan_claim(list))) {
        e->closed = true;
        coir__wait_chain_add(chain, &e->entry);
    }
}

void coir__chan_close(struct coir__chan *c)
{
    struct coir__wait_chain chain = { NULL, NULL };
    coir__bias_lock(&c->bias);
    if (!c->closed && --c->writers == 0) {
        c->closed = true;
        c->limit = 0;
        claim_all(&chain, &c->receivers);
        claim_all(&chain, &c->senders);
    }
    coir__bias_unlock(&c->bias);
    coir__wait_release_all(chain);
}

void coir__chan_clear(struct coir__chan *c)
{
    COIR__MISUSE_IF(c->senders || c->receivers, "coir_chan_free: somebody waits");
    for (size_t left = coir__chan_len(c); left && c->drop; left--) {
        c->drop(c->ring + c->read_at);
        c->read_at = coir__chan_advance(c, c->read_at);
    }
}

/* A case is an entry: the same fields in the same places. */
#define AT(field) (offsetof(struct coir__case, field) - offsetof(struct coir__case, entry))
_Static_assert(AT(own) == offsetof(struct coir__chan_entry, elem) &&
                   AT(order) == offsetof(struct coir__chan_entry, order) &&
                   AT(reserved1) == offsetof(struct coir__chan_entry, closed),
               "a case is an entry");

static struct coir__chan_entry *entry_of(struct coir__case *c)
{
    return (struct coir__chan_entry *)&c->entry;
}

static int happened(struct coir__case *c, int err)
{
    c->result = err ? -1 : 0;
    c->error = -err;
    return 1;
}

static int look(struct coir__case *c, bool sends)
{
    struct coir__chan *chan = c->on;
    if (!chan)
        return 0;
    if (chan->elem_bytes && !(sends ? c->src : c->dst))
        return happened(c, -EINVAL);
    coir__bias_lock(&chan->bias);
    int err = sends ? coir__chan_send_locked(chan, c->src) : coir__chan_recv_locked(chan, c->dst);
    if (err != -EAGAIN)
        return happened(c, err);
    coir__bias_unlock(&chan->bias);
    return 0;
}

/* A select that sends and receives on the same channel does not meet itself. */
static bool somebody_else(struct coir__wait_entry *list, const struct coir__waiter *me)
{
    struct coir__wait_entry *e = list;
    while (e && e->waiter == me)
        e = e->next == list ? NULL : e->next;
    return e;
}

static int enter(struct coir__case *c, struct coir__waiter *waiter, bool sends)
{
    struct coir__chan *chan = c->on;
    struct coir__chan_entry *e = entry_of(c);
    if (!chan)
        return 0;
    e->elem = sends ? (void *)c->src : c->dst;
    e->closed = e->alone = false;
    coir__bias_lock(&chan->bias);
    bool room = coir__chan_len(chan) < chan->limit;
    bool ready = chan->closed || (sends ? room : coir__chan_len(chan) > 0) ||
                 somebody_else(sends ? chan->receivers : chan->senders, waiter);
    if (!ready)
        coir__wait_list_push(sends ? &chan->senders : &chan->receivers, &e->entry);
    coir__bias_unlock(&chan->bias);
    return ready;
}

/* Whoever has made it happen may have been the last to use the channel. */
static void leave(struct coir__case *c, bool sends)
{
    struct coir__chan *chan = c->on;
    struct coir__chan_entry *e = entry_of(c);
    if (c->entry.claimed) {
        happened(c, e->closed ? -EPIPE : 0);
    } else if (chan) {
        coir__bias_lock(&chan->bias);
        coir__wait_list_remove(sends ? &chan->senders : &chan->receivers, &e->entry);
        coir__bias_unlock(&chan->bias);
    }
}

static int send_look(struct coir__case *c)
{
    return look(c, true);
}

static int send_enter(struct coir__case *c, struct coir__waiter *waiter)
{
    return enter(c, waiter, true);
}

static void send_leave(struct coir__case *c, struct coir__waiter *waiter)
{
    (void)waiter;
    leave(c, true);
}

static int recv_look(struct coir__case *c)
{
    return look(c, false);
}

static int recv_enter(struct coir__case *c, struct coir__waiter *waiter)
{
    return enter(c, waiter, false);
}

static void recv_leave(struct coir__case *c, struct coir__waiter *waiter)
{
    (void)waiter;
    leave(c, false);
}

const struct coir__select_kind coir__select_send = { send_look, send_enter, send_leave };
const struct coir__select_kind coir__select_recv = { recv_look, recv_enter, recv_leave };
