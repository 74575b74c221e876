/* web.h - a page of the web for the samples: its title, and a little server to ask.
 * SPDX-License-Identifier: MIT */
#ifndef SAMPLES_WEB_H
#define SAMPLES_WEB_H

#include <coir.h>
#include <coir/fetch.h>

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

/* The text between <title> and </title> of the page at url, for free(3). NULL with errno: 0 means
 * that it has none; else coir_fetch_error() says what is wrong. */
static inline char *web_title(const char *url)
{
    coir_response *page;
    if (coir_fetch(url, NULL, &page) < 0)
        return NULL;
    char *text = coir_response_text(page, NULL), *title = NULL;
    int err = text ? 0 : errno;
    char *from = text ? strstr(text, "<title>") : NULL;
    char *to = from ? strstr(from, "</title>") : NULL;
    if (to)
        title = strndup(from + 7, (size_t)(to - from - 7));
    free(text);
    coir_response_free(page);
    errno = err;
    return title;
}

#endif
