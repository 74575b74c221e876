/* tests/io/own_offset_test.c - many fibers at one file's own offset lose no byte, and see none
 * twice.
 * SPDX-License-Identifier: MIT */
#include "support/fiber_test.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_or_seen_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
