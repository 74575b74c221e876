/* fetch/error.c - failures as sentences: which URL, which phase, and why.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_BYTES = 1024 };

static coir_key last;
static coir_once_flag making_key = COIR_ONCE_INIT;

static void make_key(void)
{
    if (coir_key_create(&last, free) < 0)
        last = 0;
}

static char *sentence(void)
{
    coir_once(&making_key, make_key);
    char *text = coir_getspecific(last);
    if (text || !last || !(text = calloc(1, SENTENCE_BYTES)))
        return text;
    if (coir_setspecific(last, text) < 0) {
        free(text);
        text = NULL;
    }
    return text;
}

const char *coir_fetch_error(void)
{
    coir_once(&making_key, make_key);
    const char *text = last ? coir_getspecific(last) : NULL;
    return text ? text : "";
}

static const char *by_result(const struct coir_response *r)
{
    switch (r->transfer.result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "resolve";
    case CURLE_COULDNT_CONNECT:
        return "connect";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_USE_SSL_FAILED:
        return "TLS";
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_READ_ERROR:
    case CURLE_ABORTED_BY_CALLBACK:
        return "send";
    default:
        return NULL;
    }
}

/* How far did it get? */
static const char *by_time(const struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    curl_off_t connected = 0, secured = 0, sent = 0;
    curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &secured);
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
    if (!connected && !sent)
        return "connect";
    if (!secured && !sent && r->url && strncmp(r->url, "https:", 6) == 0)
        return "TLS";
    return sent ? "receive" : "send";
}

static const char *phase(const struct coir_response *r)
{
    if (r->phase)
        return r->phase;
    if (r->transfer.attached) /* its body, and curl is not to be asked now */
        return "receive";
    const char *by = r->transfer.over ? by_result(r) : NULL;
    return by ? by : by_time(r);
}

/* What connect(2) said. Of other calls curl does not always tell, and keeps what an older one said.
 */
static int connect_errno(const struct coir_response *r)
{
    long err = 0;
    curl_easy_getinfo(r->transfer.easy, CURLINFO_OS_ERRNO, &err);
    return err ? (int)err : ECONNREFUSED;
}

int coir__fetch_errno(const struct coir_response *r)
{
    if (r->failure)
        return r->failure;
    switch (r->transfer.result) {
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return EINVAL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return r->not_public ? EACCES : connect_errno(r);
    case CURLE_OPERATION_TIMEDOUT:
        return ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY: /* also a header that is longer than curl takes */
        return r->status && !r->head_over ? EFBIG : ENOMEM;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return EKEYREJECTED;
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
        return ECONNRESET;
    case CURLE_RECV_ERROR: /* also a body in chunks that are none */
        return strstr(r->error, "chunk") ? EPROTO : ECONNRESET;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL: /* an answer of HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PROXY:
        return EPROTO;
    case CURLE_SEND_FAIL_REWIND: /* the server wants to know who asks, and the body again */
        return EPIPE;
    default:
        return EIO;
    }
}

static const char *cause(const struct coir_response *r, int err)
{
    if (r->phase && r->why)
        return r->why;
    if (err == EACCES && r->not_public)
        return "its address is not public";
    if (err == ETIMEDOUT && !r->transfer.over)
        return "the deadline has passed";
    if (err == ECANCELED)
        return "cancelled";
    if (r->failure || r->phase || !r->transfer.over)
        return r->why ? r->why : strerror(err);
    return r->error[0] ? r->error : curl_easy_strerror(r->transfer.result);
}

/* What is before an @ is left out, also of a URL that is none. */
static const char *without_secrets(const char *url, char bare[512])
{
    const char *slashes = strstr(url, "//"), *host = slashes ? slashes + 2 : url, *at = NULL;
    for (const char *p = host; *p && *p != '/' && *p != '?' && *p != '#'; p++)
        if (*p == '@')
            at = p;
    if (!at)
        return url;
    snprintf(bare, 512, "%.*s%.400s", (int)(host - url < 100 ? host - url : 100), url, at + 1);
    return bare;
}

int coir__fetch_fail(struct coir_response *r, const char *url, const coir_fetch_options *options,
                     int err, const char *why)
{
    char text[SENTENCE_BYTES];
    char *kept = sentence();
    char bare[512];
    const char *at = r && r->url ? r->url : without_secrets(url ? url : "(null)", bare);
    snprintf(text, sizeof text, "%.500s: %s: %s", at, r ? phase(r) : "request",
             why ? why : cause(r, err));
    for (char *p = text; *p; p++)
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    if (kept)
        memcpy(kept, text, sizeof text);
    if (options && options->error && options->error_bytes)
        snprintf(options->error, options->error_bytes, "%s", text);
    errno = err;
    return -1;
}
