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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_seen_twice),
        cmocka_unit_test(a_read_is_short_at_the_end_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
