/* port_scan.c - which TCP ports of a host are open, many tried at once.
 * Try: build/samples/port_scan 127.0.0.1 1-65535
 * SPDX-License-Identifier: MIT
 *
 * All fibers run on one worker, so what does not park needs no lock. */
#include "tool.h"

#include <getopt.h>
#include <netdb.h>

#define PORTS_MAX 65536

enum result { UNTRIED, OPEN, CLOSED, SILENT, FAILED, RESULTS };

static struct {
    const char *host;
    char address[NI_MAXHOST]; /* of it */
    unsigned fibers;
    int64_t limit_ns;
    size_t count, next;        /* of ports; ports[next] is tried next */
    int ports[PORTS_MAX];      /* in order, but for those that were put back */
    bool wanted[PORTS_MAX];    /* by port */
    uint8_t result[PORTS_MAX]; /* by port */
    unsigned active;           /* fibers that look for ports */
    int fault;                 /* errno of the first that FAILED, or 0 */
    int shortage;              /* errno that made fibers end early, or 0 */
    unsigned active_min;
    bool interrupted;
} scan = { .host = "127.0.0.1", .fibers = 500, .limit_ns = COIR_SEC(1) };

static const char usage[] =
    "usage: port_scan [OPTION]... [HOST [PORTS]]\n"
    "Tell which TCP ports of HOST (127.0.0.1) are open. PORTS is a list such as 22,80,8000-8099\n"
    "(1-1024).\n"
    "\n"
    "  -j N        so many at once (500); fewer when descriptors run out\n"
    "  -t SECONDS  how long a port may take to answer (1)\n"
    "  -h, --help  this text\n"
    "\n"
    "Closed is what refuses; silent what does not answer in time. Only scan what is yours.\n"
    "Exit status: 0 every port was tried, 1 some were not, 2 wrong usage or could not start.\n";

/* Does the socket talk to itself? A connection to a port that nobody listens on comes about when
 * the kernel happens to give that very port to our end of it. */
static bool is_own(int fd)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t here_len = sizeof here, there_len = sizeof there;
    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

/* Returns a result; UNTRIED with errno: it has to be tried again, or the scan is to end. */
static enum result probe(int port)
{
    char text[8];
    int fd = -1, err;
    snprintf(text, sizeof text, "%d", port);
    COIR_TIMEOUT(scan.limit_ns)
        fd = coir_tcp_dial(scan.address, text);
    err = errno;
    if (fd >= 0) {
        enum result result = is_own(fd) ? CLOSED : OPEN;
        coir_close(fd);
        return result;
    }
    switch (err) {
    case ECONNREFUSED:
        return CLOSED;
    case ETIMEDOUT:
        return SILENT;
    case ECANCELED:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case EADDRNOTAVAIL: /* all local ports are in use */
        errno = err;
        return UNTRIED;
    default:
        if (!scan.fault)
            scan.fault = err;
        return FAILED;
    }
}

/* Something has run out: put the port back, and be one fewer. The last one tries again later.
 * Returns whether the caller shall end. */
static bool give_way(int port, int err)
{
    scan.shortage = err;
    scan.ports[--scan.next] = port;
    if (scan.active > 1) {
        scan.active_min = --scan.active;
        return true;
    }
    return coir_sleep(COIR_MS(20)) < 0;
}

/* A fiber's function: port after port, until none is left. */
static int scan_ports(void *arg)
{
    (void)arg;
    while (scan.next < scan.count) {
        int port = scan.ports[scan.next++];
        scan.result[port] = (uint8_t)probe(port);
        int err = errno;
        if (scan.result[port] == UNTRIED && (err == ECANCELED || give_way(port, err)))
            return 0;
    }
    scan.active--;
    return 0;
}

/* Once for all ports: of several addresses the first of IPv4, if there is one. */
static void find_address(void)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list, *a;
    int error = coir_getaddrinfo(scan.host, NULL, &hints, &list);
    if (error)
        tool_die("cannot find %s: %s", scan.host,
                 error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    for (a = list; a && a->ai_family != AF_INET; a = a->ai_next)
        ;
    a = a ? a : list;
    error = coir_getnameinfo(a->ai_addr, a->ai_addrlen, scan.address, sizeof scan.address, NULL, 0,
                             NI_NUMERICHOST | NI_NUMERICSERV);
    if (error)
        tool_die("cannot find %s: %s", scan.host, gai_strerror(error));
    freeaddrinfo(list);
}

static void run(void *arg)
{
    (void)arg;
    find_address();
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    struct tool_stop stop = { 0 };
    coir_scope_attr attr = { .flags = COIR_SCOPE_KEEP_GOING };
    coir_scope_open_with(&scope, &attr);
    tool_stop_begin(&stop, &scope);
    while (scan.active < scan.fibers && coir_scope_spawn(&scope, scan_ports, NULL) == 0)
        scan.active++;
    if (scan.active == 0)
        tool_die("cannot start: %s", strerror(errno));
    scan.active_min = scan.active;
    coir_scope_wait(&scope);
    tool_stop_end(&stop);
    scan.interrupted = stop.told;
}

static int report(double seconds)
{
    size_t sums[RESULTS] = { 0 };
    for (int port = 1; port < PORTS_MAX; port++) {
        if (!scan.wanted[port])
            continue;
        sums[scan.result[port]]++;
        if (scan.result[port] == OPEN)
            printf("%d open\n", port);
    }
    printf("%zu ports of %s: %zu open, %zu closed, %zu silent, %zu failed, in %.1f s\n",
           scan.count - sums[UNTRIED], scan.host, sums[OPEN], sums[CLOSED], sums[SILENT],
           sums[FAILED], seconds);
    if (scan.shortage)
        tool_warn("only %u at once: %s", scan.active_min, strerror(scan.shortage));
    if (sums[FAILED] > 0)
        tool_warn("%s: %s", scan.host, strerror(scan.fault));
    if (scan.interrupted)
        tool_warn("interrupted: %zu ports were not tried", sums[UNTRIED]);
    if (fflush(stdout) != 0) {
        tool_warn("cannot write the result: %s", strerror(errno));
        return 1;
    }
    return sums[FAILED] + sums[UNTRIED] > 0;
}

static void parse_ports(const char *list)
{
    memset(scan.wanted, 0, sizeof scan.wanted);
    for (const char *at = list;; at++) {
        int first, last, used = 0;
        if (sscanf(at, "%5d%n", &first, &used) != 1 || *at < '0' || *at > '9')
            break;
        last = first;
        at += used;
        if (*at == '-') {
            if (at[1] < '0' || at[1] > '9' || sscanf(at + 1, "%5d%n", &last, &used) != 1)
                break;
            at += 1 + used;
        }
        if (first < 1 || last < first || last >= PORTS_MAX || (*at && *at != ','))
            break;
        for (int port = first; port <= last; port++)
            scan.wanted[port] = true;
        if (!*at)
            return;
    }
    tool_die("\"%s\" is no list of ports from 1 to 65535, such as 22,80,8000-8099; try --help",
             list);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int option;
    while ((option = getopt_long(argc, argv, "j:t:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (option == '?') /* getopt_long has said what is wrong */
            return 2;
        if (option == 'j')
            scan.fibers = (unsigned)tool_number("-j", optarg, 1, 100000);
        else
            scan.limit_ns = tool_seconds("-t", optarg);
    }
    if (argc - optind > 2)
        tool_die("what is %s? try --help", argv[optind + 2]);
    if (optind < argc)
        scan.host = argv[optind];
    parse_ports(argc - optind == 2 ? argv[optind + 1] : "1-1024");
    for (int port = 1; port < PORTS_MAX; port++)
        if (scan.wanted[port])
            scan.ports[scan.count++] = port;
    if (scan.fibers > scan.count)
        scan.fibers = (unsigned)scan.count;
    tool_raise_files();

    coir_options runtime = { .workers = 1 };
    int64_t start_ns = coir_now();
    if (coir_run(run, NULL, &runtime) < 0)
        tool_die("cannot start: %s", strerror(errno));
    return report((double)(coir_now() - start_ns) / 1e9);
}
