/* http_proxy.c - a forward proxy for HTTP/1.1, with CONNECT.
 * Try: build/samples/http_proxy --port 3128 & curl -x localhost:3128 http://127.0.0.1:8000/
 * SPDX-License-Identifier: MIT */
#include "proxy.h"
#include "tool.h"

#include <getopt.h>
#include <sys/random.h>

struct proxy proxy = {
    .host = "127.0.0.1", .port = "3128", .connect_ns = COIR_SEC(10), .idle_ns = COIR_SEC(60)
};

static const char usage[] =
    "usage: http_proxy [OPTION]...\n"
    "A forward proxy for HTTP/1.1: http:// URLs, and CONNECT for all else.\n"
    "\n"
    "  --host HOST    numeric address or localhost to listen on (127.0.0.1)\n"
    "  --port N       0: a free one, as the line \"listening on HOST:PORT\" tells (3128)\n"
    "  --connect S    seconds for a connection to a server (10)\n"
    "  --idle S       seconds of silence, after which a connection is given up (60)\n"
    "  --workers N    OS threads that run the fibers; 0: one per CPU (0)\n"
    "  --help         this text\n";

static void parse_options(int argc, char **argv)
{
    enum { HOST, PORT, CONNECT, IDLE, WORKERS, HELP };
    static const struct option options[] = {
        { "host", 1, NULL, HOST },
        { "port", 1, NULL, PORT },
        { "connect", 1, NULL, CONNECT },
        { "idle", 1, NULL, IDLE },
        { "workers", 1, NULL, WORKERS },
        { "help", 0, NULL, HELP },
        { 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case HOST:
            proxy.host = optarg;
            break;
        case PORT:
            tool_number("--port", optarg, 0, 65535);
            proxy.port = optarg;
            break;
        case CONNECT:
            proxy.connect_ns = tool_seconds("--connect", optarg);
            break;
        case IDLE:
            proxy.idle_ns = tool_seconds("--idle", optarg);
            break;
        case WORKERS:
            proxy.workers = (unsigned)tool_number("--workers", optarg, 0, 1024);
            break;
        case HELP:
            fputs(usage, stdout);
            exit(0);
        default: /* getopt_long has said what is wrong */
            exit(2);
        }
    }
    if (optind < argc)
        tool_die("%s is no option; try --help", argv[optind]);
}

static int accept_all(void *clients)
{
    return tool_accept_all(proxy.listener, clients, "client", proxy_serve);
}

/* The first fiber. */
static void run(void *failed)
{
    sigset_t stop;
    int sig;
    coir_scope clients COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_attr attr = { .flags = COIR_SCOPE_KEEP_GOING };
    if (tool_watch_stop(&stop) < 0 || coir_scope_open_with(&clients, &attr) < 0)
        tool_die("cannot start: %s", strerror(errno));
    proxy.listener = tool_listen(proxy.host, proxy.port);
    if (coir_scope_spawn(&clients, accept_all, &clients) < 0)
        tool_die("cannot start: %s", strerror(errno));
    *(bool *)failed = coir_sigwait(&stop, &sig) != 0;
    coir_scope_cancel(&clients);
    coir_scope_wait(&clients);
    coir_close(proxy.listener);
}

int main(int argc, char **argv)
{
    bool failed = false;
    uint64_t random;
    coir_options options = COIR_ZERO;
    parse_options(argc, argv);
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        tool_die("cannot start: %s", strerror(errno));
    snprintf(proxy.pseudonym, sizeof proxy.pseudonym, "coir-%016llx", (unsigned long long)random);
    tool_raise_files();
    options.workers = proxy.workers;
    if (coir_run(run, &failed, &options) < 0)
        tool_die("cannot start: %s", strerror(errno));
    return failed;
}
