/* api/dump.c - coir/debug.h: coir_dump.
 * SPDX-License-Identifier: MIT */
#include "dump.h"

#include "edge.h"

/* Who looks as if in a deadlock is looked at again: deadlock.c. */
enum { ASKS_MAX = 3, ASK_AGAIN_NS = 5 * 1000 * 1000 };

static void nothing(void *arg, const struct coir__ask *ask, struct coir__sight *first)
{
    (void)arg, (void)ask, (void)first;
}

static int show(struct coir__text *t)
{
    struct coir__ask now, before;
    struct coir__ask *earlier = NULL;
    int err = coir__ask_all(&now);
    if (err < 0)
        return err;
    for (int i = 1; i < ASKS_MAX && coir__deadlocks(earlier, &now, nothing, NULL); i++) {
        if (earlier)
            coir__ask_free(earlier);
        before = now;
        earlier = &before;
        coir__ask_pause(ASK_AGAIN_NS);
        err = coir__ask_all(&now);
        if (err < 0)
            break;
    }
    if (err == 0) {
        coir__dump_text(t, earlier, &now);
        coir__ask_free(&now);
    }
    if (earlier)
        coir__ask_free(earlier);
    return err;
}

int coir__dump(int fd)
{
    struct coir__text text;
    int err = coir__text_begin(&text, fd);
    if (err < 0)
        return err;
    /* A dump is wanted most when things go wrong: it minds neither cancel nor deadline. */
    coir_guard guard = coir_shield_enter(COIR_NEVER);
    err = show(&text);
    int written = coir__text_end(&text);
    coir_guard_leave(&guard);
    return err < 0 ? err : written;
}

int coir_dump(int fd)
{
    return (int)coir__edge(coir__dump(fd));
}
