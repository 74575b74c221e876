/* coir/stream.h - streams: elements of one size, pulled one by one, from generators, channels and
 * descriptors, through combinators.
 * SPDX-License-Identifier: MIT
 *
 *     coir_stream *s = coir_stream_filter(coir_stream_new(sizeof(int), count, NULL), is_odd, NULL);
 *     int n, got;
 *     while ((got = coir_stream_next(s, &n)) == 1)
 *         use(n);
 *     if (got < 0)
 *         perror("count");
 *     coir_stream_free(s);
 *
 * Nothing happens before somebody asks: elements are made as coir_stream_next asks for them. Only
 * generators, and the two sides of a merge, run in fibers of their own, from the first next on.
 * They have the deadline that the maker of the stream had, and coir_run does not wait for them: it
 * cancels those that are left when all other fibers have ended.
 *
 * Ownership    A combinator takes its source over, also when it fails: then the source is freed,
 *              and it returns NULL. Given NULL it returns NULL, with errno as it was. So a row of
 *              them needs one look at the end, and one free. A source that was taken over is not to
 *              be used any more.
 * Elements     are copied. What a pointer in one of them points at passes with it: it is the
 *              receiver's. For elements that nobody receives there is coir_stream_on_drop.
 * Callbacks    of combinators run in the caller of coir_stream_next. They may park. One that fails,
 *              by less than 0 with errno set, ends its stream with that error; unless it failed by
 *              the caller's own deadline or cancel: then only the next has failed, and the
 *              following one calls it again with the same element.
 * Consumers    one at a time, fibers or plain threads. */
#ifndef COIR_STREAM_H
#define COIR_STREAM_H

#include <coir/chan.h>
#include <coir/fiber.h>

COIR_BEGIN_DECLS

/* Only a pointer to it is ever seen. */
typedef struct coir_stream coir_stream;

/* A stream of what gen(stream, arg) emits. gen is started by the first next, in a fiber of its own;
 * its return ends the stream: 0 well, less than 0 with errno set: after the elements it has
 * emitted, every next fails with that. gen always runs: when the stream is freed before its first
 * next, it finds itself cancelled. So it may own arg.
 * buffer (1 by default): so many elements may wait for their next; 0: coir_stream_emit returns when
 * its element has been received. attr: as for coir_spawn_with, read during the call.
 * Returns  the stream; NULL with ENOMEM, EINVAL (attr, or gen is NULL), and arg stays the caller's.
 * Parks    never. */
COIR_API coir_stream *coir_stream_new(size_t elem_bytes, int (*gen)(coir_stream *stream, void *arg),
                                      void *arg);
COIR_API coir_stream *coir_stream_new_with(const coir_attr *attr, size_t elem_bytes, size_t buffer,
                                           int (*gen)(coir_stream *stream, void *arg), void *arg);

/* Free the stream with all its sources, whatever has been read of them: their generators are
 * cancelled, and it returns when they have ended, whatever the caller's cancel or deadline. NULL:
 * nothing. Parks. */
COIR_API void coir_stream_free(coir_stream *stream);

/* Have drop called for each element that the stream has, or has from its source, and that nobody
 * receives, because a filter rejects it or the stream is freed. elem is its address, for the time
 * of the call. Streams that pass their source's elements on (filter, take, merge, timeout,
 * throttle) hand drop to that as well, if it has none. Set it before the first next. */
COIR_API void coir_stream_on_drop(coir_stream *stream, void (*drop)(void *elem));

/* In gen: hand a copy of *elem (NULL when elem_bytes is 0) over.
 * Returns  0; -1, and the element stays the caller's: ECANCELED, also when the stream is being
 *          freed; ETIMEDOUT; EINVAL stream has no generator, or elem is NULL.
 * Parks    while `buffer` elements wait already. */
COIR_API int coir_stream_emit(coir_stream *stream, const void *elem);

/* Get the next element into *elem, whose contents are undefined unless it returns 1.
 * Returns  1: there it is; 0: the stream has ended. -1, and no element is lost: the stream's error,
 *          and then this is what every later call returns, too, unless its maker says otherwise
 *          below; or ETIMEDOUT, ECANCELED, ENOMEM, EAGAIN (no fiber could be started) of this call
 *          alone; EBUSY somebody else is in it, or it is another stream's source; EINVAL elem is
 *          NULL, and elem_bytes not 0.
 * Parks    until there is one. */
COIR_API int coir_stream_next(coir_stream *stream, void *elem);

/* fn makes of each element `in` an `out` of out_bytes; what it returns is 0, or less for failure.
 * When it has succeeded, what in points at is fn's; except the text of a line and the items of a
 * chunk, which are lent for the call. */
COIR_API coir_stream *coir_stream_map(coir_stream *source, size_t out_bytes,
                                      int (*fn)(void *out, void *in, void *arg), void *arg);

/* The elements for which keep returns more than 0; less is failure. */
COIR_API coir_stream *coir_stream_filter(coir_stream *source,
                                         int (*keep)(const void *elem, void *arg), void *arg);

/* The first n elements; then it ends, without asking its source again. */
COIR_API coir_stream *coir_stream_take(coir_stream *source, size_t n);

/* n elements of a source at a time. */
typedef struct coir_chunk {
    size_t count; /* 1 to n */
    void *items;  /* valid until the next next */
} coir_chunk;

/* A stream of coir_chunk: of n elements (not 0), or fewer at the end, before an error, and wait_ns
 * after the first of them has come; 0: what is there; negative or COIR_NEVER: no such limit. */
COIR_API coir_stream *coir_stream_chunks(coir_stream *source, size_t n, int64_t wait_ns);

/* The elements of both, which have the same size, as they come; when both have some, in turn. Each
 * is pulled by a fiber of its own, at most one element ahead. It ends when both have; the error of
 * one ends it at once. */
COIR_API coir_stream *coir_stream_merge(coir_stream *a, coir_stream *b);

/* fn makes an `out` of out_bytes of an element of each, as for map. It ends with the first of them;
 * an element of a that has no partner is dropped. */
COIR_API coir_stream *coir_stream_zip(coir_stream *a, coir_stream *b, size_t out_bytes,
                                      int (*fn)(void *out, void *a, void *b, void *arg), void *arg);

/* next fails with ETIME when an element takes longer than ns. That is not the end: the element is
 * what a later next gets, if it comes. */
COIR_API coir_stream *coir_stream_timeout(coir_stream *source, int64_t ns);

/* At least ns between two elements: next waits. */
COIR_API coir_stream *coir_stream_throttle(coir_stream *source, int64_t ns);

/* What is sent on chan, until that is closed. It never closes or frees chan. */
COIR_API coir_stream *coir_stream_from_chan(coir_chan *chan);

/* A line of text. */
typedef struct coir_line {
    char *text; /* without the newline, and with a 0 behind it; valid until the next next */
    size_t len; /* in bytes, of which any may be 0 */
} coir_line;

/* A stream of coir_line: the lines that coir_read gets from fd, also a last one without a newline.
 * Of one longer than line_bytes_max (0: 65536) next says EMSGSIZE, and goes on behind it. It never
 * closes fd, and may have read more of it than it has given out. */
COIR_API coir_stream *coir_stream_lines(int fd, size_t line_bytes_max);

COIR_END_DECLS

#endif
