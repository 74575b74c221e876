/* bench/peers/pread.c - plain pread(2), by one thread or many.   Try: pread file_cached 1
 * SPDX-License-Identifier: MIT
 *
 * Rows as in coir_file.c: a thread for each read that is under way. The first is the program's own,
 * so that one reader has no other thread beside it. */
#include <errno.h>
#include <libgen.h>
#include <pthread.h>
#include <unistd.h>

#include "../data.h"

static struct {
    int fd;
    long n, each;
    char *buffers;
} file;

static void *reader(void *arg)
{
    long i = (long)(intptr_t)arg;
    char *buffer = file.buffers + i * DATA_READ_BYTES;
    uint64_t state = (uint64_t)i + 1;
    for (long k = 0; k < file.each; k++)
        if (pread(file.fd, buffer, DATA_READ_BYTES, data_offset(&state)) != DATA_READ_BYTES)
            die("pread");
    return NULL;
}

static void read_all(void)
{
    pthread_t *t = calloc((size_t)file.n, sizeof *t);
    if (!t)
        die("calloc");
    for (long i = 1; i < file.n; i++) {
        errno = pthread_create(&t[i], NULL, reader, (void *)(intptr_t)i);
        if (errno)
            die("pthread_create");
    }
    reader(NULL);
    for (long i = 1; i < file.n; i++)
        pthread_join(t[i], NULL);
    free(t);
}

int main(int argc, char **argv)
{
    char more[64];
    bool direct = argc == 3 && !strcmp(argv[1], "file_direct");
    file.n = argc == 3 ? atol(argv[2]) : 0;
    if (file.n < 1 || (!direct && strcmp(argv[1], "file_cached"))) {
        fprintf(stderr, "usage: %s file_cached|file_direct READERS\n", argv[0]);
        return 2;
    }
    file.fd = data_open(dirname(argv[0]), direct);
    file.buffers = data_buffers(file.n);
    file.each = data_reads(direct, file.n) / file.n;
    int64_t cpu0 = cpu_clock_ns(), t0 = clock_ns();
    read_all();
    int64_t t1 = clock_ns(), cpu1 = cpu_clock_ns();
    long ops = file.each * file.n;
    snprintf(more, sizeof more, ", \"cpu_ns\": %.1f", (double)(cpu1 - cpu0) / (double)ops);
    report(direct ? "file_direct" : "file_cached", (double)(t1 - t0) / (double)ops, ops, NULL,
           more);
    free(file.buffers);
    close(file.fd);
    return 0;
}
