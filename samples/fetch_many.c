/* fetch_many.c - fetch many URLs, one fiber per download.   Try: build/samples/fetch_many -h
 * SPDX-License-Identifier: MIT
 *
 * main() reads the options and the list of URLs, the runtime starts, run() spawns the fibers and
 * joins them. fetch_many/fetch.h tells what is where; fetch_many/fetch.c is the heart. */
#include "fetch.h"

#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "usage: fetch_many [OPTION]... [URL]...\n"
    "Fetch http:// URLs, many at once, each by a fiber of its own.\n"
    "\n"
    "  -i FILE     also take URLs from FILE, one per line (# begins a comment); - is stdin\n"
    "  -j N        so many fibers, hence downloads, at once (100)\n"
    "  -w N        OS threads that run the fibers (1)\n"
    "  -t SECONDS  time for each URL, from connecting to its last byte; 0: no limit (30)\n"
    "  -o DIR      store the bodies below DIR, as DIR/host:port/path\n"
    "  --sums      print \"CHECKSUM BYTES URL\" for each page; CRC-32 as cksum(1) computes it\n"
    "  -q          no progress bar and no summary\n"
    "  -h, --help  this text\n"
    "\n"
    "Hosts are numeric addresses or localhost. Redirects are not followed.\n"
    "Exit status: 0 every page came, 1 some did not, 2 wrong usage or could not start.\n";

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("fetch_many: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(2);
}

static unsigned parse_count(char option, const char *text, unsigned max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 1 || value > (long)max)
        die("-%c wants a number from 1 to %u, not \"%s\"; try --help", option, max, text);
    return (unsigned)value;
}

static int64_t parse_seconds(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0 || value > 1e9)
        die("-t wants seconds, such as 0.5 or 30, not \"%s\"; try --help", text);
    return value > 0 ? (int64_t)(value * 1e9) : COIR_NEVER;
}

static void add_url(struct job *job, const char *text)
{
    if ((job->count & (job->count - 1)) == 0) { /* full: the capacity is 1, 2, 4, 8, ... */
        job->urls = realloc(job->urls, sizeof *job->urls * (job->count ? 2 * job->count : 1));
        if (!job->urls)
            die("out of memory for the list of URLs");
    }
    if (!(job->urls[job->count++] = strdup(text)))
        die("out of memory for the list of URLs");
}

static void read_list(struct job *job, const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    if (!file)
        die("cannot read %s: %s", path, strerror(errno));
    while (getline(&line, &cap, file) >= 0) {
        char *start = line + strspn(line, " \t");
        size_t len = strcspn(start, "\r\n");
        while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t'))
            len--;
        start[len] = 0;
        if (len > 0 && *start != '#')
            add_url(job, start);
    }
    if (ferror(file))
        die("cannot read %s: %s", path, strerror(errno));
    free(line);
    if (file != stdin)
        fclose(file);
}

static int open_root(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die("cannot store into %s: %s", path, strerror(errno));
    return fd;
}

static void parse_options(struct job *job, int argc, char **argv)
{
    static const struct option options[] = { { "sums", no_argument, NULL, 'S' },
                                             { "help", no_argument, NULL, 'h' },
                                             { 0 } };
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":i:j:w:t:o:qh", options, NULL)) != -1) {
        switch (option) {
        case 'i':
            read_list(job, optarg);
            break;
        case 'j':
            job->fibers = parse_count('j', optarg, 1000000);
            break;
        case 'w':
            job->workers = parse_count('w', optarg, 1024);
            break;
        case 't':
            job->limit_ns = parse_seconds(optarg);
            break;
        case 'o':
            job->root = open_root(optarg);
            break;
        case 'S':
            job->sums = true;
            break;
        case 'q':
            job->quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case ':':
            die("-%c wants an argument; try --help", optopt);
        default:
            die("there is no option %s; try --help", argv[optind - 1]);
        }
    }
    for (; optind < argc; optind++)
        add_url(job, argv[optind]);
}

/* Each fiber has a connection, and with -o two directories and a file: the usual soft limit of 1024
 * is soon used up. */
static void bound_fibers(struct job *job)
{
    struct rlimit limit;
    unsigned each = job->root < 0 ? 1 : 4, reserve = 32 + 8 * job->workers;
    if (job->fibers > job->count)
        job->fibers = (unsigned)job->count;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t)job->fibers * each + reserve)
        return;
    job->fibers = limit.rlim_cur > reserve + each ? (unsigned)(limit.rlim_cur - reserve) / each : 1;
    fprintf(stderr, "fetch_many: only %u at once: this process may have %llu file descriptors\n",
            job->fibers, (unsigned long long)limit.rlim_cur);
}

/* The first fiber. On return every download has ended. */
static void run(void *arg)
{
    struct job *job = arg;
    coir_fiber **fibers = calloc(job->fibers, sizeof *fibers);
    coir_attr attr = COIR_ATTR_INIT;
    unsigned spawned = 0;
    attr.name = "fetch";
    attr.flags = job->workers > 1 ? COIR_SPREAD : 0;
    job->start_ns = coir_now();
    coir_fiber *watch = coir_spawn(report_watch, job);
    while (fibers && spawned < job->fibers &&
           (fibers[spawned] = coir_spawn_with(&attr, fetch_fiber, job)))
        spawned++;
    if (spawned < job->fibers)
        fprintf(stderr, "fetch_many: only %u of %u fibers: %s\n", spawned, job->fibers,
                strerror(errno));
    for (unsigned i = 0; i < spawned; i++)
        coir_join(fibers[i], NULL);
    job->end_ns = coir_now();
    job->fibers = spawned;
    if (watch && coir_cancel(watch) == 0)
        coir_join(watch, NULL);
    report_threads(job);
    free(fibers);
}

int main(int argc, char **argv)
{
    static struct job job = { .fibers = 100, .workers = 1, .limit_ns = COIR_SEC(30), .root = -1 };
    const char *term = getenv("TERM");

    parse_options(&job, argc, argv);
    if (job.count == 0)
        die("there is no URL to fetch; try --help");
    job.bar = !job.quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    if (!(job.results = calloc(job.count, sizeof *job.results)))
        die("out of memory for %zu results", job.count);
    bound_fibers(&job);

    coir_options options = COIR_ZERO;
    options.workers = job.workers;
    if (coir_run(run, &job, &options) < 0)
        die("cannot start: %s%s", strerror(errno),
            errno == EPERM || errno == ENOSYS ? " (io_uring is refused here)" : "");
    if (report_end(&job) < 0)
        return 1;
    for (size_t i = 0; i < job.count; i++) {
        if (!job.results[i].ok)
            return 1;
        free(job.urls[i]);
    }
    free(job.urls);
    free(job.results);
    return 0;
}
