/* bench/coir_bench.c - coir's side, through the public interface.   Try: coir_bench yield 1000
 * SPDX-License-Identifier: MIT
 *
 * yield N        N fibers yield in turn             ns per yield
 * spawn_waves N  spawn 10 000, join 10 000, repeat  ns per fiber, N in all
 * spawn_once N   spawn N, then join N               ns per fiber, and the peak of memory
 * parked N       N fibers have run and are parked   memory at that moment; ns to spawn and park one
 * idle N         N workers with nothing to do       context switches and CPU ns of all threads
 * chan_*, mutex, skynet, forkjoin, forkjoin_flat: coir_coord.c.   accept: coir_accept.c.
 * echo, echo_epoll: coir_echo.c.   file_cached, file_direct: coir_file.c.
 * A third argument is the number of workers. yield and parked have one: their plain variables are
 * shared safely then. */
#include "coir_rows.h"

#include <dirent.h>
#include <libgen.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)
#define COIR_VERSION                                                                               \
    TEXT(COIR_VERSION_MAJOR) "." TEXT(COIR_VERSION_MINOR) "." TEXT(COIR_VERSION_PATCH)

struct run run;

static struct {
    long each;   /* yields of one fiber */
    long warm;   /* fibers that have made their warm-up rounds */
    long done;   /* fibers that have made all their yields */
    long parked; /* fibers that have run and are about to park */
} count;

void runtime(void (*fn)(void *))
{
    coir_options options = { .workers = run.workers };
    if (coir_run(fn, NULL, &options) < 0)
        die("coir_run");
}

static void *yielder(void *arg)
{
    for (long i = 0; i < BENCH_WARM; i++)
        coir_yield();
    if (++count.warm == run.n)
        run.t0 = clock_ns();
    for (long i = 0; i < count.each; i++)
        coir_yield();
    if (++count.done == run.n)
        run.t1 = clock_ns();
    return arg;
}

static void yield_main(void *arg)
{
    coir_fiber **h = handles(run.n);
    (void)arg;
    count.each = BENCH_YIELDS / run.n;
    run.ops = count.each * run.n;
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(yielder, NULL);
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    free(h);
}

static void *empty(void *arg)
{
    return arg;
}

static void waves(long size)
{
    coir_fiber **h = handles(size);
    run.t0 = clock_ns();
    for (long left = run.n; left > 0; left -= size) {
        for (long i = 0; i < size; i++)
            h[i] = spawn(empty, NULL);
        for (long i = 0; i < size; i++)
            join(h[i]);
        run.ops += size;
    }
    run.t1 = clock_ns();
    free(h);
}

static void spawn_waves_main(void *arg)
{
    (void)arg;
    waves(BENCH_WAVE);
}

static void spawn_once_main(void *arg)
{
    (void)arg;
    waves(run.n);
}

static void *sleeper(void *arg)
{
    count.parked++;
    if (coir_sleep(COIR_SEC(3600)) == 0 || errno != ECANCELED)
        die("coir_sleep");
    return arg;
}

static void parked_main(void *arg)
{
    coir_fiber **h = handles(run.n);
    (void)arg;
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(sleeper, NULL);
    /* A fiber counts itself right before it parks, and there is one worker: whenever this fiber
     * runs, all that are counted are parked. */
    while (count.parked < run.n)
        coir_yield();
    run.t1 = clock_ns();
    run.ops = run.n;
    run.memory = memory_now();
    for (long i = 0; i < run.n; i++)
        if (coir_cancel(h[i]) < 0)
            die("coir_cancel");
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    free(h);
}

static void *pipe_reader(void *arg)
{
    char byte;
    if (coir_read(*(int *)arg, &byte, 1) < 0)
        die("coir_read");
    return NULL;
}

/* One fiber waits for the clock, one for a descriptor; neither ends within the measurement. */
static void idle_main(void *arg)
{
    coir_fiber *f = coir_spawn(pipe_reader, arg);
    if (!f)
        die("coir_spawn");
    coir_sleep(COIR_SEC(3600));
}

struct activity {
    long switches; /* voluntary and involuntary */
    long cpu_ns;
    long threads;
};

/* What the threads of pid have done so far, io_uring's own included. */
static struct activity activity_of(pid_t pid)
{
    struct activity a = { 0 };
    char path[64], file[512];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir)
        die(path);
    for (struct dirent *d; (d = readdir(dir));) {
        if (d->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s/status", path, d->d_name);
        a.switches += proc_number(file, "voluntary_ctxt_switches");
        a.switches += proc_number(file, "nonvoluntary_ctxt_switches");
        snprintf(file, sizeof file, "%s/%s/schedstat", path, d->d_name);
        long ns = 0;
        FILE *f = fopen(file, "re");
        if (!f || fscanf(f, "%ld", &ns) != 1)
            die(file);
        fclose(f);
        a.cpu_ns += ns;
        a.threads++;
    }
    closedir(dir);
    return a;
}

/* The runtime is in a child, so that watching it wakes nothing in it. At first it gives unneeded
 * stacks' memory back, which takes it two seconds. */
static int idle_row(long workers)
{
    enum { SECONDS = 3 };
    const struct timespec settle = { 2, 500000000 }, window = { SECONDS, 0 };
    int fds[2];
    if (pipe(fds) < 0)
        die("pipe");
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        coir_options options = { .workers = (unsigned)workers };
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (coir_run(idle_main, fds, &options) < 0)
            die("coir_run");
        _exit(1);
    }
    nanosleep(&settle, NULL);
    struct activity before = activity_of(pid);
    nanosleep(&window, NULL);
    struct activity after = activity_of(pid);
    int ended = waitpid(pid, NULL, WNOHANG) != 0;
    kill(pid, SIGKILL);
    if (ended) {
        fprintf(stderr, "idle: the runtime ended by itself\n");
        return 1;
    }
    waitpid(pid, NULL, 0);
    printf("{\"row\": \"idle\", \"ns\": %.3f, \"ops\": %d, \"switches\": %ld, \"cpu_ns\": %ld, "
           "\"threads\": %ld}\n",
           (double)(after.cpu_ns - before.cpu_ns) / SECONDS, SECONDS,
           after.switches - before.switches, after.cpu_ns - before.cpu_ns, after.threads);
    return 0;
}

static void yield_row(void)
{
    runtime(yield_main);
}

static void spawn_waves_row(void)
{
    runtime(spawn_waves_main);
}

static void spawn_once_row(void)
{
    runtime(spawn_once_main);
}

static void parked_row(void)
{
    runtime(parked_main);
}

static const struct row {
    const char *name;
    void (*fn)(void);
    unsigned workers_max;
} rows[] = { { "yield", yield_row, 1 },
             { "spawn_waves", spawn_waves_row, 1024 },
             { "spawn_once", spawn_once_row, 1024 },
             { "parked", parked_row, 1 },
             { "chan_pingpong", chan_pingpong_row, 1024 },
             { "chan_unbuf", chan_unbuf_row, 1024 },
             { "chan_buf128", chan_buf128_row, 1024 },
             { "mutex", mutex_row, 1024 },
             { "skynet", skynet_row, 1024 },
             { "forkjoin", forkjoin_row, 1024 },
             { "forkjoin_flat", forkjoin_flat_row, 1024 },
             { "accept", accept_row, 1024 },
             { "echo", echo_row, 1 },
             { "echo_epoll", echo_epoll_row, 1 },
             { "file_cached", file_cached_row, 1 },
             { "file_direct", file_direct_row, 1 },
             { "fetch", fetch_row, 1 },
             { "fetch_delay", fetch_delay_row, 1 },
             { "fetch_stream", fetch_stream_row, 1 } };

int main(int argc, char **argv)
{
    run.n = argc > 2 ? atol(argv[2]) : 0;
    run.workers = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    if (argc > 4 || run.n < 1 || run.workers < 1) {
        fprintf(stderr, "usage: %s ROW N [WORKERS]; bench/run.py --list names the rows\n", argv[0]);
        return 2;
    }
    if (!strcmp(argv[1], "idle"))
        return idle_row(run.n);
    if (!strcmp(argv[1], "version")) {
        report_version("coir", COIR_VERSION);
        return 0;
    }
    for (const struct row *row = rows; row < rows + sizeof rows / sizeof rows[0]; row++) {
        if (strcmp(argv[1], row->name) || run.workers > row->workers_max)
            continue;
        run.directory = dirname(argv[0]);
        row->fn();
        report(row->name, (double)(run.t1 - run.t0) / (double)run.ops, run.ops,
               run.memory.maps ? &run.memory : NULL, run.more);
        return 0;
    }
    fprintf(stderr, "%s: no row '%s' with %u workers\n", argv[0], argv[1], run.workers);
    return 2;
}
