/* checksum_files.c - cksum(1) for many files at once, and for directories.
 * Try: build/samples/checksum_files -j 8 include src
 * SPDX-License-Identifier: MIT
 *
 * One fiber finds the files and puts each into two channels: `work`, from which any of the summing
 * fibers takes it, and `order`, from which the printing fiber takes it to wait until it is done.
 * The room in `order` bounds how far the fast ones may run ahead of a slow one. */
#include "sums.h"
#include "tool.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file on its way. Each of the channels, and who has taken it out, holds a reference. */
struct file {
    _Atomic int refs;
    char *path;        /* NULL: standard input */
    coir_future *done; /* fails with the errno of a file that cannot be read */
    uint32_t sum;
    uint64_t bytes;
};

static struct {
    char **paths;
    int count;
    unsigned fibers, workers;
    coir_chan *work, *order; /* of struct file * */
    bool failed, interrupted;
} job = { .fibers = 16 };

static const char usage[] =
    "usage: checksum_files [OPTION]... [FILE]...\n"
    "Print checksum, bytes and name of each FILE as cksum(1) does, several files at once; for a\n"
    "directory, of all regular files below it, sorted. No FILE: standard input.\n"
    "\n"
    "  -j N        so many files at once (16)\n"
    "  -w N        OS threads that run the fibers; 0: one per CPU (0)\n"
    "  -h, --help  this text\n"
    "\n"
    "Exit status: 0 all files were read, 1 some were not, 2 wrong usage or could not start.\n";

static void put_file(struct file *file)
{
    if (atomic_fetch_sub(&file->refs, 1) > 1)
        return;
    coir_future_free(file->done);
    free(file->path);
    free(file);
}

static void drop_file(void *file)
{
    put_file(*(struct file **)file);
}

/* Hand a file on; err, unless it is 0, is why it cannot be read. Returns 0, or -1 with errno.
 * Parks. */
static int hand_on(const char *path, int err, void *arg)
{
    (void)arg;
    struct file *file = calloc(1, sizeof *file);
    if (!file || !(file->done = coir_future_new()) || (path && !(file->path = strdup(path))))
        tool_die("out of memory");
    atomic_init(&file->refs, 2);
    if (err)
        coir_future_fail(file->done, err);
    int result = coir_chan_send(job.order, &file);
    if (result < 0)
        put_file(file);
    if (result < 0 || err || (result = coir_chan_send(job.work, &file)) < 0)
        put_file(file);
    return result;
}

static int find_files(void *arg)
{
    (void)arg;
    int result = job.count == 0 ? hand_on(NULL, 0, NULL) : 0;
    for (int i = 0; i < job.count && result == 0; i++) {
        struct stat st;
        const char *path = job.paths[i];
        if (strcmp(path, "-") == 0)
            result = hand_on(path, 0, NULL);
        else if (coir_stat(path, &st) < 0)
            result = errno == ECANCELED ? -1 : hand_on(path, errno, NULL);
        else
            result = S_ISDIR(st.st_mode) ? walk(path, hand_on, NULL) : hand_on(path, 0, NULL);
    }
    int err = errno;
    coir_chan_close(job.work);
    coir_chan_close(job.order);
    errno = err;
    return result;
}

/* Returns 0 or an errno. */
static int sum_file(struct file *file, unsigned char *block)
{
    bool input = !file->path || strcmp(file->path, "-") == 0;
    int fd = input ? STDIN_FILENO : coir_open(file->path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int err = crc_file(fd, block, &file->sum, &file->bytes) < 0 ? errno : 0;
    if (!input)
        coir_close(fd);
    return err;
}

static int sum_files(void *arg)
{
    (void)arg;
    struct file *file;
    unsigned char *block = malloc(BLOCK_BYTES);
    if (!block)
        tool_die("out of memory");
    while (coir_chan_recv(job.work, &file) == 0) {
        int err = sum_file(file, block);
        if (err)
            coir_future_fail(file->done, err);
        else
            coir_future_set(file->done, NULL);
        put_file(file);
    }
    free(block);
    return 0;
}

static int print_files(void *arg)
{
    (void)arg;
    struct file *file;
    while (coir_chan_recv(job.order, &file) == 0) {
        const char *name = file->path ? file->path : "";
        int err = coir_await(file->done, NULL) < 0 ? errno : 0;
        if (err == 0)
            printf("%" PRIu32 " %" PRIu64 "%s%s\n", file->sum, file->bytes, *name ? " " : "", name);
        else if (coir_check() == 0)
            tool_warn("%s: %s", *name ? name : "standard input", strerror(err));
        job.failed |= err != 0;
        put_file(file);
    }
    return 0;
}

static void run(void *arg)
{
    (void)arg;
    coir_scope scope COIR_SCOPE_AUTO = COIR_SCOPE_INIT;
    struct tool_stop stop = { 0 };
    coir_attr spread = { .name = "sum", .flags = COIR_SPREAD };
    job.work = coir_chan_new(sizeof(struct file *), job.fibers);
    job.order = coir_chan_new(sizeof(struct file *), 4 * (size_t)job.fibers);
    if (!job.work || !job.order)
        tool_die("out of memory");
    coir_chan_on_drop(job.work, drop_file);
    coir_chan_on_drop(job.order, drop_file);
    coir_scope_open(&scope);
    tool_stop_begin(&stop, &scope);
    bool failed = coir_scope_spawn(&scope, find_files, NULL) < 0 ||
                  coir_scope_spawn(&scope, print_files, NULL) < 0;
    for (unsigned i = 0; i < job.fibers && !failed; i++)
        failed = coir_scope_spawn_with(&scope, &spread, sum_files, NULL) < 0;
    if (failed || (coir_scope_wait(&scope) < 0 && !stop.told)) {
        tool_warn("cannot go on: %s", strerror(errno));
        job.failed = true;
    }
    coir_scope_close(&scope);
    tool_stop_end(&stop);
    job.interrupted = stop.told;
    coir_chan_free(job.work);
    coir_chan_free(job.order);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
    int option;
    while ((option = getopt_long(argc, argv, "j:w:h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (option == '?') /* getopt_long has said what is wrong */
            return 2;
        if (option == 'j')
            job.fibers = (unsigned)tool_number("-j", optarg, 1, 10000);
        else
            job.workers = (unsigned)tool_number("-w", optarg, 0, 1024);
    }
    job.paths = argv + optind;
    job.count = argc - optind;
    unsigned long files_max = tool_raise_files(), reserve = 64;
    if (job.fibers + reserve > files_max)
        job.fibers = files_max > reserve ? (unsigned)(files_max - reserve) : 1;

    coir_options runtime = { .workers = job.workers };
    if (coir_run(run, NULL, &runtime) < 0)
        tool_die("cannot start: %s", strerror(errno));
    if (job.interrupted)
        tool_warn("interrupted");
    if (fflush(stdout) != 0 || ferror(stdout)) {
        tool_warn("cannot write the checksums: %s", strerror(errno));
        return 1;
    }
    return job.failed || job.interrupted;
}
