/* io/fdmap.h - what a worker keeps of each descriptor: in two levels, mapped when they are used.
 * SPDX-License-Identifier: MIT
 *
 * An entry begins with zero, and stays where it is. All entries of a map have one size. */
#ifndef COIR_IO_FDMAP_H
#define COIR_IO_FDMAP_H

#include "sched/memory.h"

enum { COIR__FDMAP_LEAF = 512, COIR__FDMAP_LEAVES = 1 << 13 };

struct coir__fdmap {
    char **leaves;
};

/* NULL: fd has no entry yet, and there is no memory for it. */
static inline void *coir__fdmap_at(struct coir__fdmap *m, int fd, size_t entry_bytes)
{
    if (__builtin_expect(!m->leaves, 0))
        m->leaves = coir__map(COIR__FDMAP_LEAVES * sizeof *m->leaves);
    if (__builtin_expect(!m->leaves, 0))
        return NULL;
    char **leaf = &m->leaves[(unsigned)fd / COIR__FDMAP_LEAF];
    if (__builtin_expect(!*leaf, 0))
        *leaf = coir__map(COIR__FDMAP_LEAF * entry_bytes);
    return *leaf ? *leaf + (unsigned)fd % COIR__FDMAP_LEAF * entry_bytes : NULL;
}

static inline void coir__fdmap_free(struct coir__fdmap *m, size_t entry_bytes)
{
    if (!m->leaves)
        return;
    for (int i = 0; i < COIR__FDMAP_LEAVES; i++)
        if (m->leaves[i])
            coir__unmap(m->leaves[i], COIR__FDMAP_LEAF * entry_bytes);
    coir__unmap(m->leaves, COIR__FDMAP_LEAVES * sizeof *m->leaves);
}

#endif
