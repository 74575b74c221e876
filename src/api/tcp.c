/* api/tcp.c - coir_tcp_listen and coir_tcp_dial, for addresses that need no look-up.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/fdtab.h"
#include "io/io.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ADDRS_MAX = 2, PORT_MAX = 65535 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t address_bytes(const union address *a)
{
    return a->any.sa_family == AF_INET6 ? sizeof a->v6 : sizeof a->v4;
}

/* A port number in network order; -EINVAL. */
static int parse_port(const char *text)
{
    char *end;
    if (!text || *text < '0' || *text > '9')
        return -EINVAL;
    unsigned long port = strtoul(text, &end, 10);
    return *end || port > PORT_MAX ? -EINVAL : htons((uint16_t)port);
}

static union address make_v4(struct in_addr addr, in_port_t port)
{
    return (union address){ .v4 = { .sin_family = AF_INET, .sin_port = port, .sin_addr = addr } };
}

static union address make_v6(struct in6_addr addr, in_port_t port)
{
    return (
        union address){ .v6 = { .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = addr } };
}

/* The addresses of host, best first; -EHOSTUNREACH when it is neither numeric nor localhost. */
static int find_addresses(const char *host, in_port_t port, union address *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!host) {
        out[0] = make_v6(in6addr_any, port);
        out[1] = make_v4((struct in_addr){ htonl(INADDR_ANY) }, port);
        return 2;
    }
    if (strcasecmp(host, "localhost") == 0) {
        out[0] = make_v4((struct in_addr){ htonl(INADDR_LOOPBACK) }, port);
        out[1] = make_v6(in6addr_loopback, port);
        return 2;
    }
    if (inet_pton(AF_INET, host, &v4) == 1) {
        out[0] = make_v4(v4, port);
        return 1;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        out[0] = make_v6(v6, port);
        return 1;
    }
    return -EHOSTUNREACH;
}

static int stream_socket(const union address *a)
{
    long fd = coir__sys(SYS_socket, a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        coir__fd_renew((int)fd);
    return (int)fd;
}

static int listen_on(const union address *a, int backlog)
{
    const int on = 1, off = 0;
    int fd = stream_socket(a);
    if (fd < 0)
        return fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &a->any, address_bytes(a)) < 0 || listen(fd, backlog ? backlog : SOMAXCONN) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

int coir_tcp_listen(const char *host, const char *port, int backlog)
{
    union address addrs[ADDRS_MAX];
    int number = parse_port(port);
    if (number < 0)
        return (int)coir__edge(number);
    int n = find_addresses(host, (in_port_t)number, addrs);
    if (n < 0)
        return (int)coir__edge(n);
    int fd = -1;
    for (int i = 0; i < n; i++) {
        fd = listen_on(&addrs[i], backlog);
        if (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
            break; /* else a machine without that family */
    }
    return (int)coir__edge(fd);
}

static int connect_to(const union address *a)
{
    const int on = 1;
    int fd = stream_socket(a);
    if (fd < 0)
        return fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct coir__op op = coir__op_rw(COIR__OP_CONNECT, fd, &a->any, address_bytes(a), 0);
    long err = coir__op_run(&op);
    if (err == 0)
        return fd;
    coir__close(fd);
    return (int)err;
}

int coir_tcp_dial(const char *host, const char *port)
{
    union address addrs[ADDRS_MAX];
    int number = parse_port(port);
    if (number < 0 || !host)
        return (int)coir__edge(-EINVAL);
    int n = find_addresses(host, (in_port_t)number, addrs);
    if (n < 0)
        return (int)coir__edge(n);
    int fd = -EHOSTUNREACH;
    for (int i = 0; i < n && fd < 0 && coir_check() == 0; i++)
        fd = connect_to(&addrs[i]);
    if (fd == -EHOSTUNREACH && coir_check() < 0)
        return -1;
    return (int)coir__edge(fd);
}
