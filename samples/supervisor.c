/* supervisor.c - keep programs running.
 * Try: build/samples/supervisor 'sleep 3' 'sh -c "echo hello; exit 1"'
 * SPDX-License-Identifier: MIT */
#include "super.h"
#include "tool.h"

#include <getopt.h>

struct super super = { .restarts_max = 5,
                       .window_ns = COIR_SEC(60),
                       .pause_ns = COIR_MS(100),
                       .pause_max_ns = COIR_SEC(10),
                       .grace_ns = COIR_SEC(5) };

static struct {
    struct child *children;
    size_t count;
} all;

static const char usage[] =
    "usage: supervisor [OPTION]... [COMMAND]...\n"
    "Run each COMMAND, a command line of its own, start it again when it ends, and print what it\n"
    "says after its name. On SIGTERM or SIGINT end all of them, and then itself.\n"
    "\n"
    "  -c FILE     also take commands from FILE, one per line (# begins a comment)\n"
    "  -r N        give a command up when it is to be started again more than N times (5)\n"
    "  -w SECONDS  ... within so long (60)\n"
    "  -b SECONDS  pause before the first new start, doubled for each further one (0.1)\n"
    "  -B SECONDS  ... up to so long (10)\n"
    "  -g SECONDS  from SIGTERM to SIGKILL (5); a second SIGTERM kills at once\n"
    "  -o          who ends with status 0 is done, and not started again\n"
    "  -h, --help  this text\n"
    "\n"
    "Words are split at blanks; '...', \"...\" and \\ quote; there is no shell but one you call.\n"
    "What a child leaves behind in its process group is killed when it ends.\n"
    "Exit status: 0 told to end, or all are done; 1 a command was given up; 2 wrong usage.\n";

/* Split a command line in place: the words are what is left of it. words has room for them, and is
 * all NULL. Returns false: a quote is not closed. */
static bool split(char *line, char **words)
{
    size_t count = 0;
    for (char *in = line + strspn(line, " \t"); *in; in += strspn(in, " \t")) {
        char *out = words[count++] = in;
        char quote = 0;
        for (; *in && (quote || (*in != ' ' && *in != '\t')); in++) {
            if (*in == quote)
                quote = 0;
            else if (!quote && (*in == '"' || *in == '\''))
                quote = *in;
            else if (*in == '\\' && quote != '\'' && in[1])
                *out++ = *++in;
            else
                *out++ = *in;
        }
        if (quote)
            return false;
        if (*in)
            in++;
        *out = 0;
    }
    return true;
}

/* The last part of its path; the second one of a name is NAME-2. */
static void name_child(struct child *child)
{
    const char *slash = strrchr(child->words[0], '/');
    const char *base = slash && slash[1] ? slash + 1 : child->words[0];
    snprintf(child->name, sizeof child->name, "%.16s", base);
    for (size_t i = 0, number = 2; i < all.count; i++) {
        if (strcmp(all.children[i].name, child->name) != 0)
            continue;
        snprintf(child->name, sizeof child->name, "%.16s-%zu", base, number++);
        i = (size_t)-1; /* is that one taken, too? */
    }
    if ((int)strlen(child->name) > super.name_width)
        super.name_width = (int)strlen(child->name);
}

/* place is for the message about what is wrong. */
static void add_command(const char *text, const char *place)
{
    if ((all.count & (all.count - 1)) == 0) /* full: the capacity is 1, 2, 4, 8, ... */
        all.children =
            realloc(all.children, sizeof *all.children * (all.count ? 2 * all.count : 1));
    if (!all.children)
        tool_die("out of memory");
    struct child *child = &all.children[all.count];
    *child = (struct child){ .line = strdup(text),
                             .words = calloc(strlen(text) / 2 + 2, sizeof(char *)) };
    if (!child->line || !child->words)
        tool_die("out of memory");
    if (!split(child->line, child->words))
        tool_die("%s: a quote is not closed: %s", place, text);
    if (!child->words[0])
        tool_die("%s: the command is empty", place);
    name_child(child);
    all.count++;
}

static void read_commands(const char *path)
{
    FILE *file = fopen(path, "re");
    char *line = NULL, place[300];
    size_t cap = 0;
    if (!file)
        tool_die("cannot read %s: %s", path, strerror(errno));
    for (unsigned number = 1; getline(&line, &cap, file) >= 0; number++) {
        line[strcspn(line, "\r\n")] = 0;
        char *start = line + strspn(line, " \t");
        snprintf(place, sizeof place, "%s:%u", path, number);
        if (*start && *start != '#')
            add_command(start, place);
    }
    if (ferror(file))
        tool_die("cannot read %s: %s", path, strerror(errno));
    free(line);
    fclose(file);
}

static void parse_options(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int option;
    while ((option = getopt_long(argc, argv, "c:r:w:b:B:g:oh", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            read_commands(optarg);
            break;
        case 'r':
            super.restarts_max = (unsigned)tool_number("-r", optarg, 0, 1000000);
            break;
        case 'w':
            super.window_ns = tool_seconds("-w", optarg);
            break;
        case 'b':
            super.pause_ns = tool_seconds("-b", optarg);
            break;
        case 'B':
            super.pause_max_ns = tool_seconds("-B", optarg);
            break;
        case 'g':
            super.grace_ns = tool_seconds("-g", optarg);
            break;
        case 'o':
            super.once = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default: /* getopt_long has said what is wrong */
            exit(2);
        }
    }
    for (int i = optind; i < argc; i++)
        add_command(argv[i], "command line");
    if (all.count == 0)
        tool_die("there is no command; try --help");
}

static struct {
    sigset_t set;
    coir_scope *scope;
} stop;

/* Until one of the signals has come. Returns 0, or -1 when the caller is cancelled. */
static int wait_signal(void)
{
    int sig, err;
    while ((err = coir_sigwait(&stop.set, &sig)) != 0) /* when the children have all descriptors */
        if (err == ECANCELED || coir_sleep(COIR_MS(50)) < 0)
            return -1;
    return 0;
}

/* The first signal has the children ended, each by its own fiber; a second one kills them. */
static void *end_on_signal(void *arg)
{
    (void)arg;
    if (wait_signal() == 0)
        coir_scope_cancel(stop.scope);
    while (wait_signal() == 0)
        for (size_t i = 0; i < all.count; i++)
            child_kill(&all.children[i]);
    return NULL;
}

static void run(void *arg)
{
    (void)arg;
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    coir_scope_attr attr = { .flags = COIR_SCOPE_KEEP_GOING };
    coir_scope_open_with(&scope, &attr);
    stop.scope = &scope;
    coir_fiber *watch = NULL;
    if (tool_watch_stop(&stop.set) < 0 || !(watch = coir_spawn(end_on_signal, NULL)))
        tool_die("cannot start: %s", strerror(errno));
    coir_yield(); /* its wait takes a descriptor, before the children take all of them */
    for (size_t i = 0; i < all.count; i++)
        if (coir_scope_spawn(&scope, child_keep, &all.children[i]) < 0)
            tool_die("cannot start: %s", strerror(errno));
    coir_scope_wait(&scope);
    coir_cancel(watch);
    coir_join(watch, NULL);
}

int main(int argc, char **argv)
{
    coir_options runtime = { .workers = 1 };
    int status = 0;
    parse_options(argc, argv);
    for (size_t i = 0; i < all.count; i++) {
        all.children[i].restarts = calloc(super.restarts_max + 1, sizeof(int64_t));
        if (!all.children[i].restarts)
            tool_die("out of memory");
    }
    if (coir_run(run, NULL, &runtime) < 0)
        tool_die("cannot start: %s", strerror(errno));
    for (size_t i = 0; i < all.count; i++) {
        status |= all.children[i].given_up;
        free(all.children[i].line);
        free(all.children[i].words);
        free(all.children[i].restarts);
    }
    free(all.children);
    return status;
}
