/* fetch/follow.c - redirects: where to, and what goes along.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REDIRECTS = 10 };

static int refuse(struct coir_response *r, int err, const char *why)
{
    r->phase = "redirect";
    r->why = why;
    errno = err;
    return -1;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart what)
{
    char *x = NULL, *y = NULL;
    curl_url_get(a, what, &x, CURLU_DEFAULT_PORT);
    curl_url_get(b, what, &y, CURLU_DEFAULT_PORT);
    bool same = x && y && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

static bool is_https(CURLU *url)
{
    char *scheme = NULL;
    curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    bool yes = scheme && strcmp(scheme, "https") == 0;
    curl_free(scheme);
    return yes;
}

/* As browsers do it, and RFC 9110 allows. */
static int choose_method(struct coir_response *r)
{
    bool has_body = !r->dropped_body && (r->options.body || r->options.body_read);
    bool becomes_get = r->status == 303 ||
                       ((r->status == 301 || r->status == 302) && strcmp(r->method, "POST") == 0);
    if (becomes_get) {
        if (strcmp(r->method, "HEAD") != 0)
            r->method = "GET";
        r->dropped_body = true;
    } else if (has_body && r->options.body_read) {
        return refuse(r, EPIPE, "a redirect asks for the body again, which can be read only once");
    }
    return 0;
}

static int judge(struct coir_response *r, CURLU *first, CURLU *last, CURLU *to)
{
    if (!to)
        return refuse(r, EPROTO, "a redirect leads to no URL");
    if (!first || !last)
        return refuse(r, ENOMEM, "no memory");
    if (is_https(last) && !is_https(to) && !(r->options.flags & COIR_FETCH_DOWNGRADE))
        return refuse(r, EPROTO, "a redirect leads from https to http");
    r->other_host = !same_part(first, to, CURLUPART_HOST) ||
                    !same_part(first, to, CURLUPART_PORT) ||
                    !same_part(first, to, CURLUPART_SCHEME);
    return choose_method(r);
}

static CURLU *parse(const char *text)
{
    CURLU *url = curl_url();
    if (url && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME)) {
        curl_url_cleanup(url);
        url = NULL;
    }
    return url;
}

int coir__follow(struct coir_response *r, char **url)
{
    unsigned most = r->options.redirects_max ? r->options.redirects_max : REDIRECTS;
    char *to = NULL;
    if (++r->redirects > most)
        return refuse(r, ELOOP, "too many redirects");
    curl_easy_getinfo(r->transfer.easy, CURLINFO_REDIRECT_URL, &to);
    if (!to)
        return refuse(r, EPROTO, "a redirect leads to no URL");
    CURLU *first = parse(r->asked), *last = parse(r->url), *next = parse(to);
    int result = judge(r, first, last, next);
    curl_url_cleanup(first);
    curl_url_cleanup(last);
    curl_url_cleanup(next);
    if (result == 0 && !(*url = strdup(to)))
        result = refuse(r, ENOMEM, "no memory");
    return result;
}
