/* static_server/request.c - read a request's head, and understand it or refuse it.
 * SPDX-License-Identifier: MIT
 *
 * A path is decoded once, and after that none of its segments may be "..": so %2e%2e and %2f lead
 * nowhere. What is not understood for sure is refused, and the connection with it. */
#include "server.h"

#include "http_text.h"

#include <string.h>
#include <strings.h>

int request_read(struct conn *c)
{
    size_t bytes = 0;
    COIR_TIMEOUT(server.idle_ns) {
        for (;;) {
            /* RFC 9112 2.2: be patient with empty lines before a request. */
            while (c->len > 0 && (c->head[0] == '\r' || c->head[0] == '\n'))
                memmove(c->head, c->head + 1, --c->len);
            if ((bytes = http_head_bytes(c->head, c->len)) > 0)
                return (int)bytes;
            if (c->len == HEAD_MAX)
                return -431;
            ssize_t n = coir_recv(c->fd, c->head + c->len, HEAD_MAX - c->len, 0);
            if (n < 0)
                return errno == ETIMEDOUT && c->len > 0 ? -408 : 0;
            if (n == 0)
                return c->len > 0 ? -400 : 0;
            c->len += (size_t)n;
        }
    }
    return 0;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copy target up to its query to out, with %XX decoded. Returns 0 or 400. */
static int decode(const char *target, char *out)
{
    for (; *target && *target != '?'; target++) {
        char byte = *target;
        if (byte == '%') {
            int high = hex(target[1]), low = high < 0 ? -1 : hex(target[2]);
            if (low < 0 || high + low == 0)
                return 400;
            byte = (char)(high * 16 + low);
            target += 2;
        } else if (byte == '#') {
            return 400;
        }
        *out++ = byte;
    }
    *out = 0;
    return 0;
}

/* Turn a request's target into rq->path, without empty and "." segments. Returns 0 or 400. */
static int parse_target(struct request *rq, const char *target)
{
    char decoded[HEAD_MAX + 1], *out = rq->path;
    if (strncasecmp(target, "http://", 7) ==
        0) { /* as sent to a proxy; a server must take it as well */
        target += 7;
        target += strcspn(target, "/?");
    }
    rq->query = target + strcspn(target, "?");
    if (*target != '/' || decode(target, decoded) != 0)
        return 400;

    rq->directory = true;
    for (const char *at = decoded; *at;) {
        size_t len = strcspn(at, "/");
        bool dot = len == 1 && at[0] == '.';
        if (len == 2 && memcmp(at, "..", 2) == 0)
            return 400;
        rq->directory = len == 0 || dot;
        if (len > 0 && !dot) {
            if (out != rq->path)
                *out++ = '/';
            memcpy(out, at, len);
            out += len;
        }
        at += len + (len == 0);
    }
    if (out == rq->path)
        *out++ = '.';
    *out = 0;
    return 0;
}

/* "GET /path HTTP/1.1". Returns 0, or a status; *refused is a status for later, when the fields are
 * fine. */
static int parse_request_line(struct request *rq, char *line, int *refused)
{
    static const char *const others[] = { "POST",  "PUT",   "DELETE", "OPTIONS",
                                          "PATCH", "TRACE", "CONNECT" };
    char *target = strchr(line, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version || target == line)
        return 400;
    *target++ = 0;
    *version++ = 0;
    if (strncmp(version, "HTTP/", 5) != 0 || strlen(version) != 8 || version[6] != '.')
        return 400;
    if (version[5] != '1')
        return 505;
    rq->minor = version[7] - '0';
    rq->keep = rq->minor >= 1;
    rq->head_only = strcmp(line, "HEAD") == 0;
    *refused = 0;
    if (strcmp(line, "GET") != 0 && !rq->head_only) {
        *refused = 501;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (strcmp(line, others[i]) == 0)
                *refused = 405;
        return 0;
    }
    return parse_target(rq, target);
}

/* Take the line that *at points to; a head ends with a newline. NULL: it holds a control character.
 */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    *at = end + 1;
    if (end > line && end[-1] == '\r')
        end--;
    *end = 0;
    for (const char *p = line; p < end; p++)
        if ((unsigned char)*p < 0x20 ? *p != '\t' : *p == 0x7f)
            return NULL;
    return line;
}

/* "Name: value". Returns 0 or a status. */
static int parse_field(struct request *rq, char *line, int *hosts)
{
    char *colon = strchr(line, ':');
    if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
        return 400;
    *colon = 0;
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        value[--len] = 0;

    if (strcasecmp(line, "Host") == 0)
        return ++*hosts == 1 ? 0 : 400;
    if (strcasecmp(line, "Transfer-Encoding") == 0)
        return 501;
    if (strcasecmp(line, "Content-Length") == 0) {
        if (len == 0 || value[strspn(value, "0123456789")])
            return 400;
        return value[strspn(value, "0")] ? 413 : 0;
    }
    if (strcasecmp(line, "Connection") == 0) {
        if (http_list_has(value, "close"))
            rq->keep = false;
        else if (http_list_has(value, "keep-alive"))
            rq->keep = true;
    }
    return 0;
}

int request_parse(struct request *rq, char *head, size_t bytes)
{
    int hosts = 0, refused = 0, status;
    char *line;
    if (memchr(head, 0, bytes) || !(line = next_line(&head)))
        return 400;
    if ((status = parse_request_line(rq, line, &refused)) != 0)
        return status;
    while ((line = next_line(&head)) && *line) {
        status = parse_field(rq, line, &hosts);
        if (status == 400)
            return 400;
        if (!refused)
            refused = status;
    }
    if (!line || hosts > 1 || (rq->minor >= 1 && hosts == 0))
        return 400;
    return refused;
}
