/* sched/record.c - the memory of fiber records: dense slabs, magazines per worker, a depot for all.
 * SPDX-License-Identifier: MIT
 *
 * A magazine is a list of free records. A worker has two and exchanges them whole with the depot,
 * so its lock is taken once in COIR__RECORD_MAGAZINE records, whatever the order of alloc and free.
 * Holds     A record is never anything but a record, and its slab is never unmapped: a late look at
 *           it reads a record.
 * Handles   are stale once the generation has moved on. It moves when a record is freed; when a
 *           whole slab is given back to the kernel its records read generation 0, which no handle
 *           has, and begin anew at `seed`, which moved on too.
 * Callers   any thread. The magazines are their workers' own. */
#include "record.h"

#include "memory.h"
#include "runtime.h"
#include "wait.h"

enum {
    SLAB_RECORDS = COIR__RECORD_SLAB_BYTES / 2 / sizeof(struct coir__fiber), /* 16 Ki */
    SLABS_MAX = 1 << 16,                                                     /* a billion fibers */
    CARVE = 4096 / sizeof(struct coir__fiber),
    POPULATE_MAX = 64 * CARVE, /* records */
    POPULATE_WRITE = 23,       /* MADV_POPULATE_WRITE, Linux 5.14 */
};

static struct {
    _Atomic int32_t lock;
    uint16_t seed;                           /* the generation that fresh records begin with */
    struct coir__fiber *magazines;           /* linked through the first record's arg */
    struct coir__fiber *unused, *unused_end; /* of the newest slab */
    struct coir__fiber *populated;           /* from unused up to here there are pages */
    uint32_t reuse; /* slabs below slabs_len that are all unused again, from here on */
    _Atomic uint32_t slabs_len;
    struct coir__fiber *slabs[SLABS_MAX];
} depot = { .seed = 1 };

/* A slab nobody uses: one that was given back, or a new one. */
static struct coir__fiber *next_slab(void)
{
    uint32_t len = atomic_load_explicit(&depot.slabs_len, memory_order_relaxed);
    if (depot.reuse < len)
        return depot.slabs[depot.reuse++];
    struct coir__fiber *slab = len < SLABS_MAX ? coir__map(COIR__RECORD_SLAB_BYTES) : NULL;
    if (!slab)
        return NULL;
    depot.slabs[len] = slab;
    depot.reuse = len + 1;
    atomic_store_explicit(&depot.slabs_len, len + 1, memory_order_release);
    return slab;
}

/* Pages for the next records, in one call: a page fault each costs a third more. Never more than
 * the slab has in use, so that a few fibers do not take much memory. */
static void populate(void)
{
    size_t len = SLAB_RECORDS - (size_t)(depot.unused_end - depot.unused);
    size_t left = (size_t)(depot.unused_end - depot.unused);
    len = len < POPULATE_MAX ? len : POPULATE_MAX;
    len = len < left ? len : left;
    depot.populated = depot.unused + len;
    if (len)
        coir__sys(SYS_madvise, depot.unused, len * sizeof(struct coir__fiber), POPULATE_WRITE);
}

/* A page of records that were never used, as a magazine. */
static struct coir__fiber *carve(uint32_t *len)
{
    if (depot.unused == depot.unused_end) {
        depot.unused = next_slab();
        depot.unused_end = depot.unused ? depot.unused + SLAB_RECORDS : NULL;
        depot.populated = depot.unused;
        if (!depot.unused)
            return NULL;
    }
    if (depot.unused >= depot.populated)
        populate();
    struct coir__fiber *first = depot.unused;
    depot.unused += CARVE;
    *len = CARVE;
    for (struct coir__fiber *f = first; f < first + CARVE; f++) {
        atomic_store_explicit(&f->ident, depot.seed, memory_order_relaxed);
        f->next = f + 1 < first + CARVE ? f + 1 : NULL;
    }
    return first;
}

/* A magazine, and how many records it has. */
static struct coir__fiber *depot_take(uint32_t *len)
{
    coir__sleep_lock(&depot.lock);
    struct coir__fiber *first = depot.magazines;
    if (first) {
        depot.magazines = first->arg;
        *len = (uint32_t)first->deadline_ns;
    } else {
        first = carve(len);
    }
    coir__sleep_unlock(&depot.lock);
    return first;
}

static void depot_put(struct coir__fiber *first, uint32_t len)
{
    first->deadline_ns = len;
    coir__sleep_lock(&depot.lock);
    first->arg = depot.magazines;
    depot.magazines = first;
    coir__sleep_unlock(&depot.lock);
}

bool coir__record_reload(struct coir__worker *w)
{
    w->records = w->records_spare;
    w->records_len = w->records_spare_len;
    w->records_spare = NULL;
    if (!w->records)
        w->records = depot_take(&w->records_len);
    return w->records != NULL;
}

void coir__record_unload(struct coir__worker *w)
{
    if (w->records_spare)
        depot_put(w->records_spare, w->records_spare_len);
    w->records_spare = w->records;
    w->records_spare_len = w->records_len;
    w->records = NULL;
    w->records_len = 0;
}

/* It takes one, and puts the rest back. */
struct coir__fiber *coir__record_alloc_outside(void)
{
    uint32_t len = 0;
    struct coir__fiber *f = depot_take(&len);
    if (f && len > 1)
        depot_put(f->next, len - 1);
    return f;
}

void coir__record_free_outside(struct coir__fiber *f)
{
    coir__record_expire(f);
    f->next = NULL;
    depot_put(f, 1);
}

void coir__record_flush(struct coir__worker *w)
{
    if (w->records)
        depot_put(w->records, w->records_len);
    if (w->records_spare)
        depot_put(w->records_spare, w->records_spare_len);
    w->records = w->records_spare = NULL;
    w->records_len = 0;
}

void coir__record_each(struct coir__runtime *rt, void (*fn)(struct coir__fiber *, void *),
                       void *arg)
{
    uint32_t len = atomic_load_explicit(&depot.slabs_len, memory_order_acquire);
    for (uint32_t i = 0; i < len; i++)
        for (uint32_t k = 0; k < SLAB_RECORDS; k++) {
            struct coir__fiber *f = &depot.slabs[i][k];
            if (coir__fiber_state(f) == COIR__FREE)
                continue;
            if (coir__runtime_has(rt, coir__fiber_home(f)))
                fn(f, arg);
        }
}

struct coir__fiber *coir__record_next(uint64_t *at, uint32_t most)
{
    uint64_t end =
        (uint64_t)atomic_load_explicit(&depot.slabs_len, memory_order_acquire) * SLAB_RECORDS;
    for (; *at < end && most; most--) {
        struct coir__fiber *f = &depot.slabs[*at / SLAB_RECORDS][*at % SLAB_RECORDS];
        ++*at;
        if (coir__fiber_state(f) != COIR__FREE)
            return f;
    }
    if (*at >= end)
        *at = COIR__RECORDS_END;
    return NULL;
}

/* The highest generation of a slab's records; those that were never used have 0. */
static uint16_t highest(const struct coir__fiber *slab)
{
    uint16_t max = 0;
    for (uint32_t i = 0; i < SLAB_RECORDS && &slab[i] != depot.unused; i++) {
        uint16_t generation = coir__fiber_generation(&slab[i]);
        max = generation > max ? generation : max;
    }
    return max;
}

void coir__record_trim(void)
{
    coir__sleep_lock(&depot.lock);
    uint32_t len = atomic_load_explicit(&depot.slabs_len, memory_order_relaxed);
    uint16_t max = depot.seed;
    for (uint32_t i = 0; i < depot.reuse; i++) {
        uint16_t here = highest(depot.slabs[i]);
        max = here > max ? here : max;
    }
    for (uint32_t i = 0; i < len; i++)
        coir__sys(SYS_madvise, depot.slabs[i], COIR__RECORD_SLAB_BYTES, MADV_DONTNEED);
    depot.magazines = depot.unused = depot.unused_end = NULL;
    depot.reuse = 0;
    depot.seed = max >= UINT16_MAX - 1 ? 1 : (uint16_t)(max + 1);
    coir__sleep_unlock(&depot.lock);
}
