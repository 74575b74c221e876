/* api/stream_gen.c - streams of what a function emits, in a fiber of its own.
 * SPDX-License-Identifier: MIT
 *
 * The fiber sends into a channel; its return closes that. It is detached: who frees the stream ends
 * it, and waits for that; and a stream that was forgotten does not hold up the end of coir_run. */
#include "stream_fiber.h"

struct gen {
    coir_stream s;
    struct coir__stream_fiber fiber;
    coir_chan *chan;
    int (*fn)(coir_stream *, void *);
    void *arg;
    int32_t error; /* the channel is closed: what fn has ended with */
};

static struct gen *gen_of(coir_stream *s)
{
    return (struct gen *)s;
}

static struct coir__chan *chan_of(struct gen *g)
{
    return (struct coir__chan *)g->chan;
}

static void run(void *arg)
{
    struct gen *g = arg;
    g->error = g->fn(&g->s, g->arg) < 0 ? coir__failure() : 0;
}

static void ended(void *arg)
{
    struct gen *g = arg;
    coir_chan_close(g->chan);
}

static int pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct gen *g = gen_of(s);
    (void)lender;
    int err = coir__stream_fiber_start(&g->fiber);
    if (err < 0)
        return err;
    err = coir__stream_receive(chan_of(g), elem);
    if (__builtin_expect(err == 0, 1))
        return 1;
    return err == -EPIPE ? coir__stream_over(s, g->error) : err;
}

/* fn owns arg, so it has to run in any case. Where no fiber can be had it runs here, with a
 * deadline that has passed. */
static void end(coir_stream *s)
{
    struct gen *g = gen_of(s);
    coir_chan_close(g->chan);
    if (coir__stream_fiber_start(&g->fiber) == 0) {
        coir__stream_fiber_end(&g->fiber);
    } else {
        int64_t before_ns = coir_deadline_set(0);
        g->fn(s, g->arg);
        coir_deadline_set(before_ns);
    }
    coir_chan_on_drop(g->chan, s->drop);
    coir_chan_free(g->chan);
}

static const struct coir__stream_kind kind = { sizeof(struct gen), .pull = pull, .end = end };

coir_stream *coir_stream_new_with(const coir_attr *attr, size_t elem_bytes, size_t buffer,
                                  int (*gen)(coir_stream *, void *), void *arg)
{
    if (!gen)
        return coir__stream_refuse(NULL, NULL, EINVAL);
    struct gen *g = coir__stream_make(&kind, 0, elem_bytes, NULL);
    if (!g)
        return NULL;
    g->fn = gen;
    g->arg = arg;
    int err = coir__stream_fiber_init(&g->fiber, attr, run, ended, g);
    g->chan = err < 0 ? NULL : coir_chan_new(elem_bytes, buffer);
    if (!g->chan) {
        err = err < 0 ? -err : ENOMEM;
        free(g);
        return coir__stream_refuse(NULL, NULL, err);
    }
    return &g->s;
}

coir_stream *coir_stream_new(size_t elem_bytes, int (*gen)(coir_stream *, void *), void *arg)
{
    return coir_stream_new_with(NULL, elem_bytes, 1, gen, arg);
}

static int emit(struct coir__chan *c, const void *elem)
{
    int err = coir__check();
    if (err < 0)
        return err;
    coir__bias_lock(&c->bias);
    err = coir__chan_send_locked(c, elem);
    if (err == -EAGAIN)
        err = coir__chan_wait(c, &c->senders, (void *)elem, COIR__WHY_SEND);
    return err == -EPIPE ? -ECANCELED : err;
}

int coir_stream_emit(coir_stream *stream, const void *elem)
{
    if (!stream || stream->kind != &kind || (!elem && stream->elem_bytes))
        return (int)coir__edge(-EINVAL);
    return (int)coir__edge(emit(chan_of(gen_of(stream)), elem));
}
