/* fetch/names.c - see names.h.
 * SPDX-License-Identifier: MIT */
#include "names.h"

#include <coir.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 256 };
static const int64_t KEPT_NS = COIR_SEC(60);

/* At the place of its hash; a newer one takes the place of an older one. */
struct entry {
    char *host;
    int64_t until_ns;
    char addresses[COIR__ADDRESSES_BYTES];
};
static struct entry *kept[KEPT];
static coir_mutex lock = COIR_MUTEX_INIT;

static unsigned hash(const char *host)
{
    unsigned h = 5381;
    for (; *host; host++)
        h = h * 33 + (unsigned char)*host;
    return h % KEPT;
}

static bool recall(const char *host, char *addresses)
{
    coir_mutex_lock(&lock);
    const struct entry *e = kept[hash(host)];
    bool found = e && strcmp(e->host, host) == 0 && coir_now() < e->until_ns;
    if (found)
        memcpy(addresses, e->addresses, sizeof e->addresses);
    coir_mutex_unlock(&lock);
    return found;
}

static void remember(const char *host, const char *addresses)
{
    struct entry *e = malloc(sizeof *e);
    char *name = strdup(host);
    if (!e || !name) {
        free(e);
        free(name);
        return;
    }
    e->host = name;
    e->until_ns = coir_after(KEPT_NS);
    memcpy(e->addresses, addresses, sizeof e->addresses);
    coir_mutex_lock(&lock);
    struct entry *old = kept[hash(host)];
    kept[hash(host)] = e;
    coir_mutex_unlock(&lock);
    if (old)
        free(old->host);
    free(old);
}

static bool is_numeric(const char *host)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    return host[0] == '[' || inet_pton(AF_INET, host, bytes) == 1 ||
           inet_pton(AF_INET6, host, bytes) == 1;
}

static int errno_of(int eai)
{
    switch (eai) {
    case EAI_SYSTEM:
        return errno;
    case EAI_AGAIN:
        return ETIMEDOUT;
    case EAI_MEMORY:
        return ENOMEM;
    default:
        return EHOSTUNREACH;
    }
}

static void list_addresses(const struct addrinfo *a, char *addresses)
{
    size_t used = 0;
    addresses[0] = 0;
    for (; a; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN];
        bool six = a->ai_family == AF_INET6;
        const void *bytes = six ? (const void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr
                                : (const void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr;
        if ((!six && a->ai_family != AF_INET) ||
            !inet_ntop(a->ai_family, bytes, text, sizeof text) ||
            used + strlen(text) + 4 > COIR__ADDRESSES_BYTES)
            continue;
        used += (size_t)sprintf(addresses + used, six ? "%s[%s]" : "%s%s", used ? "," : "", text);
    }
}

int coir__names_find(const char *host, char addresses[COIR__ADDRESSES_BYTES], const char **why)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    addresses[0] = 0;
    if (is_numeric(host) || recall(host, addresses))
        return 0;
    int eai = coir_getaddrinfo(host, NULL, &hints, &list);
    if (eai) {
        int err = errno_of(eai);
        *why = eai == EAI_SYSTEM ? strerrordesc_np(err) : gai_strerror(eai);
        errno = err;
        return -1;
    }
    list_addresses(list, addresses);
    freeaddrinfo(list);
    remember(host, addresses);
    return 0;
}

struct range {
    uint8_t first[4];
    uint8_t bits;
};
static const struct range not_public[] = {
    { { 0, 0, 0, 0 }, 8 },    { { 10, 0, 0, 0 }, 8 },     { { 100, 64, 0, 0 }, 10 },
    { { 127, 0, 0, 0 }, 8 },  { { 169, 254, 0, 0 }, 16 }, { { 172, 16, 0, 0 }, 12 },
    { { 192, 0, 0, 0 }, 24 }, { { 192, 168, 0, 0 }, 16 }, { { 198, 18, 0, 0 }, 15 },
    { { 224, 0, 0, 0 }, 3 },
};

static uint32_t number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static bool is_public_v4(const uint8_t *bytes)
{
    for (size_t i = 0; i < sizeof not_public / sizeof *not_public; i++)
        if ((number(bytes) ^ number(not_public[i].first)) >> (32 - not_public[i].bits) == 0)
            return false;
    return true;
}

/* Of what stands for the whole Internet, 2000::/3, less what has an IPv4 address inside: 6to4,
 * Teredo, and what NAT64 or the mapping make of one. */
static bool is_public_v6(const uint8_t *bytes)
{
    static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b }, mapped[12] = { [10] = 0xff, 0xff };
    if (memcmp(bytes, nat64, 12) == 0 || memcmp(bytes, mapped, 12) == 0)
        return is_public_v4(bytes + 12);
    if (bytes[0] == 0x20 && bytes[1] == 0x02)
        return is_public_v4(bytes + 2);
    bool teredo = bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0 && bytes[3] == 0;
    return (bytes[0] & 0xe0) == 0x20 && !teredo;
}

bool coir__names_public(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return is_public_v4((const uint8_t *)&((const struct sockaddr_in *)addr)->sin_addr);
    if (addr->sa_family == AF_INET6)
        return is_public_v6((const uint8_t *)&((const struct sockaddr_in6 *)addr)->sin6_addr);
    return false;
}
