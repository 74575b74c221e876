/* sched/engine.h - what sched asks of I/O. io fills the table (io/ring.c); tests fill it with a
 * fake.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_ENGINE_H
#define COIR_SCHED_ENGINE_H

#include "arch/arch.h"

#include <stdbool.h>

struct coir__worker;
struct coir__fiber;

struct coir__engine {
    const char *name;

    /* Make w->io, on the thread that will run w. 0, or -errno and nothing left behind. */
    int (*init)(struct coir__worker *w);

    /* Undo init, on the same thread. No op of w is in flight. */
    void (*fini)(struct coir__worker *w);

    /* Start what was queued, and complete what is done. until_ns: 0 returns at once; COIR__NEVER
     * waits until something completes or a kick; else also until that moment of coir__host_now().
     * May return early. */
    void (*wait)(struct coir__worker *w, int64_t until_ns);

    /* Has something come that wait would bring? It may already bring it. Quick: for a worker that
     * waits awake. */
    bool (*look)(struct coir__worker *w);

    /* Make w's wait return soon. Any thread. A kick that comes just before the wait is not lost. */
    void (*kick)(struct coir__worker *w);

    /* End the ops in flight on w: all of them, or those whose descriptor is being closed. They
     * complete in later waits. */
    void (*stop_all)(struct coir__worker *w);
    void (*stop_closing)(struct coir__worker *w);

    /* How many ops are in flight on w. */
    uint64_t (*in_flight)(struct coir__worker *w);
};

#endif
