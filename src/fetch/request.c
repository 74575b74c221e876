/* fetch/request.c - from options to curl's.
 * SPDX-License-Identifier: MIT */
#include "fetch.h"
#include "names.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* What fetches share, whatever their lane: TLS sessions, and cookies if they ask for them. */
static CURLSH *shared, *shared_cookies;
static coir_once_flag sharing = COIR_ONCE_INIT;
static pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];

/* For some instructions, and never over a park: a plain mutex will do. */
static void lock_share(CURL *easy, curl_lock_data data, curl_lock_access access, void *arg)
{
    (void)easy, (void)access, (void)arg;
    pthread_mutex_lock(&share_locks[data]);
}

static void unlock_share(CURL *easy, curl_lock_data data, void *arg)
{
    (void)easy, (void)arg;
    pthread_mutex_unlock(&share_locks[data]);
}

static CURLSH *new_share(bool cookies)
{
    CURLSH *share = curl_share_init();
    if (!share)
        return NULL;
    curl_share_setopt(share, CURLSHOPT_LOCKFUNC, lock_share);
    curl_share_setopt(share, CURLSHOPT_UNLOCKFUNC, unlock_share);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    if (cookies)
        curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    return share;
}

static void begin_sharing(void)
{
    for (int i = 0; i < CURL_LOCK_DATA_LAST; i++)
        pthread_mutex_init(&share_locks[i], NULL);
    shared = new_share(false);
    shared_cookies = new_share(true);
}

static int refuse(struct coir_response *r, int err, const char *why)
{
    r->why = why;
    errno = err;
    return -1;
}

static bool is_header(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncasecmp(line, name, len) == 0 && line[len] == ':';
}

/* Those that speak of a body, or for one host. */
static bool is_kept(const struct coir_response *r, const char *line)
{
    static const char *const of_host[] = { "Authorization", "Cookie", "Host",
                                           "Proxy-Authorization" };
    if (r->dropped_body && (strncasecmp(line, "Content-", 8) == 0 ||
                            is_header(line, "Transfer-Encoding") || is_header(line, "Expect")))
        return false;
    for (size_t i = 0; r->other_host && i < sizeof of_host / sizeof *of_host; i++)
        if (is_header(line, of_host[i]))
            return false;
    return true;
}

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

static bool is_sound(const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon || colon == line)
        return false;
    for (const char *p = line; p < colon; p++)
        if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
            return false;
    return !strpbrk(line, "\r\n");
}

/* curl sends "Name: " only when told "Name;". */
static int set_headers(struct coir_response *r)
{
    bool typed = false, expects = false;
    curl_slist_free_all(r->headers);
    r->headers = NULL;
    for (const char *const *line = r->options.headers; line && *line; line++) {
        if (!is_sound(*line))
            return refuse(r, EINVAL, "a header is not of the form Name: value, in one line");
        typed |= is_header(*line, "Content-Type");
        expects |= is_header(*line, "Expect");
        r->has_host |= is_header(*line, "Host");
        if (is_kept(r, *line) && !append(&r->headers, *line))
            return refuse(r, ENOMEM, "no memory");
    }
    /* Otherwise curl would call every body a form, and wait for the server to ask for it. */
    if ((!typed && !append(&r->headers, "Content-Type:")) ||
        (!expects && !append(&r->headers, "Expect:")))
        return refuse(r, ENOMEM, "no memory");
    curl_easy_setopt(r->transfer.easy, CURLOPT_HTTPHEADER, r->headers);
    return 0;
}

static bool has_body(const struct coir_response *r)
{
    return !r->dropped_body && (r->options.body || r->options.body_read);
}

static void set_body(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    const char *method = r->method;
    if (strcmp(method, "HEAD") == 0 && !has_body(r)) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (has_body(r)) {
        curl_off_t bytes = (curl_off_t)r->options.body_bytes;
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->options.body);
        if (r->options.body_read && !bytes)
            bytes = -1; /* chunked */
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, bytes);
    }
    if (strcmp(method, has_body(r) ? "POST" : "GET") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_credentials(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    if (r->other_host)
        return;
    if (r->options.user) {
        curl_easy_setopt(easy, CURLOPT_USERPWD, r->options.user);
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)(CURLAUTH_BASIC | CURLAUTH_DIGEST));
    }
    if (r->options.bearer) {
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, r->options.bearer);
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
    }
}

static void set_tls(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    if (r->options.ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, r->options.ca_file); /* CURLOPT_CAPATH stays */
    if (r->other_host)
        return;
    if (r->options.cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, r->options.cert_file);
    if (r->options.key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, r->options.key_file);
}

/* Only for connections of its own, since one that is there may lead anywhere. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    struct coir_response *r = arg;
    (void)purpose;
    if (r->guarded && !coir__names_public(&addr->addr)) {
        r->not_public = true; /* curl tries the next address */
        return CURL_SOCKET_BAD;
    }
    return socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
}

/* What all requests have: a handle keeps it from one to the next. */
static void set_base(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    curl_easy_reset(easy);
    coir__lane_adopt(&r->transfer);
    coir__receive_from(r);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "coir/0.1");
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, r);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_SHARE, shared);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
}

static bool is_special(const struct coir_response *r)
{
    const coir_fetch_options *o = &r->options;
    return o->method || o->headers || o->body || o->body_read || o->flags || o->user || o->bearer ||
           o->ca_file || o->cert_file || o->key_file || o->range || r->redirects;
}

static void set_flags(struct coir_response *r)
{
    CURL *easy = r->transfer.easy;
    unsigned flags = r->options.flags;
    if (flags & COIR_FETCH_RAW || r->options.range)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, NULL);
    if (r->options.range)
        curl_easy_setopt(easy, CURLOPT_RANGE, r->options.range);
    if (flags & COIR_FETCH_HTTP1)
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)r->guarded);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)r->guarded);
    if (flags & COIR_FETCH_COOKIES && shared_cookies) {
        curl_easy_setopt(easy, CURLOPT_SHARE, shared_cookies);
        curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "");
    }
}

/* A part of a URL; NULL: it has none. To be freed by curl_free. */
static char *part(CURLU *url, CURLUPart what)
{
    char *text = NULL;
    curl_url_get(url, what, &text, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);
    return text;
}

/* Have host, at port, be found by curl where we have found it. */
static int resolve(struct coir_response *r, const char *host, const char *port)
{
    char addresses[COIR__ADDRESSES_BYTES];
    char line[COIR__ADDRESSES_BYTES + 300];
    for (const char *p = host; *p; p++)
        if ((unsigned char)*p >= 0x80)
            return 0; /* curl knows how such a name is asked for */
    r->phase = "resolve";
    if (coir__names_find(host, addresses, &r->why) < 0)
        return -1;
    r->phase = "request";
    if (!addresses[0])
        return 0;
    int n = snprintf(line, sizeof line, "+%s:%s:%s", host, port, addresses);
    if (n < 0 || (size_t)n >= sizeof line || !append(&r->resolve, line))
        return refuse(r, ENOMEM, "no memory");
    return 0;
}

/* Is there anything of the kind in the environment? Seldom, and that costs one look at it. */
static bool has_proxies(void)
{
    for (char **e = environ; e && *e; e++) {
        const char *equals = strchr(*e, '=');
        if (equals && equals - *e >= 6 && strncasecmp(equals - 6, "_proxy", 6) == 0)
            return true;
    }
    return false;
}

/* What the environment says about scheme's proxy, as curl understands it. */
static const char *proxy_of(const struct coir_response *r, const char *scheme)
{
    const char *proxy = r->options.proxy;
    if (r->guarded || (!proxy && !has_proxies()))
        return "";
    if (proxy)
        return proxy;
    bool https = strcmp(scheme, "https") == 0;
    /* http_proxy not in capitals: those are set by who asks a CGI program. */
    const char *const names[] = { https ? "https_proxy" : "http_proxy", https ? "HTTPS_PROXY" : "",
                                  "all_proxy", "ALL_PROXY" };
    for (size_t i = 0; i < sizeof names / sizeof *names && (!proxy || !*proxy); i++)
        proxy = *names[i] ? getenv(names[i]) : NULL;
    return proxy ? proxy : "";
}

static int resolve_proxy(struct coir_response *r, const char *proxy)
{
    CURLU *url = curl_url();
    int result = -1;
    if (!url)
        return refuse(r, ENOMEM, "no memory");
    if (curl_url_set(url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) !=
        CURLUE_OK) {
        refuse(r, EINVAL, "the proxy is no URL");
    } else {
        char *host = part(url, CURLUPART_HOST), *port = NULL;
        curl_url_get(url, CURLUPART_PORT, &port, 0);
        result = host ? resolve(r, host, port ? port : "1080") : refuse(r, EINVAL, "no proxy");
        curl_free(host);
        curl_free(port);
    }
    curl_url_cleanup(url);
    return result;
}

/* By a proxy, its name only: it finds the host by itself. That there is one for a host which
 * no_proxy excepts curl knows better; it then finds the host by a thread of its own. */
static int set_addresses(struct coir_response *r, CURLU *url, const char *scheme)
{
    const char *proxy = proxy_of(r, scheme);
    char *host = part(url, CURLUPART_HOST), *port = part(url, CURLUPART_PORT);
    int result;
    if (proxy[0]) {
        curl_easy_setopt(r->transfer.easy, CURLOPT_PROXY, proxy);
        if (r->options.proxy) /* whatever no_proxy says */
            curl_easy_setopt(r->transfer.easy, CURLOPT_NOPROXY, "");
        r->based = false;
    }
    if (!host || !port)
        result = refuse(r, EINVAL, "the URL has no host");
    else if (proxy[0])
        result = resolve_proxy(r, proxy);
    else
        result = resolve(r, host, port);
    curl_free(host);
    curl_free(port);
    return result;
}

/* Without what nobody else needs to know. */
static char *without_secrets(CURLU *url)
{
    CURLU *bare = curl_url_dup(url);
    char *text = NULL, *copy;
    if (bare && !curl_url_set(bare, CURLUPART_USER, NULL, 0) &&
        !curl_url_set(bare, CURLUPART_PASSWORD, NULL, 0))
        curl_url_get(bare, CURLUPART_URL, &text, 0);
    curl_url_cleanup(bare);
    copy = text ? strdup(text) : NULL;
    curl_free(text);
    return copy;
}

/* Any URL, as curl understands it. */
static int read_url(struct coir_response *r, const char *given)
{
    CURLU *url = curl_url();
    int result;
    if (url && curl_url_set(url, CURLUPART_URL, given, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
        char *scheme = part(url, CURLUPART_SCHEME);
        r->url = without_secrets(url);
        if (!r->url)
            result = refuse(r, ENOMEM, "no memory");
        else if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
            result = refuse(r, EPROTONOSUPPORT, "neither http nor https");
        else
            result = set_addresses(r, url, scheme);
        curl_free(scheme);
    } else {
        result = refuse(r, url ? EINVAL : ENOMEM, url ? "not a URL" : "no memory");
    }
    curl_url_cleanup(url);
    return result;
}

/* The usual one, http(s)://host:port/..., is read here, since curl takes microseconds for it.
 * False: it is not of that kind. */
static bool read_plain_url(struct coir_response *r, const char *given, int *result)
{
    char host[256], port[6] = "80";
    const char *scheme = "http", *at = given + 7;
    if (strncmp(given, "https://", 8) == 0) {
        scheme = "https";
        at = given + 8;
        strcpy(port, "443");
    } else if (strncmp(given, "http://", 7) != 0) {
        return false;
    }
    size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789.-");
    if (len == 0 || len >= sizeof host || proxy_of(r, scheme)[0])
        return false;
    memcpy(host, at, len);
    host[len] = 0;
    at += len;
    if (*at == ':') {
        len = strspn(++at, "0123456789");
        if (len == 0 || len >= sizeof port)
            return false;
        memcpy(port, at, len);
        port[len] = 0;
        at += len;
        if (atoi(port) > 65535)
            return false;
    }
    if (*at && *at != '/')
        return false;
    r->url = strdup(given);
    *result = r->url ? resolve(r, host, port) : refuse(r, ENOMEM, "no memory");
    return true;
}

static int set_url(struct coir_response *r, const char *given)
{
    int result;
    for (const char *p = given; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return refuse(r, EINVAL, "the URL has a blank or a control character in it");
    free(r->url);
    r->url = NULL;
    curl_slist_free_all(r->resolve);
    r->resolve = NULL;
    if (!read_plain_url(r, given, &result))
        result = read_url(r, given);
    curl_easy_setopt(r->transfer.easy, CURLOPT_RESOLVE, r->resolve);
    if (result < 0)
        return -1;
    /* Rather than begin a connection, wait for one that may turn out to carry many: TLS tells
     * early. */
    curl_easy_setopt(r->transfer.easy, CURLOPT_PIPEWAIT, (long)(strncmp(r->url, "https", 5) == 0));
    curl_easy_setopt(r->transfer.easy, CURLOPT_URL, given);
    return 0;
}

int coir__request_prepare(struct coir_response *r, const char *url)
{
    coir_once(&sharing, begin_sharing);
    r->phase = "request";
    r->why = NULL;
    r->error[0] = 0;
    if (!r->based)
        set_base(r);
    r->based = !is_special(r);
    if (!r->based) {
        set_flags(r);
        set_tls(r);
        set_body(r);
        set_credentials(r);
        if (set_headers(r) < 0)
            return -1;
    }
    if (set_url(r, url) < 0)
        return -1;
    r->phase = NULL;
    return 0;
}
