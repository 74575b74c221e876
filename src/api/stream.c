/* api/stream.c - coir/stream.h: what all streams have in common.
 * SPDX-License-Identifier: MIT */
#include "stream.h"

#include <stdlib.h>

/* A row of any length: only second sources, which few have, are freed by a call. */
static void free_tree(coir_stream *s)
{
    while (s) {
        if (s->kind->end)
            s->kind->end(s);
        free_tree(s->b);
        coir_stream *source = s->a;
        free(s);
        s = source;
    }
}

void coir_stream_free(coir_stream *stream)
{
    KEEPING_ERRNO(free_tree(stream));
}

coir_stream *coir__stream_refuse(coir_stream *a, coir_stream *b, int err)
{
    coir_stream_free(a);
    if (b != a)
        coir_stream_free(b);
    coir__edge(-err);
    return NULL;
}

static void take_over(coir_stream *source)
{
    if (source)
        atomic_store_explicit(&source->busy, true, memory_order_relaxed);
}

static void *make(const struct coir__stream_kind *kind, size_t extra, size_t elem_bytes,
                  coir_stream *a, coir_stream *b)
{
    size_t bytes;
    coir_stream *s = NULL;
    if (!__builtin_add_overflow(kind->bytes, extra, &bytes))
        s = calloc(1, bytes);
    if (!s)
        return coir__stream_refuse(a, b, ENOMEM);
    s->kind = kind;
    s->elem_bytes = elem_bytes;
    s->a = a;
    s->b = b;
    take_over(a);
    take_over(b);
    return s;
}

void *coir__stream_make(const struct coir__stream_kind *kind, size_t extra, size_t elem_bytes,
                        coir_stream *a)
{
    return make(kind, extra, elem_bytes, a, NULL);
}

void *coir__stream_make_of_two(const struct coir__stream_kind *kind, size_t extra,
                               size_t elem_bytes, coir_stream *a, coir_stream *b)
{
    return make(kind, extra, elem_bytes, a, b);
}

void coir_stream_on_drop(coir_stream *stream, void (*drop)(void *elem))
{
    if (!stream)
        return;
    stream->drop = drop;
    coir_stream *sources[] = { stream->a, stream->b };
    for (int i = 0; i < 2 && stream->kind->passes; i++)
        if (sources[i] && !sources[i]->drop)
            coir_stream_on_drop(sources[i], drop);
}

void coir__stream_discard(coir_stream *s, void *elem)
{
    if (s->drop)
        s->drop(elem);
    else if (s->kind->discard)
        s->kind->discard(s, elem);
    else if (s->kind->passes)
        coir__stream_discard(s->a, elem);
}

void coir__stream_lend(coir_stream *s)
{
    if (s->kind->lend)
        s->kind->lend(s);
    else if (s->kind->passes)
        coir__stream_lend(s->a);
}

int coir__stream_pull_until(coir_stream *s, coir_stream *source, void *elem, coir_stream **lender,
                            int64_t until_ns, bool *late)
{
    int64_t before_ns = coir_deadline_narrow(until_ns);
    int got = coir__stream_pull_on(s, source, elem, lender);
    coir_deadline_set(before_ns);
    *late = got == -ETIMEDOUT && !source->over && until_ns < before_ns && until_ns <= coir_now();
    return got;
}

int coir__stream_callback_failed(coir_stream *s)
{
    int err = coir__failure();
    return coir__stream_is_own(-err) ? -err : coir__stream_over(s, err);
}

int coir__stream_receive(struct coir__chan *c, void *elem)
{
    coir__bias_lock(&c->bias);
    int err = coir__chan_recv_locked(c, elem);
    if (err != -EAGAIN)
        return err;
    err = coir__check();
    if (err == 0)
        return coir__chan_wait(c, &c->receivers, elem, COIR__WHY_RECV);
    coir__bias_unlock(&c->bias);
    return err;
}

int coir_stream_next(coir_stream *stream, void *elem)
{
    if (!stream || (!elem && stream->elem_bytes))
        return (int)coir__edge(-EINVAL);
    int got = coir__check();
    if (got < 0)
        return (int)coir__edge(got);
    if (atomic_exchange_explicit(&stream->busy, true, memory_order_acquire))
        return (int)coir__edge(-EBUSY);
    got = coir__stream_pull(stream, elem, NULL);
    atomic_store_explicit(&stream->busy, false, memory_order_release);
    return (int)coir__edge(got);
}
