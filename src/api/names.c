/* api/names.c - coir_getaddrinfo and coir_getnameinfo.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "lookup.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* freeaddrinfo takes what malloc has given for each entry, and its name, in glibc; that is what
 * lets each of several callers have a list of his own. In others a list is one's alone. */
#ifdef __GLIBC__
static const bool lists_can_be_copied = true;
#else
static const bool lists_can_be_copied = false;
#endif

static struct addrinfo *copy_entry(const struct addrinfo *from)
{
    struct addrinfo *to = malloc(sizeof *to + from->ai_addrlen);
    if (!to)
        return NULL;
    *to = *from;
    to->ai_next = NULL;
    if (from->ai_addr)
        to->ai_addr = memcpy(to + 1, from->ai_addr, from->ai_addrlen);
    if (from->ai_canonname && !(to->ai_canonname = strdup(from->ai_canonname))) {
        free(to);
        return NULL;
    }
    return to;
}

static struct addrinfo *copy_list(const struct addrinfo *from)
{
    struct addrinfo *list = NULL, **at = &list;
    for (; from; from = from->ai_next) {
        if (!(*at = copy_entry(from))) {
            if (list)
                freeaddrinfo(list);
            return NULL;
        }
        at = &(*at)->ai_next;
    }
    return list;
}

/* Of a look-up by name: the hints, and behind them the texts that there are. */
struct by_name {
    int flags, family, type, protocol;
    uint32_t node_bytes, service_bytes; /* with the 0; 0: NULL */
    bool hinted;
    char text[];
};

static void ask_by_name(struct coir__lookup *l)
{
    const struct by_name *key = (const struct by_name *)l->key;
    const struct addrinfo hints = { .ai_flags = key->flags,
                                    .ai_family = key->family,
                                    .ai_socktype = key->type,
                                    .ai_protocol = key->protocol };
    struct addrinfo *found = NULL;
    l->error = getaddrinfo(key->node_bytes ? key->text : NULL,
                           key->service_bytes ? key->text + key->node_bytes : NULL,
                           key->hinted ? &hints : NULL, &found);
    l->host_errno = errno;
    l->answer = l->error ? NULL : found;
}

static void forget_list(struct coir__lookup *l)
{
    if (l->answer)
        freeaddrinfo(l->answer);
}

static uint32_t text_bytes(const char *text)
{
    return text ? (uint32_t)strnlen(text, UINT32_MAX / 4) + 1 : 0;
}

static struct coir__lookup *question_by_name(const char *node, const char *service,
                                             const struct addrinfo *hints)
{
    uint32_t node_bytes = text_bytes(node), service_bytes = text_bytes(service);
    struct coir__lookup *l =
        coir__lookup_new(ask_by_name, sizeof(struct by_name) + (size_t)node_bytes + service_bytes);
    if (!l)
        return NULL;
    l->forget = forget_list;
    l->shared = lists_can_be_copied;
    struct by_name *key = (struct by_name *)l->key;
    key->node_bytes = node_bytes;
    key->service_bytes = service_bytes;
    if (hints) {
        key->hinted = true;
        key->flags = hints->ai_flags;
        key->family = hints->ai_family;
        key->type = hints->ai_socktype;
        key->protocol = hints->ai_protocol;
    }
    if (node)
        memcpy(key->text, node, node_bytes - 1);
    if (service)
        memcpy(key->text + node_bytes, service, service_bytes - 1);
    return l;
}

/* How these calls say -errno. Not inlined: errno's address is not carried over a park. */
static __attribute__((noinline)) int system_error(long err)
{
    if (err == -ENOMEM)
        return EAI_MEMORY;
    coir__edge(err);
    return EAI_SYSTEM;
}

static int answer_of(struct coir__lookup *l)
{
    return l->error == EAI_SYSTEM ? system_error(-l->host_errno) : l->error;
}

static int take_list(struct coir__lookup *l, struct addrinfo **list)
{
    if (l->error)
        return answer_of(l);
    if (!coir__lookup_is_mine(l))
        return (*list = copy_list(l->answer)) ? 0 : EAI_MEMORY;
    *list = l->answer;
    l->answer = NULL;
    return 0;
}

/* A plain thread that can wait as long as it takes asks by itself. */
static bool asks_by_itself(void)
{
    struct coir__fiber *f = coir__fiber_self();
    return !f && coir__fiber_deadline(f) == COIR_NEVER;
}

/* What is written in numbers, or has to be, nobody else is asked for. */
static bool is_numeric(const char *node, const char *service, int flags)
{
    struct in6_addr addr;
    return (!node || flags & AI_NUMERICHOST || inet_pton(AF_INET, node, &addr) == 1 ||
            inet_pton(AF_INET6, node, &addr) == 1) &&
           (!service || flags & AI_NUMERICSERV || !service[strspn(service, "0123456789")]) &&
           !(flags & AI_ADDRCONFIG);
}

/* The answer, to be given back; NULL: an EAI_* in *error. */
static struct coir__lookup *answer_to(struct coir__lookup *question, int *error)
{
    struct coir__lookup *l = NULL;
    long err = question ? coir__lookup_wait(question, &l) : -ENOMEM;
    if (err < 0)
        *error = system_error(err);
    return err < 0 ? NULL : l;
}

int coir_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                     struct addrinfo **list)
{
    int error = coir__check();
    if (error)
        return system_error(error);
    if (asks_by_itself() || is_numeric(node, service, hints ? hints->ai_flags : 0))
        return getaddrinfo(node, service, hints, list);
    struct coir__lookup *l = answer_to(question_by_name(node, service, hints), &error);
    if (l) {
        error = take_list(l, list);
        coir__lookup_done(l);
    }
    return error;
}

struct by_address {
    int flags;
    socklen_t addr_len;
    bool host, service; /* are wanted */
    struct sockaddr_storage addr;
};

static bool is_told_in_numbers(int flags)
{
    return flags & NI_NUMERICHOST && flags & NI_NUMERICSERV;
}

struct names {
    char host[NI_MAXHOST], service[NI_MAXSERV];
};

static void ask_by_address(struct coir__lookup *l)
{
    const struct by_address *key = (const struct by_address *)l->key;
    struct names *names = l->answer;
    l->error = getnameinfo((const struct sockaddr *)&key->addr, key->addr_len,
                           key->host ? names->host : NULL, key->host ? sizeof names->host : 0,
                           key->service ? names->service : NULL,
                           key->service ? sizeof names->service : 0, key->flags);
    l->host_errno = errno;
}

static void forget_names(struct coir__lookup *l)
{
    free(l->answer);
}

static struct coir__lookup *question_by_address(const struct sockaddr *addr, socklen_t len,
                                                bool host, bool service, int flags)
{
    struct coir__lookup *l = coir__lookup_new(ask_by_address, sizeof(struct by_address));
    if (!l || !(l->answer = calloc(1, sizeof(struct names)))) {
        free(l);
        return NULL;
    }
    l->forget = forget_names;
    l->shared = true;
    struct by_address *key = (struct by_address *)l->key;
    key->flags = flags;
    key->addr_len = len;
    key->host = host;
    key->service = service;
    memcpy(&key->addr, addr, len);
    return l;
}

static bool fits(char *to, socklen_t room, const char *name)
{
    size_t bytes = strlen(name) + 1;
    if (room && bytes <= room)
        memcpy(to, name, bytes);
    return !room || bytes <= room;
}

/* What of addr is one, however long its caller says that it is. */
static socklen_t address_bytes(const struct sockaddr *addr, socklen_t len)
{
    socklen_t most = addr->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                     : addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                   : sizeof(struct sockaddr_storage);
    return len < most ? len : most;
}

int coir_getnameinfo(const struct sockaddr *addr, socklen_t len, char *host, socklen_t host_len,
                     char *service, socklen_t service_len, int flags)
{
    int error = coir__check();
    if (error)
        return system_error(error);
    if (!addr || len < sizeof addr->sa_family)
        return EAI_FAMILY;
    len = address_bytes(addr, len);
    if (asks_by_itself() || is_told_in_numbers(flags))
        return getnameinfo(addr, len, host, host_len, service, service_len, flags);
    host_len = host ? host_len : 0;
    service_len = service ? service_len : 0;
    struct coir__lookup *l =
        answer_to(question_by_address(addr, len, host_len > 0, service_len > 0, flags), &error);
    if (!l)
        return error;
    const struct names *names = l->answer;
    error = answer_of(l);
    if (!error &&
        !(fits(host, host_len, names->host) && fits(service, service_len, names->service)))
        error = EAI_OVERFLOW;
    coir__lookup_done(l);
    return error;
}
