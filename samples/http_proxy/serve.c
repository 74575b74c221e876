/* http_proxy/serve.c - one client: request after request, or a tunnel.
 * SPDX-License-Identifier: MIT */
#include "proxy.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

/* What a refused client may still send, so that it gets to read our answer. */
#define LINGER_MAX 65536

static const char *reason_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 408:
        return "Request Timeout";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 502:
        return "Bad Gateway";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Loop Detected";
    }
}

enum after refuse(int fd, int status, const char *why, bool head_only)
{
    char page[256], text[512], rest[4096];
    size_t total = 0;
    ssize_t n;
    int page_len = snprintf(page, sizeof page, "%d %s: %s\n", status, reason_of(status), why);
    int len = snprintf(text, sizeof text,
                       "HTTP/1.1 %d %s\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Length: %d\r\n"
                       "Connection: close\r\n"
                       "\r\n%s",
                       status, reason_of(status), page_len, head_only ? "" : page);
    if (write_in_time(fd, text, (size_t)len) < 0 || shutdown(fd, SHUT_WR) < 0)
        return CLOSE;
    COIR_TIMEOUT(COIR_SEC(1)) /* closing with unread bytes would reset the connection */
        while (total < LINGER_MAX && (n = coir_recv(fd, rest, sizeof rest, 0)) > 0)
            total += (size_t)n;
    return CLOSE;
}

static enum after connect_through(struct input *client, const struct request *rq)
{
    static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";
    const char *why;
    int server = upstream_dial(&rq->target, &why);
    if (server < 0)
        return refuse(client->fd, -server, why, false);
    if (write_in_time(client->fd, established, sizeof established - 1) == 0)
        tunnel(client, server);
    coir_close(server);
    return CLOSE;
}

/* Read one request, and see to it. */
static enum after serve_one(struct input *client)
{
    struct request rq;
    const char *why;
    ssize_t bytes = -1;
    COIR_TIMEOUT(proxy.idle_ns)
        bytes = head_read(client);
    if (bytes < 0 && errno == EMSGSIZE)
        return refuse(client->fd, 431, "the head is too long", false);
    if (bytes < 0 && errno == EPIPE)
        return refuse(client->fd, 400, "there is only half of it", false);
    if (bytes < 0 && errno == ETIMEDOUT && client->at < client->end)
        return refuse(client->fd, 408, "the rest does not come", false);
    if (bytes <= 0)
        return CLOSE;
    int status = request_parse(&rq, client, (size_t)bytes, &why);
    if (status)
        return refuse(client->fd, status, why, rq.head_only);
    return rq.connect ? connect_through(client, &rq) : exchange(client, &rq);
}

int proxy_serve(void *arg)
{
    struct input client = { .fd = (int)(intptr_t)arg };
    struct linger reset = { .l_onoff = 1 };
    enum after after;
    int one = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while ((after = serve_one(&client)) == KEEP)
        continue;
    if (after == RESET)
        setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    coir_close(client.fd);
    return 0;
}
