/* io/ready.h - descriptors by readiness: an op that is not ready waits in the worker's epoll, and
 * is tried again when that tells of an event. For the engines.
 * SPDX-License-Identifier: MIT
 *
 * Sockets    that are read or written get EPOLLET once, for all events. From then on nothing has to
 *            be said to the kernel to wait, and what is known not to be ready is not tried: since
 *            the last event a try found nothing, or a read of TCP got less than it asked for.
 * Others     get EPOLLONESHOT, for the events of all ops that wait for them, each time anew.
 * Checked    the program may close a socket by itself, and its number come to mean another one,
 *            which epoll knows nothing of. Whoever waits without a word to the kernel is checked
 *            once, after some time: what should be there is modified. If it is gone, everything
 *            begins anew.
 * Hot        an event wakes the fiber, and the fiber tries: what arrives is taken in right before
 *            it is used, and not while hundreds of others are before it. Several that wait for one
 *            event, and plain threads, are served where the event is, oldest first.
 * Stale      what was armed for an op that is gone fires once, and finds nobody. Sockets whose
 *            events nobody here asks for any more are removed. */
#ifndef COIR_IO_READY_H
#define COIR_IO_READY_H

#include "fdmap.h"
#include "op.h"

/* A result for op.c: the fiber may have what it waits for, and tries itself. */
enum { COIR__AGAIN = -(1 << 21) };

struct coir__ready {
    int fd;         /* of its epoll; negative: there is none yet */
    uint32_t armed; /* ops */
    int32_t listed; /* the first descriptor of those to be checked, negative: none; and when */
    int64_t check_ns;
    bool arms_later;           /* an event is being handled: its descriptor is armed after it */
    uint64_t round;            /* counts events */
    struct coir__fdmap states; /* of descriptors: ready.c */
    /* The engine's: an op that has become ready cannot be done without waiting. */
    void (*cannot)(struct coir__worker *w, struct coir__op *op);
};

/* 0, or -errno. What began with zero, but for `cannot`, is undone by fini. */
COIR_HIDDEN int coir__ready_open(struct coir__ready *r);
COIR_HIDDEN void coir__ready_fini(struct coir__ready *r);

/* Do op, unless it would wait. -EAGAIN: it would. COIR__CANNOT: as coir__nowait. */
COIR_HIDDEN long coir__ready_try(struct coir__ready *r, struct coir__op *op);

/* An op that would wait does: 0. Else -errno; -EPERM: the file has no events. */
COIR_HIDDEN long coir__ready_arm(struct coir__ready *r, struct coir__io *io, struct coir__op *op);

/* The end of an armed op that is to end early. */
COIR_HIDDEN void coir__ready_stop(struct coir__worker *w, struct coir__ready *r,
                                  struct coir__op *op);

/* Events of op, as epoll has them. */
COIR_HIDDEN uint32_t coir__ready_events(const struct coir__op *op);

/* Collect events, until until_ns if there are none (as engine->wait). other: a descriptor that is
 * not an op's. True: it had an event. */
COIR_HIDDEN bool coir__ready_wait(struct coir__worker *w, struct coir__ready *r, int other,
                                  int64_t until_ns);

/* until_ns, or before it when ops are to be checked then; and those that are due now are. */
COIR_HIDDEN int64_t coir__ready_check(struct coir__worker *w, struct coir__ready *r,
                                      int64_t until_ns);

#endif
