/* web.h - a page of the web for the samples: a little HTTP client, and a little server to ask.
 * SPDX-License-Identifier: MIT */
#ifndef SAMPLES_WEB_H
#define SAMPLES_WEB_H

#include <coir.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* GET /NAME?MS: after MS milliseconds, a page with the title NAME; the page "none" has no title. */
static inline void *web_answer(void *arg)
{
    int fd = (int)(intptr_t)arg, ms = 0;
    char text[1024], name[64] = "", title[96] = "";
    ssize_t n = coir_read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "GET /%63[a-z]?%d", name, &ms) > 0 && coir_sleep(COIR_MS(ms)) == 0) {
        if (strcmp(name, "none") != 0)
            snprintf(title, sizeof title, "<title>%s</title>", name);
        n = snprintf(text, sizeof text, "HTTP/1.0 200 OK\r\n\r\n<html>%s<p>Hello</html>", title);
        coir_write_all(fd, text, (size_t)n);
    }
    coir_close(fd);
    return NULL;
}

static inline void *web_accept(void *arg)
{
    coir_attr detached = { .flags = COIR_DETACHED };
    int fd, listener = (int)(intptr_t)arg;
    while ((fd = coir_accept(listener, NULL, NULL)) >= 0)
        if (!coir_spawn_with(&detached, web_answer, (void *)(intptr_t)fd))
            coir_close(fd);
    return NULL;
}

/* Start the server; its port, or -1. It ends with the program. */
static inline int web_serve(void)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    coir_attr detached = { .flags = COIR_DETACHED };
    int fd = coir_tcp_listen("127.0.0.1", "0", 16);
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&addr, &len) < 0 ||
        !coir_spawn_with(&detached, web_accept, (void *)(intptr_t)fd))
        return -1;
    return ntohs(addr.sin_port);
}

/* The whole answer to GET url (http://host:port/path), for free(3); NULL with errno. */
static inline char *web_get(const char *url)
{
    enum { BYTES_MAX = 1 << 20 };
    char host[128], port[8] = "80", path[512] = "/", request[768];
    if (sscanf(url, "http://%127[^:/]:%7[0-9]%511s", host, port, path) < 2 &&
        sscanf(url, "http://%127[^:/]%511s", host, path) < 1) {
        errno = EINVAL;
        return NULL;
    }
    int fd = coir_tcp_dial(host, port);
    char *text = fd < 0 ? NULL : malloc(BYTES_MAX + 1);
    ssize_t n = -1;
    if (text) {
        snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host);
        if (coir_write_all(fd, request, strlen(request)) >= 0)
            n = coir_read_full(fd, text, BYTES_MAX);
    }
    int err = errno;
    if (fd >= 0)
        coir_close(fd);
    errno = err;
    if (n < 0) {
        free(text);
        return NULL;
    }
    text[n] = 0;
    return text;
}

/* The text between <title> and </title> of the page at url, for free(3). NULL with errno: 0 means
 * that it has none. */
static inline char *web_title(const char *url)
{
    char *page = web_get(url), *title = NULL;
    if (!page)
        return NULL;
    char *from = strstr(page, "<title>"), *to = from ? strstr(from, "</title>") : NULL;
    if (to)
        title = strndup(from + 7, (size_t)(to - from - 7));
    free(page);
    errno = 0;
    return title;
}

#endif
