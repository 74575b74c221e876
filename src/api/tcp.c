/* api/tcp.c - coir_tcp_listen and coir_tcp_dial.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "dial.h"
#include "io/io.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_MAX = 65535 };

/* The addresses of a host. Those that can be told without the name service are kept here. */
struct hosts {
    struct addrinfo *list, *looked_up;
    struct addrinfo entries[2];
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addrs[2];
    unsigned n;
};

/* A port number; -EINVAL; or PORT_MAX + 1 when text may be the name of a service. */
static int parse_port(const char *text)
{
    char *end;
    if (!text || !isalnum((unsigned char)*text))
        return -EINVAL;
    unsigned long port = strtoul(text, &end, 10);
    if (*end)
        return PORT_MAX + 1;
    return port > PORT_MAX ? -EINVAL : (int)port;
}

static struct addrinfo *add(struct hosts *h, int family, socklen_t bytes)
{
    struct addrinfo *a = &h->entries[h->n];
    *a = (struct addrinfo){ .ai_family = family,
                            .ai_addrlen = bytes,
                            .ai_addr = &h->addrs[h->n].any };
    if (h->n++)
        h->entries[h->n - 2].ai_next = a;
    h->list = h->entries;
    return a;
}

static void add_v4(struct hosts *h, struct in_addr addr, int port)
{
    h->addrs[h->n].v4 = (struct sockaddr_in){ .sin_family = AF_INET,
                                              .sin_port = htons((uint16_t)port),
                                              .sin_addr = addr };
    add(h, AF_INET, sizeof h->addrs->v4);
}

static void add_v6(struct hosts *h, struct in6_addr addr, int port)
{
    h->addrs[h->n].v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                               .sin6_port = htons((uint16_t)port),
                                               .sin6_addr = addr };
    add(h, AF_INET6, sizeof h->addrs->v6);
}

/* Is host one that the name service need not be asked for? */
static bool find_known(struct hosts *h, const char *host, int port)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!host) {
        add_v6(h, in6addr_any, port);
        add_v4(h, (struct in_addr){ htonl(INADDR_ANY) }, port);
    } else if (strcasecmp(host, "localhost") == 0) {
        add_v4(h, (struct in_addr){ htonl(INADDR_LOOPBACK) }, port);
        add_v6(h, in6addr_loopback, port);
    } else if (inet_pton(AF_INET, host, &v4) == 1) {
        add_v4(h, v4, port);
    } else if (inet_pton(AF_INET6, host, &v6) == 1) {
        add_v6(h, v6, port);
    }
    return h->n > 0;
}

/* Why there is no address, as an errno. */
static __attribute__((noinline)) int look_up_error(int error)
{
    switch (error) {
    case EAI_SYSTEM:
        return -errno;
    case EAI_AGAIN:
        return -ETIMEDOUT;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SERVICE:
        return -EINVAL;
    default:
        return -EHOSTUNREACH;
    }
}

/* 0, or -errno; parks when the name service has to be asked. */
static int find_hosts(struct hosts *h, const char *host, const char *port)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = host ? 0 : AI_PASSIVE };
    int number = parse_port(port);
    *h = (struct hosts){ .n = 0 };
    if (number < 0)
        return number;
    if (number <= PORT_MAX && find_known(h, host, number))
        return 0;
    int error = coir_getaddrinfo(host, port, &hints, &h->looked_up);
    if (error)
        return look_up_error(error);
    h->list = h->looked_up;
    return 0;
}

static void forget_hosts(struct hosts *h)
{
    if (h->looked_up)
        freeaddrinfo(h->looked_up);
}

static long set_option(int fd, int level, int name, int value)
{
    return coir__sys(SYS_setsockopt, fd, level, name, &value, sizeof value);
}

static int listen_on(const struct addrinfo *a, int backlog, bool reuse_port)
{
    int fd = coir__tcp_socket(a, 0);
    if (fd < 0)
        return fd;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    long err = reuse_port ? set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) : 0;
    if (a->ai_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (err == 0)
        err = coir__sys(SYS_bind, fd, a->ai_addr, a->ai_addrlen);
    if (err == 0)
        err = coir__sys(SYS_listen, fd, backlog ? backlog : SOMAXCONN);
    if (err == 0)
        return fd;
    coir__sys(SYS_close, fd);
    return (int)err;
}

int coir_tcp_listen(const char *host, const char *port, int backlog)
{
    struct hosts hosts;
    int fd = find_hosts(&hosts, host, port);
    bool reuse_port = backlog > 0 && backlog & COIR_REUSEPORT;
    for (const struct addrinfo *a = hosts.list; a; a = a->ai_next) {
        fd = listen_on(a, reuse_port ? backlog & ~COIR_REUSEPORT : backlog, reuse_port);
        if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
            break; /* else a machine without that family */
    }
    forget_hosts(&hosts);
    return (int)coir__edge(fd);
}

int coir_tcp_dial(const char *host, const char *port)
{
    struct hosts hosts;
    int fd = host ? find_hosts(&hosts, host, port) : -EINVAL;
    if (fd < 0)
        return (int)coir__edge(fd);
    fd = coir__dial(hosts.list);
    forget_hosts(&hosts);
    return (int)coir__edge(fd);
}
