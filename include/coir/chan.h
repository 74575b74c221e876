/* coir/chan.h - channels: elements of one size, handed over in order, between fibers of any workers
 * and plain threads, in any mix.
 * SPDX-License-Identifier: MIT
 *
 * A channel has room for `capacity` elements that nobody has received yet. With none, sender and
 * receiver meet: a send returns when its element has been received. Elements are copied, in and
 * out, and arrive in the order in which they were sent; those who wait are served in the order in
 * which they came.
 *
 * The end of a stream of elements is coir_chan_close: receivers still get what was sent before it,
 * then EPIPE; senders get EPIPE at once.
 *
 *     while (coir_chan_recv(c, &x) == 0)
 *         use(x);
 *
 * A channel may be freed as soon as the last call on it has returned. To wait for one of several
 * channels, or for other things besides: coir/select.h. */
#ifndef COIR_CHAN_H
#define COIR_CHAN_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* Only a pointer to it is ever seen. */
typedef struct coir_chan coir_chan;

/* A channel for elements of elem_bytes bytes. elem_bytes 0: its elements are pure signals, and the
 * calls get NULL for them. capacity 0: sender and receiver meet.
 * Returns  the channel, for coir_chan_free; NULL with ENOMEM. */
COIR_API coir_chan *coir_chan_new(size_t elem_bytes, size_t capacity);

/* Free it, and what is left in it (coir_chan_on_drop). Nobody may wait on it. NULL: nothing. */
COIR_API void coir_chan_free(coir_chan *chan);

/* Have coir_chan_free call drop for each element that nobody has received, oldest first. elem is
 * its address, for the time of that call. */
COIR_API void coir_chan_on_drop(coir_chan *chan, void (*drop)(void *elem));

/* The channel shall close at the n-th coir_chan_close from now on, for n senders of whom each
 * closes when it is done. Returns 0; -1 with EINVAL (n is 0), EPIPE (it is closed). */
COIR_API int coir_chan_writers(coir_chan *chan, size_t n);

/* Hand a copy of *elem over.
 * Returns  0: with capacity, it is in the channel; without, it has been received. -1 with EPIPE:
 *          the channel is closed, also while waiting; ETIMEDOUT, ECANCELED (coir/base.h); EINVAL:
 *          elem is NULL, and elem_bytes not 0. Nobody gets the element then.
 * Parks    while there is neither room nor a receiver. */
COIR_API int coir_chan_send(coir_chan *chan, const void *elem);

/* Get the oldest element.
 * Returns  0: it is in *elem. -1 with EPIPE: the channel is closed, and nothing is left in it;
 *          ETIMEDOUT, ECANCELED; EINVAL as above. No element is lost then.
 * Parks    while there is none. */
COIR_API int coir_chan_recv(coir_chan *chan, void *elem);

/* The same without waiting: -1 with EAGAIN when they would have to. They work after a cancel and
 * past the deadline, too. Never park. */
COIR_API int coir_chan_trysend(coir_chan *chan, const void *elem);
COIR_API int coir_chan_tryrecv(coir_chan *chan, void *elem);

/* No element is sent from now on; everybody who waits and gets none wakes with EPIPE. Closing again
 * does nothing. Works after a cancel and past the deadline, and never parks. Returns 0. */
COIR_API int coir_chan_close(coir_chan *chan);

/* How many elements are in it right now; others may change that at any time. */
COIR_API size_t coir_chan_len(const coir_chan *chan);

COIR_END_DECLS

#endif
