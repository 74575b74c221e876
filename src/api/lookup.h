/* api/lookup.h - questions to the name service, on threads of their own.
 * SPDX-License-Identifier: MIT
 *
 * The C library's look-up cannot be ended early. So a question is nobody's: it lives on the heap
 * until its answer has come and all who have asked it have taken theirs. Who is cancelled, or has
 * no time left, goes without; a thread then ends later, perhaps after the runtime. */
#ifndef COIR_API_LOOKUP_H
#define COIR_API_LOOKUP_H

#include "io/pool.h"

#include <stddef.h>

struct coir__lookup {
    struct coir__job job;                   /* first */
    void (*ask)(struct coir__lookup *l);    /* the C library: error, host_errno and answer */
    void (*forget)(struct coir__lookup *l); /* the answer, before l is freed; or NULL */
    int error;                              /* EAI_*, or 0 */
    int host_errno;                         /* with EAI_SYSTEM */
    void *answer;
    bool shared;                /* with who asks the same; else it is one caller's */
    uint32_t takers;            /* who has waited for the answer, and may still look at it */
    struct coir__asker *askers; /* who waits for it */
    struct coir__lookup *next;  /* in the list of all that are under way */
    size_t key_bytes;
    _Alignas(max_align_t) char key[]; /* the question: all that makes it another one */
};

/* With a key of zeros; NULL: no memory. */
COIR_HIDDEN struct coir__lookup *coir__lookup_new(void (*ask)(struct coir__lookup *l),
                                                  size_t key_bytes);

/* Have l asked, or wait with those who ask the same; l is given up. Parks. 0, and what has got the
 * answer is in *answered, until coir__lookup_done; or -errno. */
COIR_HIDDEN long coir__lookup_wait(struct coir__lookup *l, struct coir__lookup **answered);

/* Is the caller the only one who has the answer? Then it stays so. */
COIR_HIDDEN bool coir__lookup_is_mine(struct coir__lookup *l);
COIR_HIDDEN void coir__lookup_done(struct coir__lookup *l);

#endif
