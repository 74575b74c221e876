/* tests/api/dump_kit.h - reading dumps.
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_API_DUMP_KIT_H
#define TESTS_API_DUMP_KIT_H

#include "support/fiber_test.h"

#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* With a port of our own this is a fiber's outermost frame; Boost's switch cannot be unwound. */
extern char coir__arch_entry[] __attribute__((weak));

static inline bool dump_has_backtraces(void)
{
    return coir__arch_entry != NULL;
}

/* All that is in fd, which is closed; to be freed. NULL: it could not be read. */
static inline char *dump_take(int fd)
{
    off_t len = lseek(fd, 0, SEEK_END);
    char *text = len < 0 ? NULL : calloc(1, (size_t)len + 1);
    if (text && pread(fd, text, (size_t)len, 0) != len) {
        free(text);
        text = NULL;
    }
    close(fd);
    return text;
}

/* A dump, to be freed; NULL: it failed. */
static inline char *dump_text(void)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);
    if (fd >= 0 && coir_dump(fd) == 0)
        return dump_take(fd);
    close(fd);
    return NULL;
}

/* What is said of the fiber of that name, up to the next one's; "" when there is nothing. In a
 * buffer that the next call uses again. */
static inline const char *dump_block(const char *text, const char *name)
{
    static char block[16384];
    char quoted[64];
    snprintf(quoted, sizeof quoted, " \"%s\" on worker", name);
    const char *at = text - 1;
    block[0] = 0;
    do {
        const char *line = at + 1, *end = strchr(line, '\n');
        const char *found = strstr(line, quoted);
        if (strncmp(line, "fiber ", 6) == 0 && found && found < end) {
            const char *next = strstr(end, "\nfiber ");
            size_t len = next ? (size_t)(next + 1 - line) : strlen(line);
            snprintf(block, sizeof block, "%.*s", (int)len, line);
            return block;
        }
        at = end;
    } while (at && at[1]);
    return block;
}

/* Is there something like that in text? * stands for anything, other characters for themselves. */
static inline bool dump_says(const char *text, const char *what)
{
    char pattern[512];
    snprintf(pattern, sizeof pattern, "*%s*", what);
    return fnmatch(pattern, text, FNM_NOESCAPE) == 0;
}

#define dump_assert(text, what)                                                                    \
    do {                                                                                           \
        if (!dump_says(text, what))                                                                \
            fail_msg("no \"%s\" in:\n%s", what, text);                                             \
    } while (0)
#define dump_assert_not(text, what)                                                                \
    do {                                                                                           \
        if (dump_says(text, what))                                                                 \
            fail_msg("\"%s\" in:\n%s", what, text);                                                \
    } while (0)

#endif
