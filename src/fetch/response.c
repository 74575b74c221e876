/* fetch/response.c - what a response says, and its body.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TEXT_BYTES = 64 * 1024 * 1024 };

int coir_response_status(const coir_response *r)
{
    return r->status;
}

int coir_response_header_at(const coir_response *r, size_t index, const char **name,
                            const char **value)
{
    for (size_t at = 0; at < r->head_bytes; index--) {
        const char *n = r->head + at, *v = n + strlen(n) + 1;
        if (index == 0) {
            *name = n;
            *value = v;
            return 0;
        }
        at = (size_t)(v + strlen(v) + 1 - r->head);
    }
    errno = ENOENT;
    return -1;
}

const char *coir_response_header(const coir_response *r, const char *name)
{
    for (size_t at = 0; at < r->head_bytes;) {
        const char *n = r->head + at, *v = n + strlen(n) + 1;
        if (strcasecmp(n, name) == 0)
            return v;
        at = (size_t)(v + strlen(v) + 1 - r->head);
    }
    return NULL;
}

const char *coir_response_url(const coir_response *r)
{
    return r->url;
}

const char *coir_response_http(const coir_response *r)
{
    static const char *const versions[] = { "1.0", "1.1", "2" };
    return versions[r->http];
}

/* By who has curl's calls. */
static void look_at_times(struct coir__transfer *t, void *times)
{
    curl_off_t connected = 0, secured = 0, sent = 0, first = 0, all = 0, bytes = 0;
    curl_easy_getinfo(t->easy, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(t->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
    curl_easy_getinfo(t->easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
    curl_easy_getinfo(t->easy, CURLINFO_STARTTRANSFER_TIME_T, &first);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME_T, &all);
    curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &bytes);
    *(coir_fetch_times *)times = (coir_fetch_times){ .connected_ns = connected * 1000,
                                                     .secured_ns = secured * 1000,
                                                     .sent_ns = sent * 1000,
                                                     .first_byte_ns = first * 1000,
                                                     .all_ns = all * 1000,
                                                     .body_bytes = (uint64_t)bytes };
}

void coir_response_times(coir_response *r, coir_fetch_times *times)
{
    int err = errno;
    coir__lane_lock(r->transfer.lane);
    coir__lane_look(&r->transfer, look_at_times, times);
    coir__lane_unlock(r->transfer.lane);
    errno = err;
}

static size_t take(struct coir_response *r, void *buf, size_t len)
{
    size_t held = r->end - r->start, n = held < len ? held : len;
    memcpy(buf, r->body + r->start, n);
    r->start += n;
    if (r->transfer.paused && r->end - r->start <= COIR__BODY_BYTES / 2) {
        r->transfer.paused = false;
        coir__lane_go_on(&r->transfer);
    }
    return n;
}

ssize_t coir_response_read(coir_response *r, void *buf, size_t len)
{
    struct coir__lane *lane = r->transfer.lane;
    size_t n = 0;
    int err = 0;
    coir__lane_lock(lane);
    while (r->start == r->end && !r->transfer.over && !err)
        if (coir__fetch_step(r) < 0)
            err = errno;
    if (r->start < r->end)
        n = take(r, buf, len);
    else if (!err && (r->transfer.result != CURLE_OK || r->failure))
        err = coir__fetch_errno(r);
    coir__lane_unlock(lane);
    return n || !err ? (ssize_t)n : coir__fetch_fail(r, r->url, NULL, err, NULL);
}

char *coir_response_text(coir_response *r, size_t *len)
{
    size_t most = r->options.text_bytes_max ? r->options.text_bytes_max : TEXT_BYTES;
    size_t cap = 4096, used = 0;
    char *text = malloc(cap + 1);
    ssize_t n = 0;
    int err = text ? 0 : ENOMEM;
    while (!err && (n = coir_response_read(r, text + used, cap - used)) > 0) {
        used += (size_t)n;
        if (used > most) {
            err = EFBIG;
        } else if (used == cap) {
            char *larger = realloc(text, 2 * cap + 1);
            if (!larger)
                err = ENOMEM;
            text = larger ? larger : text;
            cap *= larger ? 2 : 1;
        }
    }
    if (err)
        coir__fetch_fail(r, r->url, NULL, err,
                         err == EFBIG ? "the text is longer than is allowed" : "no memory");
    if (err || n < 0) {
        err = errno;
        free(text);
        errno = err;
        return NULL;
    }
    text[used] = 0;
    if (len)
        *len = used;
    return text;
}
