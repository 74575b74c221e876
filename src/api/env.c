/* api/env.c - options and environment: what the runtime starts with.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "cpus.h"
#include "helper.h"
#include "io/io.h"
#include "sched/stack.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_BYTES_DEFAULT = 256 * 1024, WATCHDOG_MS_MAX = 3600 * 1000 };

void coir__say(const char *format, ...)
{
    const char *verbose = secure_getenv("COIR_VERBOSE");
    if (!verbose || !*verbose || strcmp(verbose, "0") == 0)
        return;
    va_list args;
    va_start(args, format);
    fputs("coir: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void complain(const char *name, const char *value, const char *wanted)
{
    fprintf(stderr, "coir: %s=%s is ignored: %s\n", name, value, wanted);
}

/* A whole number with an optional unit K, M or G; false when it is anything else. */
static bool number(const char *text, unsigned long long *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno)
        return false;
    int shift = *end == 'K' || *end == 'k'   ? 10
                : *end == 'M' || *end == 'm' ? 20
                : *end == 'G' || *end == 'g' ? 30
                                             : 0;
    if (shift)
        end++;
    if (*end || *value > ULLONG_MAX >> shift)
        return false;
    *value <<= shift;
    return true;
}

static unsigned cpus(void)
{
    unsigned n = coir__cpus();
    return n < COIR__WORKERS_MAX ? n : COIR__WORKERS_MAX;
}

static unsigned workers_from_env(void)
{
    unsigned long long n;
    const char *text = secure_getenv("COIR_WORKERS");
    if (!text || !*text)
        return cpus();
    if (number(text, &n) && n >= 1 && n <= COIR__WORKERS_MAX)
        return (unsigned)n;
    complain("COIR_WORKERS", text, "it wants a number from 1 to 1024");
    return cpus();
}

static int stack_class_from_env(void)
{
    unsigned long long bytes;
    const char *text = secure_getenv("COIR_STACK");
    if (!text || !*text)
        return coir__stack_class(STACK_BYTES_DEFAULT);
    int class = number(text, &bytes) ? coir__stack_class(bytes) : -EINVAL;
    if (class >= 0)
        return class;
    complain("COIR_STACK", text, "it wants bytes, from 16K to 1G");
    return coir__stack_class(STACK_BYTES_DEFAULT);
}

/* An enum coir__engine_wish; -EINVAL. */
static int engine_by_name(const char *name)
{
    static const char *const names[] = {
        [COIR__WISH_AUTO] = "auto", [COIR__WISH_URING] = "uring", [COIR__WISH_EPOLL] = "epoll"
    };
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -EINVAL;
}

static int engine_from_env(void)
{
    const char *text = secure_getenv("COIR_IO");
    if (!text || !*text)
        return COIR__WISH_AUTO;
    int wish = engine_by_name(text);
    if (wish >= 0)
        return wish;
    complain("COIR_IO", text, "it wants auto, uring or epoll");
    return COIR__WISH_AUTO;
}

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP },   { "INT", SIGINT },     { "QUIT", SIGQUIT }, { "ABRT", SIGABRT },
    { "USR1", SIGUSR1 }, { "USR2", SIGUSR2 },   { "ALRM", SIGALRM }, { "TERM", SIGTERM },
    { "CHLD", SIGCHLD }, { "CONT", SIGCONT },   { "TSTP", SIGTSTP }, { "TTIN", SIGTTIN },
    { "TTOU", SIGTTOU }, { "XCPU", SIGXCPU },   { "XFSZ", SIGXFSZ }, { "VTALRM", SIGVTALRM },
    { "PROF", SIGPROF }, { "WINCH", SIGWINCH }, { "IO", SIGIO },     { "POLL", SIGPOLL },
    { "PWR", SIGPWR },   { "SYS", SIGSYS },
};

/* By name, with or without SIG, or by number. Not those that cannot be caught, stand for a fault or
 * are used by libc or us. 0: none. */
static int signal_of(const char *text)
{
    static const int never[] = { SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,
                                 SIGILL,  SIGTRAP, SIGURG,  SIGPIPE, 0 };
    enum { KERNELS_RTMIN = 32 };
    unsigned long long n;
    if (strncmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(text, signals[i].name) == 0)
            return signals[i].number;
    if (!number(text, &n) || n < 1 || n > (unsigned)SIGRTMAX ||
        (n >= KERNELS_RTMIN && n < (unsigned)SIGRTMIN))
        return 0;
    for (int i = 0; never[i]; i++)
        if (n == (unsigned)never[i])
            return 0;
    return (int)n;
}

int coir__dump_signal_from_env(void)
{
    const char *text = secure_getenv("COIR_DUMP_SIGNAL");
    if (!text || !*text)
        return 0;
    int sig = signal_of(text);
    if (!sig)
        complain("COIR_DUMP_SIGNAL", text, "it wants a signal, such as QUIT, SIGUSR1 or 10");
    return sig;
}

int64_t coir__watchdog_from_env(void)
{
    unsigned long long ms;
    const char *text = secure_getenv("COIR_WATCHDOG");
    if (!text || !*text || strcmp(text, "0") == 0)
        return 0;
    if (number(text, &ms) && ms >= 1 && ms <= WATCHDOG_MS_MAX)
        return COIR_MS(ms);
    complain("COIR_WATCHDOG", text, "it wants milliseconds, from 1 to 3600000");
    return 0;
}

bool coir__stats_from_env(void)
{
    const char *text = secure_getenv("COIR_STATS");
    return text && *text && strcmp(text, "0") != 0;
}

static bool reserved_clear(const uint64_t *reserved, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (reserved[i])
            return false;
    return true;
}

int coir__config_make(struct coir__config *config, const coir_options *options)
{
    static const coir_options none = COIR_ZERO;
    if (!options)
        options = &none;
    if (options->workers > COIR__WORKERS_MAX || options->flags & ~(unsigned)COIR_UNGUARDED ||
        options->drain_ns < 0 ||
        !reserved_clear(options->reserved, sizeof options->reserved / sizeof *options->reserved))
        return -EINVAL;
    int class =
        options->stack_bytes ? coir__stack_class(options->stack_bytes) : stack_class_from_env();
    if (class < 0)
        return class;
    int wish = options->io ? engine_by_name(options->io) : engine_from_env();
    if (wish < 0)
        return wish;
    *config = (struct coir__config){
        .engine = coir__engine_choose((enum coir__engine_wish)wish),
        .workers = options->workers ? options->workers : workers_from_env(),
        .stack_class = (unsigned)class,
        .unguarded = options->flags & COIR_UNGUARDED,
        .drain_ns = options->drain_ns ? options->drain_ns : COIR_SEC(1),
    };
    return 0;
}
