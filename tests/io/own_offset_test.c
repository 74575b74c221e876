/* tests/io/own_offset_test.c - many fibers at one file's own offset lose no byte, and see none
 * twice.
 * SPDX-License-Identifier: MIT */
#include "support/fiber_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIBERS = 8, LINE = 64 };

struct file {
    int fd, lines; /* lines: of each fiber */
    unsigned char *seen;
    _Atomic int wrong;
    _Atomic int next;
};

static void *write_lines(void *arg)
{
    struct file *file = arg;
    char line[LINE];
    for (int i = 0; i < file->lines; i++) {
        memset(line, '.', sizeof line);
        memcpy(line, &(int){ file->next++ }, sizeof(int));
        file->wrong += coir_write(file->fd, line, LINE) != LINE;
    }
    return NULL;
}

static void *read_lines(void *arg)
{
    struct file *file = arg;
    char line[LINE];
    ssize_t n;
    while ((n = coir_read(file->fd, line, LINE)) == LINE) {
        int number;
        memcpy(&number, line, sizeof number);
        __atomic_fetch_add(&file->seen[number], 1, __ATOMIC_RELAXED);
    }
    file->wrong += n != 0;
    return NULL;
}

static void in_fibers(void *(*fn)(void *), struct file *file)
{
    coir_fiber *fibers[FIBERS];
    const coir_attr attr = { .flags = COIR_SPREAD };
    for (int i = 0; i < FIBERS; i++)
        fibers[i] = coir_spawn_with(&attr, fn, file);
    for (int i = 0; i < FIBERS; i++)
        coir_join(fibers[i], NULL);
}

static void write_then_read(void *arg)
{
    struct file *file = arg;
    in_fibers(write_lines, file);
    lseek(file->fd, 0, SEEK_SET);
    in_fibers(read_lines, file);
}

/* Goal: each line is in the file once, and is read once. Method: eight fibers on all workers write
 * to one descriptor, then eight read from it; the lines are numbered. */
static void nothing_is_lost_or_seen_twice(void **state)
{
    (void)state;
    for (const unsigned *w = test_workers; *w; w++) {
        char path[] = "own-offset-XXXXXX";
        struct file file = { .fd = mkstemp(path), .lines = test_scaled(1000, 100) };
        int lines = file.lines * FIBERS;
        assert_true(file.fd >= 0);
        unlink(path);
        file.seen = calloc((size_t)lines, 1);
        assert_int_equal(fiber_test_run(*w, write_then_read, &file), 0);
        assert_int_equal(lseek(file.fd, 0, SEEK_END), (off_t)lines * LINE);
        assert_int_equal(file.wrong, 0);
        for (int i = 0; i < lines; i++)
            assert_int_equal(file.seen[i], 1);
        free(file.seen);
        close(file.fd);
    }
}

enum { PAGE = 4096, PAGES = 64, READS = 3 };

struct patchy {
    char path[24];
    ssize_t got[READS]; /* read, readv, at the end of the file */
};

/* Only the first page of the file is in the page cache. */
static void cache_one_page(int fd)
{
    char byte;
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM); /* nothing is read ahead */
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    (void)!pread(fd, &byte, 1, 0);
    lseek(fd, 0, SEEK_SET);
}

static void read_patchy(void *arg)
{
    static char buf[PAGES * PAGE];
    struct patchy *p = arg;
    struct iovec iov[2] = { { buf, 2 * PAGE }, { buf + 2 * PAGE, (PAGES - 2) * PAGE } };
    int fd = coir_open(p->path, O_RDONLY);
    cache_one_page(fd);
    p->got[0] = coir_read(fd, buf, sizeof buf);
    cache_one_page(fd);
    p->got[1] = coir_readv(fd, iov, 2);
    cache_one_page(fd);
    lseek(fd, PAGE / 2, SEEK_SET);
    p->got[2] = coir_read(fd, buf, sizeof buf);
    coir_close(fd);
}

/* Goal: a read of a file is short at its end only, as read(2)'s. Method: a file of which only the
 * beginning is in the page cache. */
static void a_read_is_short_at_the_end_only(void **state)
{
    static char zeros[PAGES * PAGE];
    struct patchy p = { .path = "patchy-XXXXXX" };
    int fd = mkstemp(p.path);
    (void)state;
    assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
    assert_int_equal(fsync(fd), 0); /* only clean pages leave the cache */
    assert_int_equal(fiber_test_run(1, read_patchy, &p), 0);
    close(fd);
    unlink(p.path);
    assert_int_equal(p.got[0], sizeof zeros);
    assert_int_equal(p.got[1], sizeof zeros);
    assert_int_equal(p.got[2], sizeof zeros - PAGE / 2);
}

enum { MANY_BYTES = 1 << 20 };

struct swap {
    char first[24], second[24];
    int fd;
    ssize_t n;
    int err, strange;
    off_t moved; /* the second file's offset afterwards */
    _Atomic int reading;
};

static int make_cold(char *path, int byte)
{
    static char buf[MANY_BYTES];
    int fd = mkstemp(path);
    memset(buf, byte, sizeof buf);
    if (fd < 0 || write(fd, buf, sizeof buf) != sizeof buf || fsync(fd) < 0)
        return -1;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    return 0;
}

static void *read_first(void *arg)
{
    static char buf[MANY_BYTES];
    struct swap *s = arg;
    s->reading = 1;
    s->n = coir_read(s->fd, buf, sizeof buf);
    s->err = errno;
    for (ssize_t i = 0; i < s->n; i++)
        s->strange += buf[i] != '1';
    return NULL;
}

static void swap_while_reading(void *arg)
{
    struct swap *s = arg;
    s->fd = coir_open(s->first, O_RDONLY);
    coir_fiber *reader = coir_spawn(read_first, s);
    while (!s->reading)
        coir_yield();
    coir_close(s->fd);
    int other = open(s->second, O_RDONLY); /* at once, before the reader goes on */
    coir_join(reader, NULL);
    s->moved = lseek(other, 0, SEEK_CUR);
    coir_close(other);
}

/* Goal: a read that waits for the disk does not go on with another file that has got the number.
 * Method: a file that is not in the page cache is closed meanwhile, and another one opened. */
static void a_read_is_not_misled_by_a_reused_number(void **state)
{
    (void)state;
    for (int i = 0; i < test_scaled(20, 3); i++) {
        struct swap s = { .first = "first-XXXXXX", .second = "second-XXXXXX" };
        int made = make_cold(s.first, '1') + make_cold(s.second, '2');
        assert_int_equal(made, 0);
        assert_int_equal(fiber_test_run(1, swap_while_reading, &s), 0);
        unlink(s.first);
        unlink(s.second);
        if (s.n < 0)
            assert_int_equal(s.err, EBADF);
        else
            assert_int_equal(s.n, MANY_BYTES); /* it was in the cache after all */
        assert_int_equal(s.strange, 0);
        assert_int_equal(s.moved, 0);
    }
}

struct kernel_log {
    int fd, err, ticks;
    ssize_t n;
};

static void *tick(void *arg)
{
    struct kernel_log *log = arg;
    while (coir_sleep(COIR_MS(1)) == 0)
        log->ticks++;
    return NULL;
}

static void read_log(void *arg)
{
    static char buf[1 << 16];
    struct kernel_log *log = arg;
    coir_fiber *ticker = coir_spawn(tick, log);
    fcntl(log->fd, F_SETFL, O_NONBLOCK);
    while (read(log->fd, buf, sizeof buf) > 0)
        ;
    fcntl(log->fd, F_SETFL, 0);
    COIR_TIMEOUT(COIR_MS(100))
        log->n = coir_read(log->fd, buf, sizeof buf);
    log->err = errno;
    coir_cancel(ticker);
    coir_join(ticker, NULL);
}

/* Goal: a file that has to be waited for is waited for by the fiber alone. Method: the kernel's
 * log, which is a regular file by its mode. */
static void a_file_that_waits_parks_its_reader(void **state)
{
    struct kernel_log log = { .fd = open("/proc/kmsg", O_RDONLY) };
    (void)state;
    if (log.fd < 0)
        skip();
    assert_int_equal(fiber_test_run(1, read_log, &log), 0);
    close(log.fd);
    if (log.n < 0) {
        assert_int_equal(log.err, ETIMEDOUT);
        assert_true(log.ticks > 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_seen_twice),
        cmocka_unit_test(a_read_is_short_at_the_end_only),
        cmocka_unit_test(a_read_is_not_misled_by_a_reused_number),
        cmocka_unit_test(a_file_that_waits_parks_its_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
