/* api/stream_fiber.c - see stream_fiber.h.
 * SPDX-License-Identifier: MIT */
#include "stream_fiber.h"

#include <string.h>

int coir__stream_fiber_init(struct coir__stream_fiber *f, const coir_attr *attr,
                            void (*run)(void *), void (*ended)(void *), void *arg)
{
    struct coir__spawn how = { 0 };
    int err = coir__attr_read(attr, &how);
    if (err < 0)
        return err;
    *f = (struct coir__stream_fiber){ .run = run, .ended = ended, .arg = arg };
    if (attr)
        f->attr = *attr;
    if (f->attr.name)
        f->attr.name = strncpy(f->name, f->attr.name, sizeof f->name - 1);
    f->attr.flags |= COIR_DETACHED;
    f->attr.deadline_ns = how.deadline_ns > 0 ? how.deadline_ns : 1; /* 0 means another thing */
    return 0;
}

static void *fiber_main(void *arg)
{
    struct coir__stream_fiber *f = arg;
    f->run(f->arg);
    struct coir__fiber *self = coir__fiber_self();
    if (self->has_values)
        coir__host_fiber_values_end(self);
    f->ended(f->arg);
    coir__waitgroup_done(&f->running); /* the last touch */
    return NULL;
}

bool coir__stream_fiber_given_up(void *(*fn)(void *), void *arg)
{
    struct coir__stream_fiber *f = arg;
    if (fn == fiber_main)
        coir__waitgroup_done(&f->running);
    return fn == fiber_main;
}

int coir__stream_fiber_start_slowly(struct coir__stream_fiber *f)
{
    coir__waitgroup_add(&f->running, 1);
    f->handle = coir_spawn_with(&f->attr, fiber_main, f);
    if (f->handle)
        return 0;
    int err = -errno;
    coir__waitgroup_done(&f->running);
    return err;
}

void coir__stream_fiber_end(struct coir__stream_fiber *f)
{
    if (coir__waitgroup_is_done(&f->running))
        return;
    coir__cancel(f->handle);
    coir_guard shield = coir_shield_enter(COIR_NEVER);
    coir__waitgroup_wait_slowly(&f->running, COIR_NEVER);
    coir_guard_leave(&shield);
}
