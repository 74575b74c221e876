/* tests/support/fake_names.h - a name service of the test's own: the C library's calls, replaced.
 * To be included by one file of a test.
 * SPDX-License-Identifier: MIT */
#ifndef FAKE_NAMES_H
#define FAKE_NAMES_H

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is known: a name, and its addresses or why there are none. */
struct fake_name {
    const char *name;
    int error;
    const char *addrs[64];
};
static const struct fake_name *fake_names; /* ends with a NULL name */

static struct {
    _Atomic int asked; /* so often, so far */
    _Atomic int at_once, most_at_once;
    _Atomic int entries; /* of lists that are not freed yet */
    _Atomic bool silent;      /* nobody gets an answer */
    _Atomic(pthread_t) asker; /* the thread that was here last */
} fake;

static void fake_wait(void)
{
    int now = atomic_fetch_add(&fake.at_once, 1) + 1, most = fake.most_at_once;
    while (now > most && !atomic_compare_exchange_weak(&fake.most_at_once, &most, now))
        ;
    fake.asker = pthread_self();
    atomic_fetch_add(&fake.asked, 1);
    while (fake.silent)
        usleep(500);
    atomic_fetch_sub(&fake.at_once, 1);
}

static struct addrinfo *fake_entry(const char *text, const char *port, int type)
{
    bool six = strchr(text, ':') != NULL;
    socklen_t bytes = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    struct addrinfo *a = calloc(1, sizeof *a + bytes);
    in_port_t number = htons((uint16_t)(port ? atoi(port) : 0));
    a->ai_family = six ? AF_INET6 : AF_INET;
    a->ai_socktype = type;
    a->ai_addrlen = bytes;
    a->ai_addr = (struct sockaddr *)(a + 1);
    a->ai_addr->sa_family = (sa_family_t)a->ai_family;
    if (six) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(a + 1);
        inet_pton(AF_INET6, text, &v6->sin6_addr);
        v6->sin6_port = number;
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)(a + 1);
        inet_pton(AF_INET, text, &v4->sin_addr);
        v4->sin_port = number;
    }
    atomic_fetch_add(&fake.entries, 1);
    return a;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    const struct fake_name *n = fake_names;
    struct addrinfo **at = list;
    fake_wait();
    while (n->name && (!node || strcmp(n->name, node) != 0))
        n++;
    if (!n->name)
        return EAI_NONAME;
    if (n->error == EAI_SYSTEM)
        errno = EIO;
    if (n->error)
        return n->error;
    *list = NULL;
    for (int i = 0; n->addrs[i]; i++, at = &(*at)->ai_next)
        *at = fake_entry(n->addrs[i], service, hints ? hints->ai_socktype : 0);
    if (hints && hints->ai_flags & AI_CANONNAME)
        (*list)->ai_canonname = strdup(node);
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list->ai_canonname);
        free(list);
        atomic_fetch_sub(&fake.entries, 1);
        list = next;
    }
}

int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len,
                char *service, socklen_t service_len, int flags)
{
    (void)len;
    fake_wait();
    if (flags & NI_NAMEREQD)
        return EAI_NONAME;
    if (host && (socklen_t)snprintf(host, host_len, "host-%d", addr->sa_family) >= host_len)
        return EAI_OVERFLOW;
    if (service && (socklen_t)snprintf(service, service_len, "service") >= service_len)
        return EAI_OVERFLOW;
    return 0;
}

#endif
