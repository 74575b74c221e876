/* api/stream_fiber.h - a fiber that works for a stream: started by the first pull, ended with it.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_STREAM_FIBER_H
#define COIR_API_STREAM_FIBER_H

#include "stream.h"

#include "sync/waitgroup.h"

#include <stdlib.h>

struct coir__stream_fiber {
    void (*run)(void *arg);
    void (*ended)(void *arg); /* nothing of the program's will run in it any more */
    void *arg;
    coir_attr attr; /* with the deadline of the stream's maker */
    char name[COIR__NAME_BYTES];
    coir_fiber *handle; /* not NULL: it was started; it is detached: valid until it has ended */
    struct coir__waitgroup running;
};

/* Remember how to start it. -EINVAL: attr is wrong. */
COIR_HIDDEN int coir__stream_fiber_init(struct coir__stream_fiber *f, const coir_attr *attr,
                                        void (*run)(void *), void (*ended)(void *), void *arg);

COIR_HIDDEN int coir__stream_fiber_start_slowly(struct coir__stream_fiber *f);

/* Start it, unless it has been. 0, or -errno. */
static inline int coir__stream_fiber_start(struct coir__stream_fiber *f)
{
    return f->handle ? 0 : coir__stream_fiber_start_slowly(f);
}

/* Cancel it, and wait until it has ended, whatever happens. */
COIR_HIDDEN void coir__stream_fiber_end(struct coir__stream_fiber *f);

#endif
