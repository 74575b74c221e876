/* fetch_many/http.c - read an HTTP/1 response: its header, then the body in one of its three
 * framings.
 * SPDX-License-Identifier: MIT
 *
 * Everything that a server can send is bounded: the header and each chunk's size line by the
 * buffer, interim (1xx) answers and trailer lines by a count. What cannot be understood for sure is
 * a fault, and the connection is not kept. */
#include "fetch.h"

#include "http_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define INTERIM_MAX 8
#define TRAILER_MAX 64

/* What end of file (n = 0) or a failed input_more (n = -1, errno as it left it) means. */
static int broken(const struct input *in, ssize_t n, enum phase phase, struct fault *fault)
{
    int err = errno;
    if (n < 0 && err != ENOBUFS)
        return fault_errno(fault, phase, err);
    if (n < 0)
        return fault_set(fault, phase, "%s longer than %d bytes",
                         phase == PHASE_HEADER ? "it is" : "a line is", BUF_BYTES);
    if (phase == PHASE_HEADER && !in->seen)
        return fault_set(fault, phase, "the server closed the connection without a word");
    return fault_set(fault, phase, "the server closed the connection too early");
}

/* Take a line, without its end; it lives until the next line is taken. NULL: the fault says why.
 * Parks. */
static char *line_take(struct input *in, enum phase phase, struct fault *fault)
{
    size_t searched = 0;
    char *end;
    while (!(end = memchr(in->buf + in->at + searched, '\n', in->end - in->at - searched))) {
        searched = in->end - in->at;
        ssize_t n = input_more(in);
        if (n <= 0) {
            broken(in, n, phase, fault);
            return NULL;
        }
    }
    char *line = in->buf + in->at;
    in->at = (size_t)(end - in->buf) + 1;
    if (end > line && end[-1] == '\r')
        end--;
    *end = 0;
    if (memchr(line, 0, (size_t)(end - line))) {
        fault_set(fault, phase, "a line holds a NUL byte");
        return NULL;
    }
    return line;
}

/* "HTTP/1.1 200 OK"; the minor version decides whether connections are kept by default. */
static int status_parse(const char *line, struct response *r, struct fault *fault)
{
    if (strncmp(line, "HTTP/1.", 7) != 0 || !isdigit((unsigned char)line[7]) || line[8] != ' ')
        return fault_set(fault, PHASE_HEADER, "this is not HTTP/1");
    for (int i = 9; i < 12; i++)
        if (!isdigit((unsigned char)line[i]))
            return fault_set(fault, PHASE_HEADER, "the status is not a number");
    if (line[9] == '0' || (line[12] != ' ' && line[12] != 0))
        return fault_set(fault, PHASE_HEADER, "the status is not a number");
    r->status = atoi(line + 9);
    r->keep = line[7] != '0';
    r->chunked = false;
    r->length = -1;
    text_clean(r->reason, sizeof r->reason, line[12] ? line + 13 : "");
    return 0;
}

static int length_parse(const char *value, struct response *r, struct fault *fault)
{
    char *end;
    errno = 0;
    long long length = isdigit((unsigned char)*value) ? strtoll(value, &end, 10) : -1;
    if (length < 0 || errno || *end)
        return fault_set(fault, PHASE_HEADER, "Content-Length is not a number");
    if (r->length >= 0 && r->length != length)
        return fault_set(fault, PHASE_HEADER, "there are two different Content-Lengths");
    r->length = length;
    return 0;
}

static int field_parse(char *line, struct response *r, struct fault *fault)
{
    char *colon = strchr(line, ':');
    if (!colon || colon == line || strcspn(line, " \t") < (size_t)(colon - line))
        return fault_set(fault, PHASE_HEADER, "a header line is not \"name: value\"");
    *colon = 0;
    char *value = colon + 1 + strspn(colon + 1, " \t");
    for (char *end = value + strlen(value); end > value && (end[-1] == ' ' || end[-1] == '\t');)
        *--end = 0;

    if (strcasecmp(line, "Content-Length") == 0)
        return length_parse(value, r, fault);
    if (strcasecmp(line, "Transfer-Encoding") == 0) {
        if (r->chunked || strcasecmp(value, "chunked") != 0)
            return fault_set(fault, PHASE_HEADER, "its Transfer-Encoding is not plain \"chunked\"");
        r->chunked = true;
    } else if (strcasecmp(line, "Connection") == 0) {
        if (http_list_has(value, "close"))
            r->keep = false;
        else if (http_list_has(value, "keep-alive"))
            r->keep = true;
    }
    return 0;
}

/* One status line and its fields. */
static int head_take(struct input *in, struct response *r, struct fault *fault)
{
    char *line = line_take(in, PHASE_HEADER, fault);
    size_t taken = 0;
    if (!line || status_parse(line, r, fault) < 0)
        return -1;
    while ((line = line_take(in, PHASE_HEADER, fault)) && *line) {
        if ((taken += strlen(line)) > BUF_BYTES)
            return fault_set(fault, PHASE_HEADER, "it is longer than %d bytes", BUF_BYTES);
        if (field_parse(line, r, fault) < 0)
            return -1;
    }
    return line ? 0 : -1;
}

int http_head(struct input *in, struct response *r, struct fault *fault)
{
    for (int interim = 0;; interim++) {
        if (head_take(in, r, fault) < 0)
            return -1;
        if (r->status >= 200)
            break;
        if (r->status == 101 || interim == INTERIM_MAX)
            return fault_set(fault, PHASE_HEADER, "nobody asked for the answer %d %s", r->status,
                             r->reason);
    }
    if (r->status == 204 || r->status == 304) {
        r->chunked = false;
        r->length = 0;
    }
    if (r->chunked &&
        r->length >=
            0) /* one of the two is a lie: the chunks are right, but trust ends after them */
        r->keep = false;
    else if (!r->chunked && r->length < 0)
        r->keep = false;
    return 0;
}

/* Pass the next len bytes on. Parks. */
static int pass(struct input *in, int64_t len, struct sink *sink, struct fault *fault)
{
    int64_t left = len;
    while (left > 0) {
        if (in->at == in->end) {
            ssize_t n = input_more(in);
            if (n == 0)
                return fault_set(fault, PHASE_BODY,
                                 "the server closed the connection %lld bytes too early",
                                 (long long)left);
            if (n < 0)
                return fault_errno(fault, PHASE_BODY, errno);
        }
        size_t n = in->end - in->at;
        if ((int64_t)n > left)
            n = (size_t)left;
        if (sink_put(sink, in->buf + in->at, n, fault) < 0)
            return -1;
        in->at += n;
        left -= (int64_t)n;
    }
    return 0;
}

/* "1a2b" or "1a2b ;name=value". Returns the size, or -1. */
static int64_t chunk_size(const char *line)
{
    char *end;
    errno = 0;
    long long size = isxdigit((unsigned char)*line) ? strtoll(line, &end, 16) : -1;
    if (size < 0 || errno || (line[0] == '0' && (line[1] == 'x' || line[1] == 'X')))
        return -1;
    end += strspn(end, " \t");
    return *end == 0 || *end == ';' ? size : -1;
}

static int chunks(struct input *in, struct sink *sink, struct fault *fault)
{
    char *line;
    for (;;) {
        if (!(line = line_take(in, PHASE_BODY, fault)))
            return -1;
        int64_t size = chunk_size(line);
        if (size < 0)
            return fault_set(fault, PHASE_BODY, "a chunk's size is not a number");
        if (size == 0)
            break;
        if (pass(in, size, sink, fault) < 0 || !(line = line_take(in, PHASE_BODY, fault)))
            return -1;
        if (*line)
            return fault_set(fault, PHASE_BODY, "a chunk is longer than its size says");
    }
    for (int i = 0; i < TRAILER_MAX; i++) {
        if (!(line = line_take(in, PHASE_BODY, fault)))
            return -1;
        if (!*line)
            return 0;
    }
    return fault_set(fault, PHASE_BODY, "the trailer is longer than %d lines", TRAILER_MAX);
}

static int until_close(struct input *in, struct sink *sink, struct fault *fault)
{
    ssize_t n;
    do {
        if (sink_put(sink, in->buf + in->at, in->end - in->at, fault) < 0)
            return -1;
        in->at = in->end;
    } while ((n = input_more(in)) > 0);
    return n < 0 ? fault_errno(fault, PHASE_BODY, errno) : 0;
}

int http_body(struct input *in, const struct response *r, struct sink *sink, struct fault *fault)
{
    if (r->chunked)
        return chunks(in, sink, fault);
    if (r->length >= 0)
        return pass(in, r->length, sink, fault);
    return until_close(in, sink, fault);
}
