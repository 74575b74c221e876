/* api/text.h - text for a descriptor, put together without malloc, so that it also comes out of a
 * program that is stuck in there.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_TEXT_H
#define COIR_API_TEXT_H

#include "arch/arch.h"

struct coir__text {
    int fd;
    int err;   /* 0, or the first -errno of writing: the rest is dropped */
    char *buf; /* coir__map's */
    size_t len;
};

/* 0, or -errno: -EBADF, -ENOMEM. */
COIR_HIDDEN int coir__text_begin(struct coir__text *t, int fd);
COIR_HIDDEN void coir__text_add(struct coir__text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Write what is left. A fiber parks meanwhile, whatever its cancel and deadline. 0, or -errno. */
COIR_HIDDEN int coir__text_end(struct coir__text *t);

/* One line of a backtrace. */
COIR_HIDDEN void coir__text_add_frame(struct coir__text *t, uintptr_t pc);
/* A function by its address: its name, or where it is. */
COIR_HIDDEN void coir__text_add_function(struct coir__text *t, uintptr_t pc);

#endif
