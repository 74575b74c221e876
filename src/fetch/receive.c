/* fetch/receive.c - what curl calls while a transfer goes on, on the lane's driver: headers, body,
 * and the request's body.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    HEADER_BYTES = 256 * 1024,
    GROWTH = 200,
    GROWN_BYTES = 16 * 1024 * 1024, /* less may have grown by any factor */
    THROWN_AWAY = 256 * 1024        /* of a redirect's body, to keep the connection */
};

static void changed(struct coir_response *r)
{
    coir_cond_broadcast(&r->transfer.changed);
}

static void fail(struct coir_response *r, int err, const char *why)
{
    if (r->failure)
        return;
    r->failure = err;
    r->why = why;
}

static bool grow(char **at, size_t *cap, size_t bytes)
{
    size_t more = *cap ? *cap : 512;
    while (more < bytes)
        more *= 2;
    if (more == *cap)
        return true;
    char *larger = realloc(*at, more);
    if (!larger)
        return false;
    *at = larger;
    *cap = more;
    return true;
}

static bool is_redirect(const struct coir_response *r)
{
    bool leads = r->status == 301 || r->status == 302 || r->status == 303 || r->status == 307 ||
                 r->status == 308;
    const char *to = coir_response_header(r, "Location");
    return leads && !(r->options.flags & COIR_FETCH_NO_REDIRECT) && to && *to;
}

/* The answer may be a question about who asks, which curl answers by itself. */
static bool may_ask_back(const struct coir_response *r)
{
    bool expects = r->status == 417 && (r->options.body || r->options.body_read);
    return (r->status == 401 && r->options.user) || r->status == 407 || expects;
}

static void begin_head(struct coir_response *r, const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    r->head_bytes = 0;
    r->status = 0;
    r->http = len > 5 && line[5] != '1' ? 2 : len > 7 && line[7] == '0' ? 0 : 1;
    for (const char *p = space ? space + 1 : line + len;
         p < line + len && isdigit((unsigned char)*p) && r->status < 1000; p++)
        r->status = r->status * 10 + (*p - '0');
}

/* The answer is here. With the lock. */
static void begin_answer(struct coir_response *r)
{
    r->head_over = true;
    changed(r);
}

static void end_head(struct coir_response *r)
{
    if (r->status < 200 && r->status != 101)
        return;
    if (is_redirect(r)) {
        r->redirecting = true;
    } else if (!may_ask_back(r)) {
        coir__lane_lock(r->transfer.lane);
        begin_answer(r);
        coir__lane_unlock(r->transfer.lane);
    }
}

static bool add_header(struct coir_response *r, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return true;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    size_t name_bytes = (size_t)(colon - line), value_bytes = (size_t)(end - value);
    if (!grow(&r->head, &r->head_cap, r->head_bytes + name_bytes + value_bytes + 2))
        return false;
    char *at = r->head + r->head_bytes;
    memcpy(at, line, name_bytes);
    at[name_bytes] = 0;
    memcpy(at + name_bytes + 1, value, value_bytes);
    at[name_bytes + 1 + value_bytes] = 0;
    r->head_bytes += name_bytes + value_bytes + 2;
    return true;
}

static size_t refuse_head(struct coir_response *r, int err, const char *why)
{
    coir__lane_lock(r->transfer.lane);
    fail(r, err, why);
    coir__lane_unlock(r->transfer.lane);
    return 0;
}

/* Until they are complete nobody else looks at them, so this takes no lock for each line. What
 * comes after the body, trailers, is left out. */
static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct coir_response *r = arg;
    (void)one;
    size_t most = r->options.header_bytes_max ? r->options.header_bytes_max : HEADER_BYTES;
    r->head_sum += len;
    if (r->head_sum > most)
        return refuse_head(r, EFBIG, "the headers are longer than is allowed");
    if (r->head_over)
        return len;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
        begin_head(r, line, len);
    else if (len <= 2 && (line[0] == '\r' || line[0] == '\n'))
        end_head(r);
    else if (!add_header(r, line, len))
        return refuse_head(r, ENOMEM, "no memory for the headers");
    return len;
}

/* Has it grown more by decompression than an honest body does? */
static bool has_exploded(const struct coir_response *r)
{
    curl_off_t sent = 0;
    uint64_t factor = r->options.growth_max ? r->options.growth_max : GROWTH;
    if (r->body_sum <= GROWN_BYTES)
        return false;
    curl_easy_getinfo(r->transfer.easy, CURLINFO_SIZE_DOWNLOAD_T, &sent);
    return r->body_sum / factor > (uint64_t)sent;
}

static size_t take_body(struct coir_response *r, const char *bytes, size_t len)
{
    size_t held = r->end - r->start;
    if (r->transfer.withdrawn)
        return len;
    if (r->redirecting) {
        r->body_sum += len;
        return r->body_sum > THROWN_AWAY ? 0 : len;
    }
    if (!r->head_over)
        begin_answer(r);
    if (held && held + len > COIR__BODY_BYTES) {
        r->transfer.paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    r->body_sum += len;
    if (r->options.body_bytes_max && r->body_sum > r->options.body_bytes_max)
        fail(r, EFBIG, "the body is longer than is allowed");
    else if (has_exploded(r))
        fail(r, EFBIG, "the body grows too much by decompression");
    if (r->failure)
        return 0;
    if (r->start) {
        memmove(r->body, r->body + r->start, held);
        r->start = 0;
        r->end = held;
    }
    if (!grow(&r->body, &r->cap, held + len)) {
        fail(r, ENOMEM, "no memory for the body");
        return 0;
    }
    memcpy(r->body + r->end, bytes, len);
    r->end += len;
    changed(r);
    return len;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct coir_response *r = arg;
    (void)one;
    coir__lane_lock(r->transfer.lane);
    size_t taken = take_body(r, bytes, len);
    coir__lane_unlock(r->transfer.lane);
    return taken;
}

/* Who fetches fills the buffer: the program's function may park, and must not keep the lane. */
static size_t on_upload(char *to, size_t one, size_t len, void *arg)
{
    struct coir_response *r = arg;
    size_t bytes = one * len;
    coir__lane_lock(r->transfer.lane);
    size_t held = r->upload_end - r->upload_start;
    if (held == 0 && r->failure) {
        bytes = CURL_READFUNC_ABORT;
    } else if (held == 0 && r->upload_over) {
        bytes = 0;
    } else if (held == 0) {
        r->upload_wanted = true;
        changed(r);
        bytes = CURL_READFUNC_PAUSE;
    } else {
        bytes = held < bytes ? held : bytes;
        memcpy(to, r->upload + r->upload_start, bytes);
        r->upload_start += bytes;
    }
    coir__lane_unlock(r->transfer.lane);
    return bytes;
}

void coir__receive_from(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
    curl_easy_setopt(easy, CURLOPT_READDATA, r);
}
