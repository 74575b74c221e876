/* sched/stack.h - stacks: mapped in slabs, guarded, coloured, reused warm, given back when idle.
 * SPDX-License-Identifier: MIT
 *
 * A stack is a slot: an aligned power of two of address space, guard at its low end, this head at
 * its high end. Only pages that were touched cost memory. Slots of one size come from slabs, one
 * mapping each. */
#ifndef COIR_SCHED_STACK_H
#define COIR_SCHED_STACK_H

#include "fiber.h"

enum {
    COIR__STACK_SHIFT_MIN = 14, /* 16 KiB */
    COIR__STACK_SHIFT_MAX = 30, /* 1 GiB */
    COIR__STACK_CLASSES = COIR__STACK_SHIFT_MAX - COIR__STACK_SHIFT_MIN + 1,
    /* Stack tops are spread over the page, so that those of many fibers do not compete for the same
     * cache sets. Steps of two lines: the pair that the prefetcher fetches. What is left of the
     * page, 1 KiB, holds a parked fiber's frames. */
    COIR__STACK_COLOUR_BYTES = 128,
    COIR__STACK_COLOURS = 24,
};

/* At the very top of a slot. */
struct coir__stack {
    struct coir__stack *next; /* in a list of free stacks: the next one */
    void *sanitizer;          /* sched/sanitize.h */
    void *(*fn)(void *);      /* in use: what the fiber runs */
    void *arg;                /* its argument; when it has ended: its result */
    uint32_t slot;            /* its number in its slab: decides the colour */
    uint8_t class;
    uint8_t reserved[27];
};
_Static_assert(sizeof(struct coir__stack) == 64, "the colours start right below the head");

/* How stacks are guarded, in falling order of merit; see coir__stack_guards. */
enum coir__guards {
    COIR__GUARDS_UNKNOWN,
    COIR__GUARDS_MARKED, /* MADV_GUARD_INSTALL: no mapping each */
    COIR__GUARDS_MAPPED, /* mprotect: two mappings each, so their number is limited */
};

/* The class for a stack of bytes of address space, 0 or more; -EINVAL out of range. At least four
 * pages, where they are large. */
COIR_HIDDEN int coir__stack_class(size_t bytes);

static inline size_t coir__stack_class_bytes(unsigned class)
{
    return (size_t)1 << (COIR__STACK_SHIFT_MIN + class);
}

/* Bytes of guard at its low end: what the platform wants, but no more than a quarter. */
static inline size_t coir__stack_guard_bytes(unsigned class)
{
    size_t quarter = coir__stack_class_bytes(class) / 4;
    return COIR__STACK_GUARD < quarter ? COIR__STACK_GUARD : quarter;
}

static inline char *coir__stack_low(struct coir__stack *s)
{
    return (char *)(s + 1) - coir__stack_class_bytes(s->class);
}

/* Where the first frame goes. */
static inline void *coir__stack_top(struct coir__stack *s)
{
    return (char *)s - s->slot % COIR__STACK_COLOURS * COIR__STACK_COLOUR_BYTES;
}

/* A stack for a fiber of w, from w's cache, the depot or a new mapping; NULL when out of memory or
 * of mappings. */
COIR_HIDDEN struct coir__stack *coir__stack_alloc(struct coir__worker *w, unsigned class);
COIR_HIDDEN void coir__stack_free(struct coir__worker *w, struct coir__stack *s);
/* Move w's cached stacks to the depot. */
COIR_HIDDEN void coir__stack_flush(struct coir__worker *w);

/* Give back the memory of stacks that nobody has needed since the last call but one second. Returns
 * when to call again; COIR__NEVER when nothing is left to give back. */
COIR_HIDDEN int64_t coir__stack_trim(struct coir__worker *w, int64_t now_ns);

/* Unmap every slab without a stack in use. No worker runs. */
COIR_HIDDEN void coir__stack_unmap(void);

/* How this process's stacks are guarded: finds out when first asked. */
COIR_HIDDEN enum coir__guards coir__stack_guards(void);

/* Knobs for tests and for coir_options; set before stacks are made. */
struct coir__stack_policy {
    enum coir__guards guards; /* COIR__GUARDS_UNKNOWN: probe */
    uint32_t guard_maps_max;  /* 0: from vm.max_map_count */
};
COIR_HIDDEN extern struct coir__stack_policy coir__stack_policy;

#endif
