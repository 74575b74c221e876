/* fetch_many/report.c - what the user sees: the bar, the faults, the OS threads, the summary.
 * SPDX-License-Identifier: MIT
 *
 * Checksums go to stdout, all that is meant for people to stderr. The bar is drawn on a terminal
 * only. */
#include "fetch.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* "12.3 MB" */
static const char *human(char out[16], int64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 999.5 && unit < 4; unit++)
        value /= 1000;
    snprintf(out, 16, unit && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static double seconds(int64_t ns)
{
    return (double)ns / 1e9;
}

/* Threads that the kernel runs for io_uring (operations it cannot do without blocking) count as the
 * process's. */
static unsigned count_helpers(void)
{
    unsigned helpers = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[300], name[16] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        if (fgets(name, sizeof name, file))
            helpers += strncmp(name, "iou-", 4) == 0;
        fclose(file);
    }
    if (dir)
        closedir(dir);
    return helpers;
}

void report_threads(struct job *job)
{
    char line[128];
    unsigned threads = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "Threads: %u", &threads) != 1)
        ;
    if (file)
        fclose(file);
    if (threads > job->threads_max) {
        job->threads_max = threads;
        job->helpers = threads > job->workers ? count_helpers() : 0;
    }
}

static size_t terminal_columns(void)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return columns && atoi(columns) > 0 ? (size_t)atoi(columns) : 80;
}

/* One write, so that no fault of another worker lands in the middle. The last column stays free:
 * some terminals wrap. */
static void draw(const struct job *job)
{
    char text[160], size[16], bar[512];
    size_t done = job->done, failed = job->failed, columns = terminal_columns();
    double elapsed = seconds(coir_now() - job->start_ns);
    const char *no_color = getenv("NO_COLOR");
    bool color = !no_color || !*no_color;

    int len = snprintf(text, sizeof text, " %zu/%zu  %s  %.0f/s", done, job->count,
                       human(size, job->live_bytes), elapsed > 0 ? (double)done / elapsed : 0);
    if (failed)
        len += snprintf(text + len, sizeof text - (size_t)len, "  %zu failed", failed);

    size_t room = columns > (size_t)len + 3 ? columns - (size_t)len - 3 : 0;
    if (room > sizeof bar - 1)
        room = sizeof bar - 1;
    if (room < 8) {
        fprintf(stderr, "\r\033[K%.*s", (int)(columns - 1), text + 1);
        return;
    }
    size_t full = job->count ? room * done / job->count : room;
    memset(bar, '=', full);
    memset(bar + full, ' ', room - full);
    fprintf(stderr, "\r\033[K[%s%.*s%s%.*s]%s", color ? "\033[32m" : "", (int)full, bar,
            color ? "\033[0m" : "", (int)(room - full), bar + full, text);
}

void *report_watch(void *arg)
{
    struct job *job = arg;
    do {
        report_threads(job);
        if (job->bar)
            draw(job);
    } while (coir_sleep(COIR_MS(100)) == 0);
    if (job->bar)
        fputs("\r\033[K", stderr);
    return NULL;
}

void report_fault(const struct job *job, const char *url, const struct fault *fault)
{
    char shown[URL_MAX + 1];
    text_clean(shown, sizeof shown, url);
    fprintf(stderr, "%sfetch_many: %s: %s: %s\n", job->bar ? "\r\033[K" : "", shown,
            fault_phase(fault), fault->cause);
}

int report_end(const struct job *job)
{
    size_t pages = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < job->count; i++) {
        const struct result *r = &job->results[i];
        if (!r->ok)
            continue;
        pages++;
        bytes += r->bytes;
        if (job->sums)
            printf("%u %lld %s\n", r->sum, (long long)r->bytes, job->urls[i]);
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "fetch_many: cannot write the checksums: %s\n", strerror(errno));
        return -1;
    }
    if (job->quiet)
        return 0;

    char size[16], helpers[64] = "";
    double elapsed = seconds(job->end_ns - job->start_ns);
    if (job->helpers)
        snprintf(helpers, sizeof helpers, " (%u of them the kernel's own, for io_uring)",
                 job->helpers);
    fprintf(stderr, "%zu page%s, %s, %zu failed, in %.2f s: %.0f pages/s over %u connection%s\n",
            pages, plural(pages), human(size, bytes), job->count - pages, elapsed,
            elapsed > 0 ? (double)pages / elapsed : 0, job->dials, plural(job->dials));
    fprintf(stderr, "%u fiber%s on %u worker%s; OS threads used: %u%s\n", job->fibers,
            plural(job->fibers), job->workers, plural(job->workers), job->threads_max, helpers);
    return 0;
}
