/* api/stream_time.c - timeout, throttle and chunks.
 * SPDX-License-Identifier: MIT */
#include "stream.h"

#include <stdlib.h>

struct timed {
    coir_stream s;
    int64_t ns;
    int64_t ready_ns; /* throttle: the next element may come */
};

static int timeout_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    bool late;
    int64_t until_ns = coir_after(((struct timed *)s)->ns);
    int got = coir__stream_pull_until(s, s->a, elem, lender, until_ns, &late);
    return late ? -ETIME : got;
}

static int throttle_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct timed *t = (struct timed *)s;
    int64_t wait_ns = t->ready_ns ? t->ready_ns - coir_now() : 0;
    if (wait_ns > 0 && coir_sleep(wait_ns) < 0)
        return -errno;
    int got = coir__stream_pull_on(s, s->a, elem, lender);
    if (got == 1)
        t->ready_ns = coir_after(t->ns);
    return got;
}

static const struct coir__stream_kind timeout_kind = { sizeof(struct timed), .passes = true,
                                                       .pull = timeout_pull };
static const struct coir__stream_kind throttle_kind = { sizeof(struct timed), .passes = true,
                                                        .pull = throttle_pull };

static coir_stream *make_timed(const struct coir__stream_kind *kind, coir_stream *source,
                               int64_t ns)
{
    if (!source)
        return NULL;
    struct timed *t = coir__stream_make(kind, 0, source->elem_bytes, source);
    if (!t)
        return NULL;
    t->ns = ns;
    return &t->s;
}

coir_stream *coir_stream_timeout(coir_stream *source, int64_t ns)
{
    return make_timed(&timeout_kind, source, ns);
}

coir_stream *coir_stream_throttle(coir_stream *source, int64_t ns)
{
    return make_timed(&throttle_kind, source, ns);
}

/* The memory of one chunk. */
struct block {
    size_t count;
    coir_stream **lenders; /* of the items; NULL: they are plain */
    _Alignas(16) char items[];
};

struct chunks {
    coir_stream s;
    size_t n;
    int64_t wait_ns; /* COIR_NEVER: a chunk is full, or the last */
    int64_t until_ns;
    struct block *filling;
    struct block *out; /* what was given out last, unless it was leased */
    int pending;       /* what the source has said after its last item */
    bool leases;       /* what it gives out */
};

static bool items_are_leased(struct chunks *c)
{
    coir_stream *s = c->s.a;
    while (s->kind->passes && !s->kind->lend)
        s = s->a;
    return s->kind->lend != NULL;
}

static struct block *new_block(struct chunks *c)
{
    size_t bytes, lenders = items_are_leased(c) ? c->n : 0;
    struct block *b = NULL;
    if (!__builtin_mul_overflow(c->n, c->s.a->elem_bytes, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof *b, &bytes))
        b = malloc(bytes);
    if (!b)
        return NULL;
    *b = (struct block){ .lenders = lenders ? calloc(lenders, sizeof *b->lenders) : NULL };
    if (lenders && !b->lenders) {
        free(b);
        return NULL;
    }
    return b;
}

static void *item(struct chunks *c, struct block *b, size_t i)
{
    return b->items + i * c->s.a->elem_bytes;
}

static void empty(struct chunks *c, struct block *b)
{
    for (size_t i = 0; i < b->count && b->lenders; i++)
        coir__stream_give_back(b->lenders[i], item(c, b, i));
    b->count = 0;
}

static void free_block(struct chunks *c, struct block *b)
{
    if (!b)
        return;
    empty(c, b);
    free(b->lenders);
    free(b);
}

/* The consumer has come back: what it got last is ours again. False: no memory. */
static bool have_block(struct chunks *c)
{
    if (c->out)
        empty(c, c->out);
    if (!c->filling) {
        c->filling = c->out ? c->out : new_block(c);
        c->out = NULL;
    }
    return c->filling != NULL;
}

/* 1: there is one more; 0: the chunk is to go out as it is; -errno: it stays for the next pull. */
static int fill(struct chunks *c, struct block *b)
{
    coir_stream *s = &c->s, **lender = b->lenders ? &b->lenders[b->count] : NULL;
    void *elem = item(c, b, b->count);
    bool late = false;
    int got;
    if (b->count && c->wait_ns != COIR_NEVER)
        got = coir__stream_pull_until(s, s->a, elem, lender, c->until_ns, &late);
    else
        got = coir__stream_pull(s->a, elem, lender);
    if (got == 1) {
        if (b->count++ == 0 && c->wait_ns != COIR_NEVER)
            c->until_ns = coir_after(c->wait_ns);
        return 1;
    }
    if (late)
        return 0;
    if (!s->a->over && coir__stream_is_own(got))
        return got;
    c->pending = got;
    return 0;
}

static int chunks_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct chunks *c = (struct chunks *)s;
    if (!have_block(c))
        return -ENOMEM;
    struct block *b = c->filling;
    while (b->count < c->n && !c->pending && !s->a->over) {
        int got = fill(c, b);
        if (got < 0)
            return got;
        if (got == 0)
            break;
    }
    if (b->count == 0) {
        int said = c->pending;
        c->pending = 0;
        return s->a->over ? coir__stream_over(s, s->a->error) : said;
    }
    *(coir_chunk *)elem = (coir_chunk){ .count = b->count, .items = b->items };
    c->filling = NULL;
    if (c->leases && lender)
        *lender = s;
    else
        c->out = b;
    return 1;
}

static struct block *block_of(void *elem)
{
    return (struct block *)((char *)((coir_chunk *)elem)->items - offsetof(struct block, items));
}

static void chunks_lend(coir_stream *s)
{
    ((struct chunks *)s)->leases = true;
}

static void chunks_give_back(coir_stream *s, void *elem)
{
    free_block((struct chunks *)s, block_of(elem));
}

static void discard_items(struct chunks *c, struct block *b)
{
    for (size_t i = 0; b && i < b->count; i++)
        coir__stream_discard(c->s.a, item(c, b, i));
}

static void chunks_discard(coir_stream *s, void *elem)
{
    discard_items((struct chunks *)s, block_of(elem));
}

static void chunks_end(coir_stream *s)
{
    struct chunks *c = (struct chunks *)s;
    discard_items(c, c->filling);
    free_block(c, c->filling);
    free_block(c, c->out);
}

static const struct coir__stream_kind chunks_kind = {
    sizeof(struct chunks), .pull = chunks_pull,           .end = chunks_end,
    .lend = chunks_lend,   .give_back = chunks_give_back, .discard = chunks_discard,
};

coir_stream *coir_stream_chunks(coir_stream *source, size_t n, int64_t wait_ns)
{
    if (!source)
        return NULL;
    if (n == 0)
        return coir__stream_refuse(source, NULL, EINVAL);
    struct chunks *c = coir__stream_make(&chunks_kind, 0, sizeof(coir_chunk), source);
    if (!c)
        return NULL;
    c->n = n;
    c->wait_ns = wait_ns < 0 ? COIR_NEVER : wait_ns;
    coir__stream_lend(source);
    c->filling = new_block(c);
    if (!c->filling) {
        coir_stream_free(&c->s);
        return coir__stream_refuse(NULL, NULL, ENOMEM);
    }
    return &c->s;
}
