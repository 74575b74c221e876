/* fetch/fetch.c - coir_fetch: from a URL to the headers of the answer.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_KEPT = 32 * 1024 };

static coir_mutex beginning = COIR_MUTEX_INIT;
static _Atomic bool begun;

/* It makes OpenSSL read its files, and needs a thread's stack. */
static void *begin(void *arg)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? arg : coir_fail(ENOMEM);
}

/* Who comes after a failure tries again. */
static bool begin_once(void)
{
    if (begun)
        return true;
    coir_mutex_lock(&beginning);
    if (!begun) {
        COIR_SHIELD(COIR_NEVER)
            begun = coir_blocking(begin, NULL, NULL) == 0;
    }
    coir_mutex_unlock(&beginning);
    return begun;
}

static const char *wrong_option(const coir_fetch_options *o)
{
    const unsigned known = COIR_FETCH_NO_REDIRECT | COIR_FETCH_COOKIES | COIR_FETCH_PUBLIC_ONLY |
                           COIR_FETCH_RAW | COIR_FETCH_HTTP1 | COIR_FETCH_DOWNGRADE;
    for (size_t i = 0; i < sizeof o->reserved / sizeof *o->reserved; i++)
        if (o->reserved[i])
            return "a reserved option is not 0";
    if (o->flags & ~known)
        return "an unknown flag";
    if (o->body && o->body_read)
        return "two bodies";
    if (!o->body && !o->body_read && o->body_bytes)
        return "bytes without a body";
    if (o->flags & COIR_FETCH_PUBLIC_ONLY && o->proxy && *o->proxy)
        return "a proxy may lead anywhere, so not with COIR_FETCH_PUBLIC_ONLY";
    if (o->method && strcmp(o->method, "HEAD") == 0 && (o->body || o->body_read))
        return "HEAD has no body";
    if (o->method &&
        (!*o->method || strspn(o->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != strlen(o->method)))
        return "the method is no word in capitals";
    if (o->range && (!*o->range || strspn(o->range, "0123456789-,") != strlen(o->range)))
        return "the range is not of the form 0-99";
    if ((o->bearer && strpbrk(o->bearer, "\r\n")) || (o->user && strpbrk(o->user, "\r\n")))
        return "a line end in credentials";
    return NULL;
}

static void free_response(struct coir_response *r)
{
    if (r->transfer.easy)
        curl_easy_cleanup(r->transfer.easy);
    curl_slist_free_all(r->headers);
    curl_slist_free_all(r->resolve);
    free(r->url);
    free(r->head);
    free(r->body);
    free(r->upload);
    free(r);
}

/* What lies idle is what takes long to make: the easy handle, and buffers that are small. */
static void forget(struct coir_response *r)
{
    struct coir_response kept = { .transfer.easy = r->transfer.easy,
                                  .transfer.lane = r->transfer.lane,
                                  .based = r->based };
    if (r->head_cap <= BODY_KEPT) {
        kept.head = r->head;
        kept.head_cap = r->head_cap;
    } else {
        free(r->head);
    }
    if (r->cap <= BODY_KEPT) {
        kept.body = r->body;
        kept.cap = r->cap;
    } else {
        free(r->body);
    }
    if (!r->based)
        curl_easy_reset(r->transfer.easy); /* before what it may point at goes */
    else
        curl_easy_setopt(r->transfer.easy, CURLOPT_RESOLVE, NULL);
    curl_slist_free_all(r->headers);
    curl_slist_free_all(r->resolve);
    free(r->url);
    free(r->upload);
    *r = kept;
}

/* r, which is not attached, has done its duty. A handle whose transfer was broken off may have some
 * of its data left, which curl then takes for the next one's. One with cookies keeps them, and one
 * that was told a Host keeps that for its cookies. */
static void give_back(struct coir_response *r)
{
    struct coir__lane *lane = r->transfer.lane;
    bool clean = r->transfer.over && r->transfer.result == CURLE_OK &&
                 !(r->options.flags & COIR_FETCH_COOKIES) && !r->has_host;
    forget(r);
    coir__lane_lock(lane);
    bool kept = clean && coir__lane_keep(&r->transfer);
    coir__lane_unlock(lane);
    if (!kept)
        free_response(r);
    coir__lane_leave(lane);
}

/* An empty one, of the caller's lane. */
static struct coir_response *get_response(void)
{
    struct coir__lane *lane = coir__lane_enter();
    if (!lane)
        return NULL;
    coir__lane_lock(lane);
    struct coir_response *r = (struct coir_response *)coir__lane_take(lane);
    coir__lane_unlock(lane);
    if (r)
        return r;
    r = calloc(1, sizeof *r);
    if (r && (r->transfer.easy = curl_easy_init())) {
        r->transfer.lane = lane;
        return r;
    }
    free(r);
    coir__lane_leave(lane);
    return NULL;
}

static struct coir_response *new_response(const char *url, const coir_fetch_options *options)
{
    struct coir_response *r = get_response();
    if (!r)
        return NULL;
    if (options)
        r->options = *options;
    r->asked = url;
    bool body = r->options.body || r->options.body_read;
    r->method = r->options.method ? r->options.method : body ? "POST" : "GET";
    r->guarded = r->options.flags & COIR_FETCH_PUBLIC_ONLY;
    if (r->options.body_read && !(r->upload = malloc(COIR__UPLOAD_BYTES))) {
        give_back(r);
        return NULL;
    }
    return r;
}

/* The next piece of the request's body; with the lock, but the program's function without it. */
static void feed(struct coir_response *r)
{
    struct coir__lane *lane = r->transfer.lane;
    coir__lane_unlock(lane);
    errno = EIO;
    ssize_t n = r->options.body_read(r->options.body_arg, r->upload, COIR__UPLOAD_BYTES);
    int err = errno;
    coir__lane_lock(lane);
    uint64_t sum = r->upload_sum + (n > 0 ? (uint64_t)n : 0), said = r->options.body_bytes;
    if (n < 0 || n > COIR__UPLOAD_BYTES) {
        r->failure = n < 0 && err ? err : EIO;
        r->why = "the request's body could not be read";
    } else if (said && (sum > said || (n == 0 && sum < said))) {
        /* Who sends more than was said sends the beginning of another request. */
        r->failure = EINVAL;
        r->why = "the request's body is not as long as was said";
    }
    r->upload_sum = sum;
    r->upload_over = n == 0;
    r->upload_start = 0;
    r->upload_end = n > 0 && !r->failure ? (size_t)n : 0;
    r->upload_wanted = false; /* curl may have asked again meanwhile */
    coir__lane_go_on(&r->transfer);
}

int coir__fetch_step(struct coir_response *r)
{
    if (!r->upload_wanted)
        return coir__lane_wait(&r->transfer);
    feed(r);
    return 0;
}

/* One request: until its headers are here, or it is over. */
static int request(struct coir_response *r)
{
    struct coir__lane *lane = r->transfer.lane;
    int err = 0;
    r->head_over = r->redirecting = r->transfer.paused = r->not_public = false;
    r->upload_wanted = r->upload_over = false;
    r->upload_start = r->upload_end = r->upload_sum = 0;
    r->head_bytes = r->head_sum = r->body_sum = 0;
    r->failure = r->status = 0;
    coir__lane_lock(lane);
    coir__lane_start(&r->transfer);
    while (!r->head_over && !r->transfer.over && !err)
        if (coir__fetch_step(r) < 0)
            err = errno;
    if (err || !r->head_over) /* also of one that is over a wish may be left */
        coir__lane_withdraw(&r->transfer);
    coir__lane_unlock(lane);
    if (err) {
        errno = err;
        return -1;
    }
    if (r->head_over || r->redirecting)
        return 0;
    if (r->transfer.result == CURLE_OK && !r->failure) { /* its 401 was the last word */
        r->head_over = true;
        return 0;
    }
    errno = coir__fetch_errno(r);
    return -1;
}

/* As in give_back(): a handle that knows nothing. */
static int renew(struct coir_response *r)
{
    CURL *easy = curl_easy_init();
    if (!easy) {
        r->phase = "redirect";
        r->why = "no memory";
        errno = ENOMEM;
        return -1;
    }
    curl_easy_cleanup(r->transfer.easy);
    r->transfer.easy = easy;
    r->based = false;
    return 0;
}

static int fetch(struct coir_response *r)
{
    const char *url = r->asked;
    char *next = NULL;
    int result;
    do {
        result = coir__request_prepare(r, url);
        if (result == 0)
            result = request(r);
        free(next);
        next = NULL;
        if (result < 0 || !r->redirecting)
            break;
        r->based &= r->transfer.result == CURLE_OK; /* as in give_back() */
        result = coir__follow(r, &next);
        if (result == 0 && r->has_host)
            result = renew(r);
        url = next;
    } while (result == 0);
    free(next);
    return result;
}

int coir_fetch(const char *url, const coir_fetch_options *options, coir_response **response)
{
    const char *wrong = options ? wrong_option(options) : NULL;
    if (!url || !response)
        wrong = "no URL, or nowhere to put the answer";
    if (wrong)
        return coir__fetch_fail(NULL, url, options, EINVAL, wrong);
    if (!begin_once())
        return coir__fetch_fail(NULL, url, options, ENOMEM, "curl does not start");
    struct coir_response *r = new_response(url, options);
    if (!r)
        return coir__fetch_fail(NULL, url, options, ENOMEM, "no memory");
    if (fetch(r) < 0) {
        coir__fetch_fail(r, url, options, errno, NULL);
        int err = errno;
        give_back(r);
        errno = err;
        return -1;
    }
    r->options.error = NULL; /* and what else was lent */
    r->asked = NULL;
    *response = r;
    return 0;
}

void coir_response_free(coir_response *r)
{
    int err = errno;
    if (!r)
        return;
    coir__lane_lock(r->transfer.lane);
    coir__lane_withdraw(&r->transfer);
    coir__lane_unlock(r->transfer.lane);
    give_back(r);
    errno = err;
}
