/* http_text.h - what the samples that speak HTTP read in the same way.
 * SPDX-License-Identifier: MIT */
#ifndef SAMPLES_HTTP_TEXT_H
#define SAMPLES_HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Bytes up to and including the empty line that ends a head; 0: it is not complete. */
static inline size_t http_head_bytes(const char *head, size_t len)
{
    for (const char *at = head; (at = memchr(at, '\n', len - (size_t)(at - head)));) {
        at++;
        size_t left = len - (size_t)(at - head);
        if (left >= 1 && at[0] == '\n')
            return (size_t)(at - head) + 1;
        if (left >= 2 && at[0] == '\r' && at[1] == '\n')
            return (size_t)(at - head) + 2;
    }
    return 0;
}

/* Is token in the comma-separated list, in any case? */
static inline bool http_list_has(const char *list, const char *token)
{
    size_t len = strlen(token);
    while (*list) {
        list += strspn(list, ", \t");
        size_t item = strcspn(list, ", \t");
        if (item == len && strncasecmp(list, token, len) == 0)
            return true;
        list += item;
    }
    return false;
}

#endif
