/* tests/fetch/peer.h - an HTTP server on plain threads that does, by path, what servers should and
 * should not. To be included by one file of a test.
 * SPDX-License-Identifier: MIT
 *
 *   /hello          14 bytes of text, and a header that comes twice
 *   /bytes/N        N bytes of a pattern; /chunks/N: the same in chunks
 *   /delay/MS       waits before it answers
 *   /echo           what it got: the request's line, headers and body
 *   /to/N           N redirects, then /hello; /loop: for ever; /see/STATUS?URL: to that URL
 *   /basic          401, unless it is told user:secret
 *   /endless-head, /endless-body, /long-line, /bomb (gzip), /raw?TEXT (sent as it is, with \r, \n),
 *   /short (a body that ends early), /bad-chunk, /drip (a byte at a time), /cut/N (resets after N
 *   bytes of the answer), /silent */
#ifndef PEER_H
#define PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
    int listener;
    int port;
    _Atomic int connections, requests;
    _Atomic bool over;
    pthread_t thread;
} peer;

struct peer_request {
    int fd;
    char text[65536]; /* line and headers; then as much of the body as came */
    size_t len, head_len;
    char path[8192];
};

static bool peer_send(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool peer_say(int fd, const char *text)
{
    return peer_send(fd, text, strlen(text));
}

static char peer_byte(size_t i)
{
    return "abcdefghijklmnopqrstuvwxyz\n"[i % 27];
}

static bool peer_answer(int fd, const char *status, const char *headers, const char *body,
                        size_t len)
{
    char head[8192];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n", status, headers,
             len);
    return peer_say(fd, head) && peer_send(fd, body, len);
}

static bool peer_bytes(int fd, size_t n, bool chunked)
{
    char head[128], piece[4096];
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%s%.0zu\r\n\r\n",
             chunked ? "Transfer-Encoding: chunked" : "Content-Length: ", chunked ? 0 : n);
    if (!chunked && n == 0)
        return peer_answer(fd, "200 OK", "", "", 0);
    bool ok = peer_say(fd, head);
    for (size_t at = 0; ok && at < n;) {
        size_t len = n - at < sizeof piece ? n - at : sizeof piece;
        for (size_t i = 0; i < len; i++)
            piece[i] = peer_byte(at + i);
        if (chunked) {
            snprintf(head, sizeof head, "%zx\r\n", len);
            ok = peer_say(fd, head);
        }
        ok = ok && peer_send(fd, piece, len) && (!chunked || peer_say(fd, "\r\n"));
        at += len;
    }
    return ok && (!chunked || peer_say(fd, "0\r\nX-Trailer: yes\r\n\r\n"));
}

static bool peer_reset(int fd)
{
    const struct linger at_once = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return false;
}

static bool peer_wait(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLRDHUP };
    for (; ms > 0 && !peer.over; ms -= 10)
        if (poll(&p, 1, ms < 10 ? ms : 10) > 0)
            return false;
    return !peer.over;
}

/* 32 MiB of zeros, a thousandth of that on the way. */
static bool peer_bomb(int fd)
{
    char line[128];
    FILE *p = popen("head -c 33554432 /dev/zero | gzip -9", "r");
    char *bytes = malloc(1 << 20);
    size_t n = p && bytes ? fread(bytes, 1, 1 << 20, p) : 0;
    if (p)
        pclose(p);
    snprintf(line, sizeof line,
             "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n", n);
    bool ok = peer_say(fd, line) && peer_send(fd, bytes, n);
    free(bytes);
    return ok;
}

static bool peer_endless(int fd, const char *first, const char *again)
{
    bool ok = peer_say(fd, first);
    while (ok && !peer.over)
        ok = peer_say(fd, again);
    return false;
}

static bool peer_raw(int fd, const char *text)
{
    char out[8192];
    size_t n = 0;
    for (; *text && n < sizeof out; text++) {
        bool escaped = text[0] == '~' && text[1];
        out[n++] = escaped ? (text[1] == 'r' ? '\r' : text[1] == 'n' ? '\n' : ' ') : *text;
        text += escaped;
    }
    peer_send(fd, out, n);
    return false;
}

static bool peer_redirect(int fd, const char *status, const char *to)
{
    char headers[8300];
    snprintf(headers, sizeof headers, "Location: %s\r\n", to);
    return peer_answer(fd, status, headers, "elsewhere\n", 10);
}

static bool starts(const struct peer_request *r, const char *with, const char **rest)
{
    size_t len = strlen(with);
    *rest = r->path + len;
    return strncmp(r->path, with, len) == 0;
}

static bool peer_hostile(const struct peer_request *r)
{
    const char *rest;
    char line[20001];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    if (starts(r, "/endless-head", &rest))
        return peer_endless(r->fd, "HTTP/1.1 200 OK\r\n", "X-More: and more and more\r\n");
    if (starts(r, "/endless-body", &rest))
        return peer_endless(r->fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", line);
    if (starts(r, "/long-line", &rest))
        return peer_endless(r->fd, "HTTP/1.1 200 OK\r\nX: ", line);
    if (starts(r, "/bomb", &rest))
        return peer_bomb(r->fd);
    if (starts(r, "/raw?", &rest))
        return peer_raw(r->fd, rest);
    if (starts(r, "/short", &rest))
        return peer_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot a hundred") && 0;
    if (starts(r, "/bad-chunk", &rest))
        return peer_say(r->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
                               "\r\nzz\r\n");
    if (starts(r, "/drip", &rest)) {
        const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for (; *text; text++)
            if (!peer_send(r->fd, text, 1) || !peer_wait(r->fd, 1))
                return false;
        return true;
    }
    if (starts(r, "/cut/", &rest)) {
        const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello";
        size_t n = (size_t)atol(rest);
        peer_send(r->fd, text, n < strlen(text) ? n : strlen(text));
        peer_wait(r->fd, 20);
        return peer_reset(r->fd);
    }
    if (starts(r, "/silent", &rest))
        return peer_wait(r->fd, 60000) && 0;
    return peer_answer(r->fd, "404 Not Found", "", "no such page\n", 13);
}

static bool peer_page(const struct peer_request *r)
{
    const char *rest;
    char to[64];
    if (strncmp(r->text, "HEAD ", 5) == 0)
        return peer_say(r->fd, "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n");
    if (starts(r, "/hello", &rest))
        return peer_answer(r->fd, "200 OK",
                           "Content-Type: text/plain\r\nX-Twice: one\r\nx-twice:  two \r\n",
                           "Hello, coir.\n\n", 14);
    if (starts(r, "/bytes/", &rest) || starts(r, "/chunks/", &rest))
        return peer_bytes(r->fd, (size_t)atol(rest), r->path[1] == 'c');
    if (starts(r, "/delay/", &rest))
        return peer_wait(r->fd, atoi(rest)) && peer_answer(r->fd, "200 OK", "", "late\n", 5);
    if (starts(r, "/echo", &rest))
        return peer_answer(r->fd, "200 OK", "", r->text, r->len);
    if (starts(r, "/to/", &rest) && atoi(rest) > 0) {
        snprintf(to, sizeof to, "/to/%d", atoi(rest) - 1);
        return peer_redirect(r->fd, "302 Found", to);
    }
    if (starts(r, "/to/0", &rest))
        return peer_redirect(r->fd, "301 Moved Permanently", "/hello");
    if (starts(r, "/loop", &rest))
        return peer_redirect(r->fd, "302 Found", "/loop");
    if (starts(r, "/see/", &rest) && strchr(rest, '?')) {
        char status[64];
        snprintf(status, sizeof status, "%.3s Elsewhere", rest);
        return peer_redirect(r->fd, status, strchr(rest, '?') + 1);
    }
    if (starts(r, "/basic", &rest))
        return strstr(r->text, "Authorization: Basic dXNlcjpzZWNyZXQ=")
                   ? peer_answer(r->fd, "200 OK", "", "come in\n", 8)
                   : peer_answer(r->fd, "401 Unauthorized",
                                 "WWW-Authenticate: Basic realm=\"x\"\r\n", "who?\n", 5);
    return peer_hostile(r);
}

/* A request with its body, by Content-Length or in chunks, which are left as they are. */
static bool peer_read(struct peer_request *r)
{
    char *end = NULL;
    r->len = 0;
    size_t want = sizeof r->text;
    r->head_len = 0;
    while (r->len < want) {
        ssize_t n = recv(r->fd, r->text + r->len, sizeof r->text - 1 - r->len, 0);
        if (n <= 0)
            return false;
        r->len += (size_t)n;
        r->text[r->len] = 0;
        if (r->text[0] < 'A' || r->text[0] > 'Z') /* TLS, for one */
            return false;
        if (!end && (end = strstr(r->text, "\r\n\r\n"))) {
            const char *length = strcasestr(r->text, "\r\nContent-Length:");
            r->head_len = (size_t)(end + 4 - r->text);
            want = r->head_len + (length && length < end ? (size_t)atol(length + 17) : 0);
            if (r->len == r->head_len && strcasestr(r->text, "\r\nExpect: 100-continue"))
                peer_say(r->fd, "HTTP/1.1 100 Continue\r\n\r\n");
        }
        const char *chunked = end ? strcasestr(r->text, "\r\nTransfer-Encoding: chunked") : NULL;
        if (chunked && chunked < end)
            want = strstr(end, "\r\n0\r\n\r\n") ? r->len : sizeof r->text;
    }
    return sscanf(r->text, "%*s %8191s", r->path) == 1;
}

static void *peer_serve(void *arg)
{
    struct peer_request *r = malloc(sizeof *r);
    r->fd = (int)(intptr_t)arg;
    while (!peer.over && peer_read(r)) {
        peer.requests++;
        if (!peer_page(r))
            break;
    }
    close(r->fd);
    free(r);
    peer.connections--;
    return NULL;
}

static void *peer_accept(void *arg)
{
    int fd;
    while ((fd = accept4(peer.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t thread;
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        peer.connections++;
        if (pthread_create(&thread, NULL, peer_serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
        else
            close(fd);
    }
    return arg;
}

static void peer_start(void)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    peer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(peer.listener, (struct sockaddr *)&addr, len) < 0 || listen(peer.listener, 1000) < 0 ||
        getsockname(peer.listener, (struct sockaddr *)&addr, &len) < 0 ||
        pthread_create(&peer.thread, NULL, peer_accept, NULL)) {
        perror("the peer");
        abort();
    }
    peer.port = ntohs(addr.sin_port);
}

static void peer_stop(void)
{
    peer.over = true;
    shutdown(peer.listener, SHUT_RDWR);
    pthread_join(peer.thread, NULL);
    close(peer.listener);
}

/* Its URL of path; a few of them stay valid at a time. */
static const char *at(const char *path)
{
    static _Thread_local char urls[8][8192];
    static _Thread_local unsigned n;
    char *url = urls[n++ % 8];
    snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", peer.port, path);
    return url;
}

#endif
