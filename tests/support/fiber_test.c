/* tests/support/fiber_test.c - see fiber_test.h.
 * SPDX-License-Identifier: MIT */
#include "fiber_test.h"

#include "sched/worker.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const unsigned test_workers[] = { 1, 2, 4, 0 };

int fiber_test_run(unsigned workers, void (*fn)(void *), void *arg)
{
    coir_options options = { .workers = workers };
    return coir_run(fn, arg, &options) < 0 ? errno : 0;
}

int test_shields(void)
{
    struct coir__fiber *self = coir__fiber_self();
    return self ? self->shields : 0;
}

int test_qemu(void)
{
    return getenv("TEST_QEMU") != NULL;
}

int test_scaled(int n, int least)
{
    const char *text = getenv("TEST_SCALE");
    long percent = text ? strtol(text, NULL, 10) : 100;
    long scaled = (long)n * percent / 100;
    return scaled < least ? least : (int)scaled;
}

/* What qemu adds when it is killed by a signal. */
static void leave_out_qemu(char *text)
{
    char *line = test_qemu() ? strstr(text, "qemu: uncaught target signal") : NULL;
    char *end = line ? strchr(line, '\n') : NULL;
    if (end)
        memmove(line, end + 1, strlen(end + 1) + 1);
}

int test_child(int (*fn)(void *), void *arg, char *text, size_t size)
{
    int ends[2];
    if (pipe(ends) < 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(fn(arg));
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t n;
    char rest[256];
    while ((n = len + 1 < size ? read(ends[0], text + len, size - 1 - len)
                               : read(ends[0], rest, sizeof rest)) > 0)
        len += len + 1 < size ? (size_t)n : 0;
    if (size) {
        text[len] = 0;
        leave_out_qemu(text);
    }
    close(ends[0]);
    int status = -1;
    return pid < 0 || waitpid(pid, &status, 0) < 0 ? -1 : status;
}

static int count_entries(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

int test_fds_open(void)
{
    return count_entries("/proc/self/fd") - 1; /* without the directory's own */
}

int test_threads(void)
{
    if (!test_qemu())
        return count_entries("/proc/self/task");
    usleep(2000); /* one that was joined is there for a moment longer */
    return count_entries("/proc/self/task") - 1; /* qemu's own */
}

int test_maps(void)
{
    int n = 0, c;
    FILE *maps = fopen("/proc/self/maps", "re");
    if (!maps)
        return -1;
    while ((c = fgetc(maps)) != EOF)
        n += c == '\n';
    fclose(maps);
    return n;
}
