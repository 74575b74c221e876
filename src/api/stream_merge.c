/* api/stream_merge.c - two streams as one.
 * SPDX-License-Identifier: MIT
 *
 * A fiber for each pulls, and sends what it gets into one channel without room: so each is at most
 * one element ahead, and who waits is served in turn. Errors travel as letters, too: a source may
 * fail, and go on. */
#include "stream_fiber.h"

/* What is sent; the element follows. */
struct letter {
    int32_t error; /* 0: an element */
    bool over;     /* with error: it is the end */
    coir_stream *lender;
    _Alignas(16) char elem[];
};

struct side {
    struct coir__stream_fiber fiber;
    struct merge *merge;
    coir_stream *source;
    struct letter *letter; /* the fiber's */
};

struct merge {
    coir_stream s;
    struct side sides[2];
    coir_chan *chan;
    struct letter *letter; /* the consumer's: what it was given last */
    _Atomic int32_t error; /* why a side has stopped without being able to tell */
    bool leases;           /* what it gives out */
};

static struct coir__chan *chan_of(struct merge *m)
{
    return (struct coir__chan *)m->chan;
}

static void not_wanted(struct side *side)
{
    coir__stream_discard(side->source, side->letter->elem);
    coir__stream_give_back(side->letter->lender, side->letter->elem);
}

/* 1: on; 0: it is the end; -errno: the fiber itself is to stop. */
static int send_next(struct side *side)
{
    struct letter *letter = side->letter;
    int got = coir__stream_pull(side->source, letter->elem, &letter->lender);
    if (got == 0 || (got < 0 && !side->source->over && coir__stream_is_own(got)))
        return got;
    letter->error = got < 0 ? -got : 0;
    letter->over = side->source->over;
    if (coir_chan_send(side->merge->chan, letter) == 0)
        return !(letter->error && letter->over);
    int err = -errno;
    if (!letter->error)
        not_wanted(side);
    return err;
}

static void run_side(void *arg)
{
    struct side *side = arg;
    int on;
    while ((on = send_next(side)) > 0)
        ;
    if (on < 0)
        atomic_store_explicit(&side->merge->error, -on, memory_order_relaxed);
}

static void side_ended(void *arg)
{
    struct side *side = arg;
    coir_chan_close(side->merge->chan);
}

static int start(struct merge *m)
{
    int err = coir__stream_fiber_start(&m->sides[0].fiber);
    return err < 0 ? err : coir__stream_fiber_start(&m->sides[1].fiber);
}

/* The consumer has come back: what it got last may go. */
static void give_back(struct merge *m)
{
    coir__stream_give_back(m->letter->lender, m->letter->elem);
    m->letter->lender = NULL;
}

static int pull(coir_stream *s, void *elem, coir_stream **lender)
{
    struct merge *m = (struct merge *)s;
    struct letter *letter = m->letter;
    int err = start(m);
    if (err < 0)
        return err;
    give_back(m);
    err = coir__stream_receive(chan_of(m), letter);
    if (err == -EPIPE)
        return coir__stream_over(s, m->error);
    if (err < 0)
        return err;
    if (letter->error)
        return letter->over ? coir__stream_over(s, letter->error) : -letter->error;
    coir__chan_copy(elem, letter->elem, s->elem_bytes);
    if (m->leases && lender) {
        *lender = letter->lender;
        letter->lender = NULL;
    }
    return 1;
}

static void end(coir_stream *s)
{
    struct merge *m = (struct merge *)s;
    for (int i = 0; i < 2 && m->chan; i++)
        coir_chan_close(m->chan); /* for each of the sides, which close it no more then */
    for (int i = 0; i < 2; i++)
        coir__stream_fiber_end(&m->sides[i].fiber);
    if (m->letter)
        give_back(m);
    coir_chan_free(m->chan);
    for (int i = 0; i < 2; i++)
        free(m->sides[i].letter);
    free(m->letter);
}

static void lend(coir_stream *s)
{
    ((struct merge *)s)->leases = true;
}

static const struct coir__stream_kind kind = {
    sizeof(struct merge), .passes = true, .pull = pull, .end = end, .lend = lend,
};

static int prepare(struct merge *m, coir_stream *a, coir_stream *b)
{
    size_t bytes = sizeof(struct letter) + m->s.elem_bytes;
    m->chan = coir_chan_new(bytes, 0);
    m->letter = calloc(1, bytes);
    if (!m->chan || !m->letter)
        return -ENOMEM;
    coir_chan_writers(m->chan, 2);
    for (int i = 0; i < 2; i++) {
        struct side *side = &m->sides[i];
        coir__stream_fiber_init(&side->fiber, NULL, run_side, side_ended, side);
        side->merge = m;
        side->source = i ? b : a;
        side->letter = calloc(1, bytes);
        if (!side->letter)
            return -ENOMEM;
        coir__stream_lend(side->source);
    }
    return 0;
}

coir_stream *coir_stream_merge(coir_stream *a, coir_stream *b)
{
    if (!a || !b)
        return coir__stream_refuse(a, b, errno);
    if (a == b || a->elem_bytes != b->elem_bytes)
        return coir__stream_refuse(a, b, EINVAL);
    struct merge *m = coir__stream_make_of_two(&kind, 0, a->elem_bytes, a, b);
    if (!m)
        return NULL;
    if (prepare(m, a, b) < 0) {
        coir_stream_free(&m->s);
        return coir__stream_refuse(NULL, NULL, ENOMEM);
    }
    return &m->s;
}
