/* api/reader.c - what is put on top of read and write: coir_reader, coir_dprintf.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include <coir/io.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What has been read and not given out is buf[start, end). */
static size_t held(const coir_reader *r)
{
    return r->end - r->start;
}

static bool is_sound(const coir_reader *r)
{
    return r && r->buf && r->cap >= 2 && r->start <= r->end && r->end < r->cap && !r->flags &&
           !r->reserved[0] && !r->reserved[1];
}

/* More, behind what is held, and room for a 0 behind that: as coir_read. */
static ssize_t read_more(coir_reader *r)
{
    if (r->start) {
        memmove(r->buf, r->buf + r->start, held(r));
        r->end -= r->start;
        r->start = 0;
    }
    ssize_t n = coir_read(r->fd, r->buf + r->end, r->cap - 1 - r->end);
    if (n > 0)
        r->end += (size_t)n;
    return n;
}

/* Not inlined: errno's address is not carried over a park. */
static __attribute__((noinline)) ssize_t too_long(void)
{
    return coir__edge(-EMSGSIZE);
}

ssize_t coir_reader_line(coir_reader *r, char **line)
{
    if (!is_sound(r) || !line)
        return coir__edge(-EINVAL);
    size_t scanned = 0;
    char *newline;
    while (!(newline = memchr(r->buf + r->start + scanned, '\n', held(r) - scanned))) {
        scanned = held(r);
        if (scanned == r->cap - 1)
            return too_long();
        ssize_t n = read_more(r);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
    }
    char *text = r->buf + r->start, *end = newline ? newline : r->buf + r->end;
    size_t bytes = (size_t)(end - text) + (newline != NULL);
    *end = 0;
    *line = text;
    r->start += bytes;
    return (ssize_t)bytes;
}

ssize_t coir_reader_read(coir_reader *r, void *buf, size_t len)
{
    if (!is_sound(r))
        return coir__edge(-EINVAL);
    if (held(r) == 0 && len >= r->cap - 1)
        return coir_read(r->fd, buf, len);
    if (held(r) == 0 && len) {
        ssize_t n = read_more(r);
        if (n <= 0)
            return n;
    }
    size_t bytes = held(r) < len ? held(r) : len;
    if (bytes)
        memcpy(buf, r->buf + r->start, bytes);
    r->start += bytes;
    return (ssize_t)bytes;
}

int coir_dprintf(int fd, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0)
        return -1;
    ssize_t n = coir_write_all(fd, text, (size_t)len);
    free(text);
    return (int)n;
}
