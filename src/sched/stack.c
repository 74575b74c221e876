/* sched/stack.c - the slabs, the depot and the workers' caches of stacks.
 * SPDX-License-Identifier: MIT
 *
 * A slot is: unused (never touched, beyond its slab's `carved`), in use by a fiber, warm (free,
 * with its pages; linked through its head) or cold (free, without pages; a bit in its slab, since
 * its head is gone with the page). Guards survive cold. A slab is mapped PROT_NONE, munlocked, then
 * made writable: so that mlockall(MCL_FUTURE) does not populate it. Trimming works by the low-water
 * mark: the warm stacks that were never needed during the last second become cold. Callers: any
 * worker. The depot has one lock; the worker's cache of the usual class is its own. */
#include "stack.h"

#include "guard.h"
#include "runtime.h"
#include "memory.h"
#include "wait.h"

#include <errno.h>

enum {
    SLAB_SLOTS_MAX = 4096, /* 1 GiB of 256 KiB stacks */
    SLAB_SLOTS_MIN = 16,   /* the first one, and all when memory is not overcommitted */
    SLABS_MAX = 1 << 15,
    TRIM_BATCH = 256, /* stacks trimmed in one go: some 100 us */
    KEPT = 1, /* stacks a worker keeps warm for good: to trim them would wake it for a page */
    WORDS = SLAB_SLOTS_MAX / 64,
};

static const int64_t TRIM_EVERY_NS = 1000000000;
static const size_t SLAB_BYTES_MAX = (size_t)1 << 30;

struct slab {
    char *base;
    uint32_t slots, carved; /* carved: slots that have been used at least once */
    uint32_t in_use;        /* by fibers, caches and the warm list */
    uint32_t guards_mapped; /* slots with an mprotect guard */
    uint32_t cold;          /* bits set below */
    uint64_t cold_bits[WORDS];
};

static struct {
    _Atomic int32_t lock;
    struct coir__stack *warm[COIR__STACK_CLASSES];
    uint32_t warm_len[COIR__STACK_CLASSES];
    uint32_t warm_low[COIR__STACK_CLASSES]; /* the least warm_len in this second */
    uint32_t idle
        [COIR__STACK_CLASSES]; /* were not needed in the last second, and are still to be trimmed */
    struct slab *slabs[COIR__STACK_CLASSES]; /* each an array, mapped at first use */
    uint32_t slabs_len[COIR__STACK_CLASSES];
    uint32_t cold_len[COIR__STACK_CLASSES];
    uint32_t slots_next; /* how many slots the next slab of a class has: grows */
    int64_t trimmed_ns;
} depot;

int coir__stack_class(size_t bytes)
{
    if (bytes < coir__stack_class_bytes(0) ||
        bytes > coir__stack_class_bytes(COIR__STACK_CLASSES - 1))
        return -EINVAL;
    size_t least = 4 * coir__host_page_bytes();
    if (bytes < least)
        bytes = least;
    int shift = 63 - __builtin_clzl(bytes - 1) + 1;
    return shift - COIR__STACK_SHIFT_MIN;
}

/* Map bytes at a multiple of align, unreachable. */
static char *map_aligned(size_t bytes, size_t align)
{
    long at =
        coir__map_as(bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (coir__map_failed(at))
        return NULL;
    uintptr_t start = ((uintptr_t)at + align - 1) & ~(uintptr_t)(align - 1);
    if (start > (uintptr_t)at)
        coir__unmap((void *)at, start - (uintptr_t)at);
    coir__unmap((char *)start + bytes, (uintptr_t)at + align - start);
    return (char *)start;
}

static bool map_slab(struct slab *slab, unsigned class, uint32_t slots)
{
    size_t bytes = slots * coir__stack_class_bytes(class);
    char *base = map_aligned(bytes, coir__stack_class_bytes(class));
    if (!base)
        return false;
    coir__sys(SYS_munlock, base, bytes);
    if (coir__sys(SYS_mprotect, base, bytes, PROT_READ | PROT_WRITE) < 0) {
        coir__unmap(base, bytes);
        return false;
    }
    coir__sys(SYS_madvise, base, bytes, MADV_NOHUGEPAGE);
    slab->base = base;
    slab->slots = slots;
    slab->carved = slab->in_use = slab->guards_mapped = slab->cold = 0;
    return true;
}

/* Without overcommit (vm.overcommit_memory 2) every slot of a slab counts as used memory at
 * once. */
static uint32_t slots_wanted(unsigned class)
{
    size_t fit = SLAB_BYTES_MAX / coir__stack_class_bytes(class);
    uint32_t most = fit < 1 ? 1 : fit > SLAB_SLOTS_MAX ? SLAB_SLOTS_MAX : (uint32_t)fit;
    if (!depot.slots_next)
        depot.slots_next = SLAB_SLOTS_MIN;
    else if (coir__proc_number("/proc/sys/vm/overcommit_memory", 0) != 2 &&
             depot.slots_next < SLAB_SLOTS_MAX)
        depot.slots_next *= 4;
    return depot.slots_next < most ? depot.slots_next : most;
}

static struct slab *new_slab(unsigned class)
{
    if (!depot.slabs[class]) {
        depot.slabs[class] = coir__map(SLABS_MAX * sizeof(struct slab));
        if (!depot.slabs[class])
            return NULL;
    }
    if (depot.slabs_len[class] == SLABS_MAX)
        return NULL;
    struct slab *slab = &depot.slabs[class][depot.slabs_len[class]];
    for (uint32_t slots = slots_wanted(class); slots; slots /= 2)
        if (map_slab(slab, class, slots)) {
            depot.slabs_len[class]++;
            return slab;
        }
    return NULL;
}

static struct coir__stack *slot_at(struct slab *slab, unsigned class, uint32_t slot)
{
    char *end = slab->base + (slot + 1) * coir__stack_class_bytes(class);
    return (struct coir__stack *)end - 1;
}

static struct coir__stack *slot_open(struct slab *slab, unsigned class, uint32_t slot)
{
    struct coir__stack *s = slot_at(slab, class, slot);
    s->sanitizer = NULL;
    s->slot = slot;
    s->class = (uint8_t) class;
    slab->in_use++;
    return s;
}

static struct coir__stack *take_cold(unsigned class)
{
    for (uint32_t i = depot.cold_len[class] ? depot.slabs_len[class] : 0; i-- > 0;) {
        struct slab *slab = &depot.slabs[class][i];
        for (uint32_t word = 0; slab->cold && word < WORDS; word++)
            if (slab->cold_bits[word]) {
                uint32_t bit = (uint32_t)__builtin_ctzll(slab->cold_bits[word]);
                slab->cold_bits[word] &= slab->cold_bits[word] - 1;
                slab->cold--;
                depot.cold_len[class]--;
                return slot_open(slab, class, word * 64 + bit);
            }
    }
    return NULL;
}

/* A slot that was never used, guarded now if that is possible. */
static struct coir__stack *carve(unsigned class, bool unguarded_allowed)
{
    uint32_t len = depot.slabs_len[class];
    struct slab *slab = len ? &depot.slabs[class][len - 1] : NULL;
    if (!slab || slab->carved == slab->slots)
        slab = new_slab(class);
    if (!slab)
        return NULL;
    enum coir__guards how;
    if (!coir__guard_install(slab->base + slab->carved * coir__stack_class_bytes(class),
                             coir__stack_guard_bytes(class), &how) &&
        !unguarded_allowed)
        return NULL;
    slab->guards_mapped += how == COIR__GUARDS_MAPPED;
    return slot_open(slab, class, slab->carved++);
}

static struct coir__stack *depot_take(unsigned class, bool unguarded_allowed)
{
    struct coir__stack *s = depot.warm[class];
    if (s) {
        depot.warm[class] = s->next;
        depot.warm_len[class]--;
        if (depot.warm_len[class] < depot.warm_low[class])
            depot.warm_low[class] = depot.warm_len[class];
        return s;
    }
    s = take_cold(class);
    return s ? s : carve(class, unguarded_allowed);
}

struct coir__stack *coir__stack_alloc(struct coir__worker *w, unsigned class)
{
    struct coir__stack *s = w->stack_cache;
    if (s && class == w->rt->config.stack_class) {
        w->stack_cache = s->next;
        if (--w->stack_cached < w->stack_cache_low)
            w->stack_cache_low = w->stack_cached;
        return s;
    }
    coir__sleep_lock(&depot.lock);
    s = depot_take(class, w->rt->config.unguarded);
    coir__sleep_unlock(&depot.lock);
    return s;
}

static void depot_put(struct coir__stack *s)
{
    s->next = depot.warm[s->class];
    depot.warm[s->class] = s;
    depot.warm_len[s->class]++;
}

void coir__stack_free(struct coir__worker *w, struct coir__stack *s)
{
    bool cache = s->class == w->rt->config.stack_class && w->stack_cached < COIR__STACK_CACHE_MAX;
    if (w->trim_ns == COIR__NEVER && (!cache || w->stack_cached >= KEPT))
        w->trim_ns = 0;
    if (cache) {
        s->next = w->stack_cache;
        w->stack_cache = s;
        w->stack_cached++;
        return;
    }
    coir__sleep_lock(&depot.lock);
    depot_put(s);
    coir__sleep_unlock(&depot.lock);
}

void coir__stack_flush(struct coir__worker *w)
{
    coir__sleep_lock(&depot.lock);
    while (w->stack_cache) {
        struct coir__stack *s = w->stack_cache;
        w->stack_cache = s->next;
        depot_put(s);
    }
    w->stack_cached = w->stack_cache_low = 0;
    coir__sleep_unlock(&depot.lock);
}

static struct slab *slab_of(struct coir__stack *s)
{
    char *low = coir__stack_low(s);
    for (uint32_t i = 0; i < depot.slabs_len[s->class]; i++) {
        struct slab *slab = &depot.slabs[s->class][i];
        if (low >= slab->base && low < slab->base + slab->slots * coir__stack_class_bytes(s->class))
            return slab;
    }
    __builtin_unreachable();
}

/* A warm stack that was taken off its list becomes cold. */
static void make_cold(struct coir__stack *s)
{
    struct slab *slab = slab_of(s);
    uint32_t slot = s->slot;
    unsigned class = s->class;
    char *low = coir__stack_low(s);
    coir__san_stack_drop(s);
    coir__sys(SYS_madvise, low, coir__stack_class_bytes(class), MADV_DONTNEED);
    slab->in_use--;
    slab->cold++;
    slab->cold_bits[slot / 64] |= (uint64_t)1 << slot % 64;
    depot.cold_len[class]++;
}

static void make_some_cold(unsigned class, uint32_t n)
{
    for (; n && depot.warm[class]; n--) {
        struct coir__stack *s = depot.warm[class];
        depot.warm[class] = s->next;
        depot.warm_len[class]--;
        make_cold(s);
    }
    if (depot.warm_len[class] < depot.warm_low[class])
        depot.warm_low[class] = depot.warm_len[class];
}

/* A second has passed: what was never needed in it is idle. */
static void next_second(int64_t now_ns)
{
    depot.trimmed_ns = now_ns;
    for (unsigned class = 0; class < COIR__STACK_CLASSES; class ++) {
        depot.idle[class] = depot.warm_low[class];
        depot.warm_low[class] = depot.warm_len[class];
    }
}

int64_t coir__stack_trim(struct coir__worker *w, int64_t now_ns)
{
    int64_t again_ns = w->stack_cached > KEPT ? now_ns + TRIM_EVERY_NS : COIR__NEVER;
    coir__sleep_lock(&depot.lock);
    for (; w->stack_cache_low && w->stack_cached > KEPT; w->stack_cache_low--) {
        struct coir__stack *s = w->stack_cache;
        w->stack_cache = s->next;
        w->stack_cached--;
        depot_put(s);
    }
    w->stack_cache_low = w->stack_cached;
    if (now_ns >= depot.trimmed_ns + TRIM_EVERY_NS)
        next_second(now_ns);
    for (unsigned class = 0; class < COIR__STACK_CLASSES; class ++) {
        uint32_t n = depot.idle[class] < TRIM_BATCH ? depot.idle[class] : TRIM_BATCH;
        depot.idle[class] -= n;
        make_some_cold(class, n);
        if (depot.warm_len[class] && again_ns > depot.trimmed_ns + TRIM_EVERY_NS)
            again_ns = depot.trimmed_ns + TRIM_EVERY_NS;
        if (depot.idle[class])
            again_ns = now_ns;
    }
    coir__sleep_unlock(&depot.lock);
    return again_ns;
}

static void unmap_class(unsigned class)
{
    uint32_t kept = 0;
    make_some_cold(class, UINT32_MAX);
    for (uint32_t i = 0; i < depot.slabs_len[class]; i++) {
        struct slab *slab = &depot.slabs[class][i];
        if (slab->in_use) {
            if (kept != i)
                depot.slabs[class][kept] = *slab;
            kept++;
            continue;
        }
        depot.cold_len[class] -= slab->cold;
        coir__guards_unmapped(slab->guards_mapped);
        coir__unmap(slab->base, slab->slots * coir__stack_class_bytes(class));
        for (uint32_t word = 0; word < WORDS; word++)
            slab->cold_bits[word] = 0;
    }
    /* What lies behind the kept ones is used again from zero. */
    for (uint32_t i = kept; i < depot.slabs_len[class]; i++)
        for (uint32_t word = 0; word < WORDS; word++)
            depot.slabs[class][i].cold_bits[word] = 0;
    depot.slabs_len[class] = kept;
    depot.warm_low[class] = 0;
}

void coir__stack_unmap(void)
{
    coir__sleep_lock(&depot.lock);
    for (unsigned class = 0; class < COIR__STACK_CLASSES; class ++)
        unmap_class(class);
    depot.slots_next = 0;
    coir__sleep_unlock(&depot.lock);
}
