/* fetch_many/fetch.c - one fiber of fetch_many: URL after URL, in the order a person would do it.
 * SPDX-License-Identifier: MIT
 *
 * Connect, send, read the header, read the body: each step is a call that returns when it is done,
 * and a deadline around all four bounds them. That a thousand fibers do this at once on one OS
 * thread shows nowhere in this file. */
#include "fetch.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

/* An error page is read to its end, to keep the connection, up to this size. */
#define ERROR_PAGE_MAX 65536

/* exchange(): a kept connection was dead; another one may do better. */
#define STALE 1

struct kept {
    int fd; /* -1: free */
    char host[sizeof((struct url *)0)->host];
    char port[sizeof((struct url *)0)->port];
};

/* A fiber's own things; they live on its stack. */
struct fetcher {
    struct job *job;
    struct kept kept[KEPT_MAX]; /* the most recently used one first */
    struct input in;
};

/* A connection that waits for a request has nothing to say: bytes would be taken for an answer. */
static bool is_silent(int fd)
{
    char byte;
    return coir_recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Take the kept connection to url's server out of the list; -1: there is none to use. */
static int kept_take(struct fetcher *f, const struct url *url)
{
    for (int i = 0; i < KEPT_MAX; i++) {
        struct kept *k = &f->kept[i];
        if (k->fd < 0 || strcmp(k->host, url->host) != 0 || strcmp(k->port, url->port) != 0)
            continue;
        int fd = k->fd;
        memmove(k, k + 1, sizeof *k * (size_t)(KEPT_MAX - 1 - i));
        f->kept[KEPT_MAX - 1].fd = -1;
        if (is_silent(fd))
            return fd;
        coir_close(fd);
        return -1;
    }
    return -1;
}

/* Keep fd; the connection that was unused for the longest time makes room for it. */
static void kept_put(struct fetcher *f, const struct url *url, int fd)
{
    struct kept *last = &f->kept[KEPT_MAX - 1];
    if (last->fd >= 0)
        coir_close(last->fd);
    memmove(f->kept + 1, f->kept, sizeof *last * (KEPT_MAX - 1));
    f->kept[0].fd = fd;
    memcpy(f->kept[0].host, url->host, sizeof url->host);
    memcpy(f->kept[0].port, url->port, sizeof url->port);
}

static int send_request(int fd, const struct url *url)
{
    char request[URL_MAX + 256];
    int len = snprintf(request, sizeof request,
                       "GET /%.*s HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "User-Agent: coir-fetch_many\r\n"
                       "Accept: */*\r\n"
                       "Connection: keep-alive\r\n"
                       "\r\n",
                       (int)url->target_len, url->target, url->authority);
    return coir_write_all(fd, request, (size_t)len) < 0 ? -1 : 0;
}

/* Read the body of an answer that is not the page, so that the connection can serve the next URL.
 */
static int skip_error_page(struct fetcher *f, const struct response *r, struct fault *fault)
{
    _Atomic int64_t nowhere = 0;
    struct sink sink = { .dir = -1, .file = -1, .live = &nowhere };
    struct fault ignored;
    bool kept = r->keep && !r->chunked && r->length <= ERROR_PAGE_MAX &&
                http_body(&f->in, r, &sink, &ignored) == 0 && f->in.at == f->in.end;
    fault_set(fault, PHASE_STATUS, "%d %s", r->status, r->reason);
    return kept ? 0 : -1;
}

/* One request and its answer on fd. *keep tells whether fd can serve another.
 * Returns 0; -1 with the fault; STALE when reused was true and the server has not said a word. */
static int exchange(struct fetcher *f, int fd, bool reused, const struct url *url, size_t index,
                    bool *keep, struct fault *fault)
{
    struct response r;
    *keep = false;
    input_start(&f->in, fd);
    if (send_request(fd, url) < 0) {
        fault_errno(fault, PHASE_SEND, errno);
        return reused && !coir_deadline_passed() ? STALE : -1;
    }
    if (http_head(&f->in, &r, fault) < 0)
        return reused && !f->in.seen && !coir_deadline_passed() ? STALE : -1;
    if (r.status / 100 != 2) {
        *keep = skip_error_page(f, &r, fault) == 0;
        return -1;
    }

    struct sink sink = { .live = &f->job->live_bytes };
    if (sink_open(&sink, f->job->root, url, index, fault) < 0)
        return -1;
    bool complete = http_body(&f->in, &r, &sink, fault) == 0;
    if (sink_close(&sink, complete, fault) < 0 || !complete)
        return -1;
    *keep = r.keep && f->in.at == f->in.end; /* more than was asked for: not to be trusted */
    f->job->results[index] =
        (struct result){ .bytes = sink.bytes, .sum = sink_sum(&sink), .ok = true };
    return 0;
}

static int dial(struct fetcher *f, const struct url *url, struct fault *fault)
{
    int fd = coir_tcp_dial(url->host, url->port);
    if (fd < 0)
        return fault_errno(fault, PHASE_CONNECT, errno);
    atomic_fetch_add_explicit(&f->job->dials, 1, memory_order_relaxed);
    return fd;
}

/* The caller's deadline bounds it all. */
static int fetch(struct fetcher *f, size_t index, struct fault *fault)
{
    struct url url;
    bool keep;
    if (url_parse(&url, f->job->urls[index], fault) < 0)
        return -1;

    int result = STALE;
    int fd = kept_take(f, &url);
    if (fd >= 0) {
        result = exchange(f, fd, true, &url, index, &keep, fault);
        if (result == STALE)
            coir_close(fd);
    }
    if (result == STALE) {
        if ((fd = dial(f, &url, fault)) < 0)
            return -1;
        result = exchange(f, fd, false, &url, index, &keep, fault);
    }
    if (keep)
        kept_put(f, &url, fd);
    else
        coir_close(fd);
    return result;
}

void *fetch_fiber(void *arg)
{
    struct fetcher f;
    struct fault fault;
    struct job *job = f.job = arg;
    size_t index;
    for (int i = 0; i < KEPT_MAX; i++)
        f.kept[i].fd = -1;

    while ((index = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed)) < job->count) {
        int result = -1;
        COIR_TIMEOUT(job->limit_ns)
            result = fetch(&f, index, &fault);
        if (result < 0) {
            atomic_fetch_add_explicit(&job->failed, 1, memory_order_relaxed);
            report_fault(job, job->urls[index], &fault);
        }
        atomic_fetch_add_explicit(&job->done, 1, memory_order_relaxed);
    }
    for (int i = 0; i < KEPT_MAX; i++)
        if (f.kept[i].fd >= 0)
            coir_close(f.kept[i].fd);
    return NULL;
}
