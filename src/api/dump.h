/* api/dump.h - what a dump is put together from.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_DUMP_H
#define COIR_API_DUMP_H

#include "ask.h"
#include "text.h"

/* Look for rings in what was seen now, and before. found(arg, first) is called for each whose
 * members stayed where they were; coir__waits_for leads around. Returns how many there are besides
 * that may be none. */
COIR_HIDDEN uint32_t coir__deadlocks(const struct coir__ask *before, const struct coir__ask *ask,
                                     void (*found)(void *arg, const struct coir__ask *ask,
                                                   struct coir__sight *first),
                                     void *arg);

/* The fiber that the fiber of s waits for; NULL: nobody in particular. */
COIR_HIDDEN struct coir__sight *coir__waits_for(const struct coir__ask *ask,
                                                const struct coir__sight *s);

/* The dump itself: dump_text.c. */
COIR_HIDDEN void coir__dump_text(struct coir__text *t, const struct coir__ask *before,
                                 const struct coir__ask *ask);
/* "0x... "name"", or the same without a name. */
COIR_HIDDEN void coir__dump_who(struct coir__text *t, const void *handle, const char *name);

/* coir_dump, -errno. */
COIR_HIDDEN int coir__dump(int fd);

#endif
