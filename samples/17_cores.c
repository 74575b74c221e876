/* 17_cores.c - a hundred jobs on one core, then on all.   Try: build/samples/17_cores
 * SPDX-License-Identifier: MIT
 *
 * Half of the jobs wait, half compute. Waiting is concurrent on one core already; computing takes
 * several cores to be parallel. Each line of the picture is an OS thread, each column a moment. */
#include <coir.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { JOBS = 100, COLUMNS = 64, THREADS_MAX = 8 };

static struct job {
    int64_t from_ns, to_ns;
    pid_t thread; /* 0: it waited */
} jobs[JOBS];

static void *work(void *arg)
{
    struct job *j = arg;
    j->from_ns = coir_now();
    if ((j - jobs) % 2 == 0) {
        coir_sleep(COIR_MS(100));
        j->thread = 0;
    } else {
        while (coir_now() < j->from_ns + COIR_MS(4))
            ;
        j->thread = gettid();
    }
    j->to_ns = coir_now();
    return NULL;
}

static void draw(pid_t thread, const char *name, int64_t start_ns, int64_t ns)
{
    char line[COLUMNS + 1] = "";
    memset(line, '.', COLUMNS);
    for (int i = 0; i < JOBS; i++)
        for (int c = 0; c < COLUMNS; c++) {
            int64_t moment_ns = start_ns + (2 * c + 1) * ns / (2 * COLUMNS);
            if (jobs[i].thread == thread && jobs[i].from_ns <= moment_ns &&
                moment_ns < jobs[i].to_ns)
                line[c] = '#';
        }
    printf("  %-8s %s\n", name, line);
}

static void run(void *arg)
{
    coir_fiber *fibers[JOBS];
    pid_t threads[THREADS_MAX] = { 0 };
    int64_t start_ns = coir_now();
    int n = 0;
    for (int i = 0; i < JOBS; i++)
        fibers[i] = coir_spawn(work, &jobs[i]);
    for (int i = 0; i < JOBS; i++)
        coir_join(fibers[i], NULL);
    int64_t ns = coir_now() - start_ns;
    printf("%s: %d ms\n", (const char *)arg, (int)(ns / 1000000));
    draw(0, "waiting", start_ns, ns);
    for (int i = 0; i < JOBS; i++) {
        int known = !jobs[i].thread;
        for (int k = 0; k < n; k++)
            known |= threads[k] == jobs[i].thread;
        if (!known && n < THREADS_MAX)
            draw(threads[n++] = jobs[i].thread, "core", start_ns, ns);
    }
}

int main(void)
{
    coir_options one_core = { .workers = 1 };
    if (coir_run(run, "one core", &one_core) < 0 || coir_run(run, "all cores", NULL) < 0) {
        perror("17_cores: coir_run");
        return 2;
    }
    return 0;
}
