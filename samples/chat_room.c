/* chat_room.c - a chat room: lines of text by TCP, two fibers per client.
 * Try: build/samples/chat_room --port 6000 & nc localhost 6000
 * SPDX-License-Identifier: MIT */
#include "chat.h"
#include "tool.h"

#include <getopt.h>

struct chat chat = { .host = "127.0.0.1",
                     .port = "6000",
                     .clients_max = 1000,
                     .queue_max = 100,
                     .rate = 20,
                     .login_ns = COIR_SEC(60),
                     .linger_ns = COIR_SEC(2) };

static const char usage[] =
    "usage: chat_room [OPTION]...\n"
    "A chat room for nc or telnet. The first line is your nick; /nick NAME, /who, /quit.\n"
    "\n"
    "  --host HOST    numeric address or localhost to listen on (127.0.0.1)\n"
    "  --port N       0: a free one, as the line \"listening on HOST:PORT\" tells (6000)\n"
    "  --clients N    so many in the room at most (1000)\n"
    "  --queue N      lines that may wait for a client; one who is slower is dropped (100)\n"
    "  --rate N       lines per second that one client may send; 0: any number (20)\n"
    "  --login S      seconds to give a nick (60)\n"
    "  --linger S     seconds for the last lines to one who leaves (2)\n"
    "  --workers N    OS threads that run the fibers; 0: one per CPU (0)\n"
    "  --help         this text\n";

static void parse_options(int argc, char **argv)
{
    enum { HOST, PORT, CLIENTS, QUEUE, RATE, LOGIN, LINGER, WORKERS, HELP };
    static const struct option options[] = {
        { "host", 1, NULL, HOST },       { "port", 1, NULL, PORT },
        { "clients", 1, NULL, CLIENTS }, { "queue", 1, NULL, QUEUE },
        { "rate", 1, NULL, RATE },       { "login", 1, NULL, LOGIN },
        { "linger", 1, NULL, LINGER },   { "workers", 1, NULL, WORKERS },
        { "help", 0, NULL, HELP },       { 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case HOST:
            chat.host = optarg;
            break;
        case PORT:
            tool_number("--port", optarg, 0, 65535);
            chat.port = optarg;
            break;
        case CLIENTS:
            chat.clients_max = (unsigned)tool_number("--clients", optarg, 1, 1000000);
            break;
        case QUEUE:
            chat.queue_max = (unsigned)tool_number("--queue", optarg, 4, 100000);
            break;
        case RATE:
            chat.rate = (unsigned)tool_number("--rate", optarg, 0, 1000000);
            break;
        case LOGIN:
            chat.login_ns = tool_seconds("--login", optarg);
            break;
        case LINGER:
            chat.linger_ns = tool_seconds("--linger", optarg);
            break;
        case WORKERS:
            chat.workers = (unsigned)tool_number("--workers", optarg, 0, 1024);
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

struct door {
    int listener;
    coir_scope *clients;
};

static int accept_all(void *arg)
{
    struct door *door = arg;
    return tool_accept_all(door->listener, door->clients, "client", client_serve);
}

/* The first fiber: on SIGTERM everyone is told, and gets the time to hear it. */
static void run(void *failed)
{
    sigset_t stop;
    int sig;
    coir_scope clients COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_attr attr = { .flags = COIR_SCOPE_KEEP_GOING };
    struct door door = { .clients = &clients };
    if (tool_watch_stop(&stop) < 0 || coir_scope_open_with(&clients, &attr) < 0)
        tool_die("cannot start: %s", strerror(errno));
    door.listener = tool_listen(chat.host, chat.port);
    if (coir_scope_spawn(&clients, accept_all, &door) < 0)
        tool_die("cannot start: %s", strerror(errno));
    *(bool *)failed = coir_sigwait(&stop, &sig) != 0;
    coir_scope_cancel(&clients);
    coir_scope_wait(&clients);
    coir_close(door.listener);
}

int main(int argc, char **argv)
{
    bool failed = false;
    coir_options options = COIR_ZERO;
    parse_options(argc, argv);
    tool_raise_files();
    options.workers = chat.workers;
    if (coir_run(run, &failed, &options) < 0)
        tool_die("cannot start: %s", strerror(errno));
    return failed;
}
