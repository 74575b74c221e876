/* fetch_many/url.c - take http://host:port/path?query apart.
 * SPDX-License-Identifier: MIT
 *
 * The host must be a numeric address or localhost: that is what coir_tcp_dial connects to. A
 * fragment (#...) stays here; servers never get it. */
#include "fetch.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

static int bad(struct fault *fault, const char *why)
{
    return fault_set(fault, PHASE_URL, "%s", why);
}

/* Copy text[0, len) to out. Returns false when it does not fit. */
static bool copy(char *out, size_t cap, const char *text, size_t len)
{
    if (len >= cap)
        return false;
    memcpy(out, text, len);
    out[len] = 0;
    return true;
}

static int parse_port(struct url *url, const char *text, size_t len, struct fault *fault)
{
    unsigned port = 0;
    if (len == 0)
        return bad(fault, "the port is missing after the colon");
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]) ||
            (port = port * 10 + (unsigned)(text[i] - '0')) > 65535)
            return bad(fault, "the port is no number from 1 to 65535");
    }
    if (port == 0)
        return bad(fault, "the port is no number from 1 to 65535");
    snprintf(url->port, sizeof url->port, "%u", port);
    return 0;
}

/* host, host:port or [host]:port in text[0, len). */
static int parse_authority(struct url *url, const char *text, size_t len, struct fault *fault)
{
    bool brackets = len > 0 && text[0] == '[';
    const char *host = text + brackets;
    const char *end = memchr(host, brackets ? ']' : ':', len - brackets);
    struct in6_addr address;

    if (memchr(text, '@', len))
        return bad(fault, "user names and passwords in URLs are not supported");
    if (brackets && !end)
        return bad(fault, "the closing bracket of the address is missing");
    if (!copy(url->host, sizeof url->host, host, end ? (size_t)(end - host) : len) || !url->host[0])
        return bad(fault, "the host is missing or too long for an address");
    if (inet_pton(brackets ? AF_INET6 : AF_INET, url->host, &address) != 1 &&
        (brackets || strcasecmp(url->host, "localhost")))
        return bad(fault, "the host is a name; only numeric addresses and localhost are supported");

    for (char *p = url->host; *p; p++) /* LOCALHOST and [::A] are the same hosts in any case */
        *p = (char)tolower((unsigned char)*p);
    const char *rest = end ? end + brackets : text + len;
    snprintf(url->port, sizeof url->port, "80");
    if (rest < text + len && *rest != ':')
        return bad(fault, "there is more than a port after the address");
    if (rest < text + len && parse_port(url, rest + 1, (size_t)(text + len - rest) - 1, fault) < 0)
        return -1;

    bool plain = strcmp(url->port, "80") == 0;
    snprintf(url->authority, sizeof url->authority, "%s%s%s%s%s", brackets ? "[" : "", url->host,
             brackets ? "]" : "", plain ? "" : ":", plain ? "" : url->port);
    return 0;
}

int url_parse(struct url *url, const char *text, struct fault *fault)
{
    size_t len = strcspn(text, "#");
    if (strncasecmp(text, "https://", 8) == 0)
        return bad(fault, "https is not supported, only http");
    if (strncasecmp(text, "http://", 7) != 0)
        return bad(fault, "it does not begin with http://");
    if (len > URL_MAX)
        return bad(fault, "it is longer than 4096 bytes");
    for (size_t i = 0; i < len; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return bad(fault, "it holds a byte that must be written as %XX");

    const char *authority = text + 7;
    size_t authority_len = strcspn(authority, "/?#");
    url->target = authority + authority_len + (authority[authority_len] == '/');
    url->target_len = (size_t)(text + len - url->target);
    return parse_authority(url, authority, authority_len, fault);
}
