/* http_proxy/upstream.c - host:port, and a connection to it.
 * SPDX-License-Identifier: MIT */
#include "proxy.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_host(const char *text, size_t len, bool six)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (six ? !isxdigit(c) && c != ':' && c != '.'
                : !isalnum(c) && c != '.' && c != '-' && c != '_')
            return false;
    }
    return len > 0;
}

static bool is_port(const char *text, size_t len)
{
    int port = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]) || i == 5)
            return false;
        port = 10 * port + text[i] - '0';
    }
    return port >= 1 && port <= 65535;
}

bool target_parse(struct target *target, const char *text, size_t len, const char *other_port)
{
    bool six = len > 0 && text[0] == '[';
    const char *host = text + six, *end = text + len;
    const char *host_end = memchr(host, six ? ']' : ':', (size_t)(end - host));
    const char *port = host_end ? host_end + six : end;
    if (!host_end)
        host_end = six ? host : end;
    if (!is_host(host, (size_t)(host_end - host), six) ||
        (size_t)(host_end - host) >= sizeof target->host || (port < end && *port != ':'))
        return false;
    if (port < end)
        port++;
    snprintf(target->host, sizeof target->host, "%.*s", (int)(host_end - host), host);
    if (port < end || !other_port) {
        if (!is_port(port, (size_t)(end - port)))
            return false;
        snprintf(target->port, sizeof target->port, "%d", atoi(port));
    } else {
        snprintf(target->port, sizeof target->port, "%s", other_port);
    }
    bool plain = other_port && strcmp(target->port, other_port) == 0;
    snprintf(target->authority, sizeof target->authority, six ? "[%s]%s%s" : "%s%s%s", target->host,
             plain ? "" : ":", plain ? "" : target->port);
    return true;
}

static unsigned port_of(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                          : ((const struct sockaddr_in *)address)->sin_port;
}

static const void *host_of(const struct sockaddr_storage *address, size_t *bytes)
{
    if (address->ss_family == AF_INET6) {
        *bytes = sizeof(struct in6_addr);
        return &((const struct sockaddr_in6 *)address)->sin6_addr;
    }
    *bytes = sizeof(struct in_addr);
    return &((const struct sockaddr_in *)address)->sin_addr;
}

/* Does the connection lead to our own listening socket? To its port, that is, and to its address;
 * or when that is any, to one of this machine's: both ends have the same one then. */
static bool is_ours(int fd)
{
    static const struct in6_addr any;
    struct sockaddr_storage ours, here, there;
    socklen_t ours_len = sizeof ours, here_len = sizeof here, there_len = sizeof there;
    size_t bytes, ours_bytes;
    if (getsockname(proxy.listener, (struct sockaddr *)&ours, &ours_len) < 0 ||
        getsockname(fd, (struct sockaddr *)&here, &here_len) < 0 ||
        getpeername(fd, (struct sockaddr *)&there, &there_len) < 0)
        return false;
    const void *ours_host = host_of(&ours, &ours_bytes), *there_host = host_of(&there, &bytes);
    if (port_of(&there) != port_of(&ours))
        return false;
    if (memcmp(ours_host, &any, ours_bytes) == 0)
        return memcmp(host_of(&here, &bytes), there_host, bytes) == 0;
    return bytes == ours_bytes && memcmp(ours_host, there_host, bytes) == 0;
}

int upstream_dial(const struct target *target, const char **why)
{
    int fd = -1;
    COIR_TIMEOUT(proxy.connect_ns)
        fd = coir_tcp_dial(target->host, target->port);
    int err = errno;
    if (fd < 0) {
        *why = strerror(err);
        return err == ETIMEDOUT                                  ? -504
               : err == EMFILE || err == ENFILE || err == ENOMEM ? -503
                                                                 : -502;
    }
    if (is_ours(fd)) {
        *why = "that is this proxy itself";
        coir_close(fd);
        return -508;
    }
    return fd;
}
