/* bench/coir_file.c - random reads of 4 KiB: a fiber for each that is under way.   Try:
 * coir_bench file_direct 32
 * SPDX-License-Identifier: MIT
 *
 * file_cached N  N fibers read from the page cache; ns per read
 * file_direct N  the same with O_DIRECT. Further figure: CPU time per read. */
#include "coir_rows.h"

#include "data.h"

static struct {
    int fd;
    long each; /* reads of one fiber */
    char *buffers;
} file;

static void *reader(void *arg)
{
    long i = (long)(intptr_t)arg;
    char *buffer = file.buffers + i * DATA_READ_BYTES;
    uint64_t state = (uint64_t)i + 1;
    for (long k = 0; k < file.each; k++)
        if (coir_pread(file.fd, buffer, DATA_READ_BYTES, data_offset(&state)) != DATA_READ_BYTES)
            die("coir_pread");
    return NULL;
}

static void file_main(void *arg)
{
    coir_fiber **h = handles(run.n);
    (void)arg;
    int64_t cpu0 = cpu_clock_ns();
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++)
        h[i] = spawn(reader, (void *)(intptr_t)i);
    for (long i = 0; i < run.n; i++)
        join(h[i]);
    run.t1 = clock_ns();
    snprintf(run.more, sizeof run.more, ", \"cpu_ns\": %.1f",
             (double)(cpu_clock_ns() - cpu0) / (double)run.ops);
    free(h);
}

static void read_file(bool direct)
{
    file.fd = data_open(run.directory, direct);
    file.buffers = data_buffers(run.n);
    file.each = data_reads(direct, run.n) / run.n;
    run.ops = file.each * run.n;
    runtime(file_main);
    free(file.buffers);
    close(file.fd);
}

void file_cached_row(void)
{
    read_file(false);
}

void file_direct_row(void)
{
    read_file(true);
}
