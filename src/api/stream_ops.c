/* api/stream_ops.c - map, filter, take and zip: plain functions on the way of a pull.
 * SPDX-License-Identifier: MIT
 *
 * An element for which a callback could not yet do its work is kept until the next pull. */
#include "stream.h"

enum { ALIGNED = 16 };

/* How much room an element takes in front of another one. */
static size_t room_for(size_t elem_bytes)
{
    return elem_bytes + (size_t)(-elem_bytes % ALIGNED);
}

struct map {
    coir_stream s;
    int (*fn)(void *out, void *in, void *arg);
    void *arg;
    bool full;
    _Alignas(ALIGNED) char in[];
};

static int map_pull(coir_stream *s, void *out, coir_stream **lender)
{
    struct map *m = (struct map *)s;
    (void)lender;
    if (!m->full) {
        int got = coir__stream_pull_on(s, s->a, m->in, NULL);
        if (got <= 0)
            return got;
    }
    m->full = m->fn(out, m->in, m->arg) < 0;
    return m->full ? coir__stream_callback_failed(s) : 1;
}

static void map_end(coir_stream *s)
{
    struct map *m = (struct map *)s;
    if (m->full)
        coir__stream_discard(s->a, m->in);
}

static const struct coir__stream_kind map_kind = { sizeof(struct map), .pull = map_pull,
                                                   .end = map_end };

coir_stream *coir_stream_map(coir_stream *source, size_t out_bytes,
                             int (*fn)(void *out, void *in, void *arg), void *arg)
{
    if (!source)
        return NULL;
    if (!fn)
        return coir__stream_refuse(source, NULL, EINVAL);
    struct map *m = coir__stream_make(&map_kind, source->elem_bytes, out_bytes, source);
    if (!m)
        return NULL;
    m->fn = fn;
    m->arg = arg;
    return &m->s;
}

struct filter {
    coir_stream s;
    int (*keep)(const void *elem, void *arg);
    void *arg;
    coir_stream *lender;
    bool full;
    _Alignas(ALIGNED) char in[];
};

static int filter_failed(struct filter *f, const void *elem, coir_stream *lender)
{
    coir__chan_copy(f->in, elem, f->s.elem_bytes);
    f->lender = lender;
    f->full = true;
    return coir__stream_callback_failed(&f->s);
}

/* Rejecting without end must not keep the caller from noticing that it is to stop. */
static int filter_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct filter *f = (struct filter *)s;
    int got;
    do {
        got = 1;
        if (!f->full) {
            got = coir__stream_pull_on(s, s->a, elem, lender);
        } else {
            coir__chan_copy(elem, f->in, s->elem_bytes);
            if (lender)
                *lender = f->lender;
            f->full = false;
        }
        if (got <= 0)
            return got;
        got = f->keep(elem, f->arg);
        if (got > 0)
            return 1;
        if (got < 0)
            return filter_failed(f, elem, lender ? *lender : NULL);
        coir__stream_discard(s, elem);
        coir__stream_give_back(lender ? *lender : NULL, elem);
        got = coir__check();
    } while (got == 0);
    return got;
}

static void filter_end(coir_stream *s)
{
    struct filter *f = (struct filter *)s;
    if (!f->full)
        return;
    coir__stream_discard(s, f->in);
    coir__stream_give_back(f->lender, f->in);
}

static const struct coir__stream_kind filter_kind = { sizeof(struct filter), .passes = true,
                                                      .pull = filter_pull, .end = filter_end };

coir_stream *coir_stream_filter(coir_stream *source, int (*keep)(const void *elem, void *arg),
                                void *arg)
{
    if (!source)
        return NULL;
    if (!keep)
        return coir__stream_refuse(source, NULL, EINVAL);
    size_t bytes = source->elem_bytes;
    struct filter *f = coir__stream_make(&filter_kind, bytes, bytes, source);
    if (!f)
        return NULL;
    f->keep = keep;
    f->arg = arg;
    return &f->s;
}

struct take {
    coir_stream s;
    size_t left;
};

static int take_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct take *t = (struct take *)s;
    if (t->left == 0)
        return coir__stream_over(s, 0);
    int got = coir__stream_pull_on(s, s->a, elem, lender);
    t->left -= got == 1;
    return got;
}

static const struct coir__stream_kind take_kind = { sizeof(struct take), .passes = true,
                                                    .pull = take_pull };

coir_stream *coir_stream_take(coir_stream *source, size_t n)
{
    if (!source)
        return NULL;
    struct take *t = coir__stream_make(&take_kind, 0, source->elem_bytes, source);
    if (!t)
        return NULL;
    t->left = n;
    return &t->s;
}

struct zip {
    coir_stream s;
    int (*fn)(void *out, void *a, void *b, void *arg);
    void *arg;
    bool full[2];
    char *in[2];
    _Alignas(ALIGNED) char room[];
};

static int zip_pull(coir_stream *s, void *out, coir_stream **lender)
{
    struct zip *z = (struct zip *)s;
    coir_stream *sources[] = { s->a, s->b };
    (void)lender;
    for (int i = 0; i < 2; i++) {
        int got = z->full[i] ? 1 : coir__stream_pull_on(s, sources[i], z->in[i], NULL);
        if (got <= 0)
            return got;
        z->full[i] = true;
    }
    if (z->fn(out, z->in[0], z->in[1], z->arg) < 0)
        return coir__stream_callback_failed(s);
    z->full[0] = z->full[1] = false;
    return 1;
}

static void zip_end(coir_stream *s)
{
    struct zip *z = (struct zip *)s;
    if (z->full[0])
        coir__stream_discard(s->a, z->in[0]);
    if (z->full[1])
        coir__stream_discard(s->b, z->in[1]);
}

static const struct coir__stream_kind zip_kind = { sizeof(struct zip), .pull = zip_pull,
                                                   .end = zip_end };

coir_stream *coir_stream_zip(coir_stream *a, coir_stream *b, size_t out_bytes,
                             int (*fn)(void *out, void *a, void *b, void *arg), void *arg)
{
    size_t room;
    if (!a || !b)
        return coir__stream_refuse(a, b, errno);
    if (!fn || a == b)
        return coir__stream_refuse(a, b, EINVAL);
    if (__builtin_add_overflow(room_for(a->elem_bytes), b->elem_bytes, &room))
        return coir__stream_refuse(a, b, ENOMEM);
    struct zip *z = coir__stream_make_of_two(&zip_kind, room, out_bytes, a, b);
    if (!z)
        return NULL;
    z->fn = fn;
    z->arg = arg;
    z->in[0] = z->room;
    z->in[1] = z->room + room_for(a->elem_bytes);
    return &z->s;
}
