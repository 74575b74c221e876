/* api/stream.h - what streams are made of.
 * SPDX-License-Identifier: MIT
 *
 * A stream is an object that can be pulled: a kind with its own fields behind struct coir_stream,
 * and up to two sources that it owns. To pull costs a call per stream of the row, no lock and no
 * fiber, down to a leaf: a channel, into which a generator sends, or a descriptor. What a pull has
 * achieved when it is stopped by the caller's deadline or cancel stays in the objects.
 * Over      a stream that will give no element any more says so; any other failure is of this pull
 *           alone. A stream that only passes on is over when its source is.
 * Leases    lines and chunks give out memory of their own, which is good until the next pull. Who
 *           keeps elements longer than that, or pulls ahead, asks for leases: each element then
 *           comes with the stream whose memory it is in, and is given back to that, by any thread.
 *           A plain element has no lender. map and zip ask for none and pass none on. */
#ifndef COIR_API_STREAM_H
#define COIR_API_STREAM_H

#include "edge.h"

#include "sync/chan.h"

struct coir__stream_kind {
    size_t bytes; /* of the object */
    bool passes;  /* its elements are its sources' */
    /* As coir__stream_pull. */
    int (*pull)(coir_stream *s, void *elem, coir_stream **lender);
    /* Before its sources are freed: end its fibers, drop what it holds. May be NULL. */
    void (*end)(coir_stream *s);
    /* Lenders: from now on with leases; and one has ended. */
    void (*lend)(coir_stream *s);
    void (*give_back)(coir_stream *s, void *elem);
    /* What becomes of an element that nobody receives, beside the program's on_drop. */
    void (*discard)(coir_stream *s, void *elem);
};

struct coir_stream {
    const struct coir__stream_kind *kind;
    size_t elem_bytes;
    coir_stream *a, *b; /* its sources; NULL */
    void (*drop)(void *elem);
    int32_t error;     /* over: 0, or why */
    bool over;         /* no element will come any more */
    _Atomic bool busy; /* somebody pulls; or it has been taken over */
};

/* A new stream, all 0 behind the first fields, with room for extra bytes; NULL with errno, and the
 * sources are freed. NULL, too, when a, or want_b and b, is NULL. */
COIR_HIDDEN void *coir__stream_make(const struct coir__stream_kind *kind, size_t extra,
                                    size_t elem_bytes, coir_stream *a);
COIR_HIDDEN void *coir__stream_make_of_two(const struct coir__stream_kind *kind, size_t extra,
                                           size_t elem_bytes, coir_stream *a, coir_stream *b);

/* The sources are not wanted: free them, set errno to err. */
COIR_HIDDEN coir_stream *coir__stream_refuse(coir_stream *a, coir_stream *b, int err);

/* Nobody receives elem, which s gave out. */
COIR_HIDDEN void coir__stream_discard(coir_stream *s, void *elem);

/* From now on s gives out elements with leases, if it has memory to lend. */
COIR_HIDDEN void coir__stream_lend(coir_stream *s);

static inline void coir__stream_give_back(coir_stream *lender, void *elem)
{
    if (lender)
        lender->kind->give_back(lender, elem);
}

/* No element will come any more: why (0: the end) is what s says from now on. */
static inline int coir__stream_over(coir_stream *s, int why)
{
    s->over = true;
    s->error = why;
    return -why;
}

/* 1: an element is in *elem, and in lender (NULL: it is not asked for) whose memory it is in; 0:
 * the end; -errno. */
static inline int coir__stream_pull(coir_stream *s, void *elem, coir_stream **lender)
{
    if (lender)
        *lender = NULL;
    return s->over ? -s->error : s->kind->pull(s, elem, lender);
}

/* Pull source for s, which is over when that is. */
static inline int coir__stream_pull_on(coir_stream *s, coir_stream *source, void *elem,
                                       coir_stream **lender)
{
    int got = coir__stream_pull(source, elem, lender);
    if (__builtin_expect(got <= 0, 0) && source->over)
        coir__stream_over(s, source->error);
    return got;
}

/* The same until until_ns. *late: it has ended because of that. */
COIR_HIDDEN int coir__stream_pull_until(coir_stream *s, coir_stream *source, void *elem,
                                        coir_stream **lender, int64_t until_ns, bool *late);

/* Has -err come from the caller's own deadline or cancel? */
static inline bool coir__stream_is_own(int err)
{
    return (err == -ETIMEDOUT || err == -ECANCELED) && coir__check() < 0;
}

/* A callback has failed: of this pull alone, or the end of s. */
COIR_HIDDEN int coir__stream_callback_failed(coir_stream *s);

/* Receive from a channel, also past the deadline, as long as that needs no waiting. 0, -EPIPE, or
 * -errno. */
COIR_HIDDEN int coir__stream_receive(struct coir__chan *c, void *elem);

#endif
