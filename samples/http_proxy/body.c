/* http_proxy/body.c - a body passed on, piece by piece, in its three framings.
 * SPDX-License-Identifier: MIT
 *
 * Chunks are made anew, of what has arrived; their extensions, and the fields of a trailer, are not
 * passed on, as a proxy may do. */
#include "proxy.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRAILER_MAX 64 /* lines */

ssize_t input_more(struct input *in)
{
    if (in->at > 0) {
        memmove(in->buf, in->buf + in->at, in->end - in->at);
        in->end -= in->at;
        in->at = 0;
    }
    if (in->end == sizeof in->buf) {
        errno = EMSGSIZE;
        return -1;
    }
    ssize_t n = coir_recv(in->fd, in->buf + in->end, sizeof in->buf - in->end, 0);
    if (n > 0)
        in->end += (size_t)n;
    return n;
}

static ssize_t more_in_time(struct input *in)
{
    ssize_t n = -1;
    COIR_TIMEOUT(proxy.idle_ns)
        n = input_more(in);
    return n;
}

int write_in_time(int fd, const char *data, size_t len)
{
    ssize_t n = -1;
    COIR_TIMEOUT(proxy.idle_ns)
        n = coir_write_all(fd, data, len);
    return n < 0 ? -1 : 0;
}

static int put(const struct body *body, const char *data, size_t len)
{
    char chunk[HEAD_MAX + 32];
    if (body->chunked_out) {
        int head = sprintf(chunk, "%zx\r\n", len);
        memcpy(chunk + head, data, len);
        memcpy(chunk + head + len, "\r\n", 2);
        data = chunk;
        len += (size_t)head + 2;
    }
    int result = write_in_time(body->to, data, len);
    atomic_store(body->active_ns, coir_now());
    return result;
}

/* Pass on the next len bytes; -1: all up to the end of file. */
static enum passed pass(const struct body *body, int64_t len)
{
    struct input *in = body->from;
    while (len != 0) {
        if (in->at == in->end) {
            ssize_t n = more_in_time(in);
            if (n <= 0)
                return n == 0 && len < 0 ? PASSED : FROM_BROKEN;
        }
        size_t n = in->end - in->at;
        if (len >= 0 && (int64_t)n > len)
            n = (size_t)len;
        if (put(body, in->buf + in->at, n) < 0)
            return TO_BROKEN;
        in->at += n;
        len -= len < 0 ? 0 : (int64_t)n;
    }
    return PASSED;
}

/* Take a line, which lives until the next one is taken. */
static enum passed take_line(struct input *in, char **line)
{
    char *end;
    while (!(end = memchr(in->buf + in->at, '\n', in->end - in->at))) {
        ssize_t n = more_in_time(in);
        if (n <= 0)
            return n < 0 && errno == EMSGSIZE ? FROM_WRONG : FROM_BROKEN;
    }
    *line = in->buf + in->at;
    in->at = (size_t)(end - in->buf) + 1;
    if (end > *line && end[-1] == '\r')
        end--;
    *end = 0;
    return PASSED;
}

/* "1a2b" or "1a2b ;name=value". Returns the size, or -1. */
static int64_t chunk_bytes(const char *line)
{
    char *end;
    errno = 0;
    long long bytes = isxdigit((unsigned char)*line) ? strtoll(line, &end, 16) : -1;
    if (bytes < 0 || errno || (line[0] == '0' && (line[1] == 'x' || line[1] == 'X')))
        return -1;
    end += strspn(end, " \t");
    return *end == 0 || *end == ';' ? bytes : -1;
}

static enum passed pass_chunks(const struct body *body)
{
    enum passed passed;
    char *line;
    int64_t bytes;
    do {
        if ((passed = take_line(body->from, &line)) != PASSED)
            return passed;
        if ((bytes = chunk_bytes(line)) < 0)
            return FROM_WRONG;
        if (bytes > 0 && ((passed = pass(body, bytes)) != PASSED ||
                          (passed = take_line(body->from, &line)) != PASSED))
            return passed;
        if (bytes > 0 && *line)
            return FROM_WRONG;
    } while (bytes > 0);
    for (int i = 0; i < TRAILER_MAX; i++) {
        if ((passed = take_line(body->from, &line)) != PASSED)
            return passed;
        if (!*line)
            return PASSED;
    }
    return FROM_WRONG;
}

enum passed body_pass(const struct body *body)
{
    enum passed passed = body->chunked_in ? pass_chunks(body) : pass(body, body->length);
    if (passed == PASSED && body->chunked_out && write_in_time(body->to, "0\r\n\r\n", 5) < 0)
        return TO_BROKEN;
    return passed;
}
