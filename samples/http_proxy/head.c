/* http_proxy/head.c - a head read, understood, and written anew for the other side.
 * SPDX-License-Identifier: MIT
 *
 * Where a body ends must be the same to us as to those before and behind us, or a request could be
 * smuggled in it: so what says that twice, or strangely, is refused, and what we send says it once,
 * in words of our own. */
#include "proxy.h"

#include "http_text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

ssize_t head_read(struct input *in)
{
    for (;;) {
        /* RFC 9112 2.2: be patient with empty lines before a request. */
        while (in->at < in->end && (in->buf[in->at] == '\r' || in->buf[in->at] == '\n'))
            in->at++;
        size_t bytes = http_head_bytes(in->buf + in->at, in->end - in->at);
        if (bytes > 0)
            return (ssize_t)bytes;
        ssize_t n = input_more(in);
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = EPIPE;
            return in->at < in->end ? -1 : 0;
        }
    }
}

/* Take the line that *at points to; a head ends with a newline. NULL: it holds a control character.
 */
static char *take_line(char **at)
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

static bool is_token(const char *text)
{
    size_t len = strlen(text);
    for (const char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
            return false;
    return len > 0;
}

/* Returns 0, or a status and *why. */
static int parse_framing(struct message *m, const struct field *field, const char **why)
{
    if (strcasecmp(field->name, "Content-Length") == 0) {
        char *end;
        errno = 0;
        long long length =
            isdigit((unsigned char)field->value[0]) ? strtoll(field->value, &end, 10) : -1;
        *why = "Content-Length is no number, or there are two of them";
        if (length < 0 || errno || *end || (m->length >= 0 && m->length != length))
            return 400;
        m->length = length;
    } else if (strcasecmp(field->name, "Transfer-Encoding") == 0) {
        *why = "Transfer-Encoding is not plain \"chunked\"";
        if (m->chunked || strcasecmp(field->value, "chunked") != 0)
            return 501;
        m->chunked = true;
    }
    return 0;
}

/* The fields, behind the start line. Returns 0, or a status and *why. */
static int parse_fields(struct message *m, char *at, const char **why)
{
    char *line;
    while ((line = take_line(&at)) && *line) {
        char *colon = strchr(line, ':');
        *why = "a header line is not \"name: value\"";
        if (!colon)
            return 400;
        *colon = 0;
        if (!is_token(line))
            return 400;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        for (char *end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');)
            *--end = 0;
        if (m->count == FIELDS_MAX) {
            *why = "there are too many fields";
            return 431;
        }
        m->fields[m->count] = (struct field){ line, value };
        int status = parse_framing(m, &m->fields[m->count++], why);
        if (status)
            return status;
    }
    *why = "there is a control character in it";
    return line ? 0 : 400;
}

/* Everything but what is in the start line. Returns 0, or a status and *why. */
static int parse(struct message *m, struct input *in, size_t bytes, const char **why)
{
    char *at = in->buf + in->at;
    in->at += bytes;
    m->length = -1;
    m->count = 0;
    m->chunked = false;
    *why = "there is a control character in it";
    if (memchr(at, 0, bytes) || !(m->start = take_line(&at)))
        return 400;
    return parse_fields(m, at, why);
}

static bool connection_has(const struct message *m, const char *token)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcasecmp(m->fields[i].name, "Connection") == 0 &&
            http_list_has(m->fields[i].value, token))
            return true;
    return false;
}

/* "GET http://host:port/path HTTP/1.1". Returns 0, or a status and *why. */
static int parse_request_line(struct request *rq, const char **why)
{
    char *target = strchr(rq->m.start, ' '), *version = target ? strchr(target + 1, ' ') : NULL;
    *why = "the first line is no request";
    if (!version)
        return 400;
    *target++ = 0;
    *version++ = 0;
    if (!is_token(rq->m.start) || strncmp(version, "HTTP/", 5) != 0 || strlen(version) != 8 ||
        !isdigit((unsigned char)version[5]) || version[6] != '.' ||
        !isdigit((unsigned char)version[7]))
        return 400;
    *why = "only HTTP/1 is spoken here";
    if (version[5] != '1')
        return 505;
    rq->m.minor = version[7] - '0';
    rq->method = rq->m.start;
    rq->head_only = strcmp(rq->method, "HEAD") == 0;
    rq->connect = strcmp(rq->method, "CONNECT") == 0;

    *why = "CONNECT wants host:port";
    if (rq->connect)
        return target_parse(&rq->target, target, strlen(target), NULL) ? 0 : 400;
    *why = "this is a proxy, which wants http://host:port/path";
    if (strncasecmp(target, "http://", 7) != 0)
        return 400;
    target += 7;
    size_t len = strcspn(target, "/?#");
    *why = "that is no host and port";
    if (strchr(target, '#') || !target_parse(&rq->target, target, len, "80"))
        return 400;
    rq->path = target + len;
    if (!*rq->path)
        rq->path = strcmp(rq->method, "OPTIONS") == 0 ? "*" : "/";
    return 0;
}

int request_parse(struct request *rq, struct input *in, size_t bytes, const char **why)
{
    rq->head_only = false;
    int status = parse(&rq->m, in, bytes, why), hosts = 0;
    if (status || (status = parse_request_line(rq, why)))
        return status;
    rq->keep =
        rq->m.minor >= 1 ? !connection_has(&rq->m, "close") : connection_has(&rq->m, "keep-alive");
    for (size_t i = 0; i < rq->m.count; i++) {
        hosts += strcasecmp(rq->m.fields[i].name, "Host") == 0;
        *why = "it has been here before";
        if (strcasecmp(rq->m.fields[i].name, "Via") == 0 &&
            http_list_has(rq->m.fields[i].value, proxy.pseudonym))
            return 508;
    }
    *why = "one Host is wanted";
    if (hosts > 1 || (hosts == 0 && rq->m.minor >= 1))
        return 400;
    *why = "its length is told twice, or by HTTP/1.0 in chunks";
    if (rq->m.chunked && (rq->m.length >= 0 || rq->m.minor == 0))
        return 400;
    if (rq->m.length < 0)
        rq->m.length = 0;
    return 0;
}

int answer_parse(struct answer *a, struct input *in, size_t bytes, const char **why)
{
    if (parse(&a->m, in, bytes, why))
        return -1;
    const char *line = a->m.start;
    *why = "the answer is not HTTP/1";
    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ' ||
        line[9] < '1' || !isdigit((unsigned char)line[9]) || !isdigit((unsigned char)line[10]) ||
        !isdigit((unsigned char)line[11]) || (line[12] && line[12] != ' '))
        return -1;
    a->m.minor = line[7] - '0';
    a->status = atoi(line + 9);
    a->reason = line[12] ? line + 13 : "";
    return 0;
}

struct text {
    char *at, *end;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(out->at, (size_t)(out->end - out->at), format, args);
    va_end(args);
    if (len < out->end - out->at)
        out->at += len;
    else
        out->full = true;
}

/* Only for the one who receives it, or said by us in words of our own. */
static bool is_passed_on(const struct message *m, const char *name)
{
    static const char *const ours[] = {
        "Connection",
        "Proxy-Connection",
        "Keep-Alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Content-Length",
        "Host",
    };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcasecmp(name, ours[i]) == 0)
            return false;
    return !connection_has(m, name);
}

static void put_fields(struct text *out, const struct message *m)
{
    for (size_t i = 0; i < m->count; i++)
        if (is_passed_on(m, m->fields[i].name))
            put(out, "%s: %s\r\n", m->fields[i].name, m->fields[i].value);
    put(out, "Via: 1.%d %s\r\n", m->minor, proxy.pseudonym);
}

size_t request_write(const struct request *rq, char *buf, size_t cap)
{
    struct text out = { buf, buf + cap, false };
    put(&out, "%s %s%s HTTP/1.1\r\nHost: %s\r\n", rq->method, *rq->path == '?' ? "/" : "", rq->path,
        rq->target.authority);
    put_fields(&out, &rq->m);
    if (rq->m.chunked)
        put(&out, "Transfer-Encoding: chunked\r\n");
    else if (rq->m.length > 0 || strcmp(rq->method, "POST") == 0 || strcmp(rq->method, "PUT") == 0)
        put(&out, "Content-Length: %lld\r\n", (long long)rq->m.length);
    put(&out, "Connection: close\r\n\r\n");
    return out.full ? 0 : (size_t)(out.at - buf);
}

size_t answer_write(const struct answer *a, char *buf, size_t cap, const char *framing, bool keep)
{
    struct text out = { buf, buf + cap, false };
    put(&out, "HTTP/1.1 %d %s\r\n", a->status, a->reason);
    put_fields(&out, &a->m);
    put(&out, "%s", framing);
    if (a->status >= 200)
        put(&out, "Connection: %s\r\n", keep ? "keep-alive" : "close");
    put(&out, "\r\n");
    return out.full ? 0 : (size_t)(out.at - buf);
}
