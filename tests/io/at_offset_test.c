/* tests/io/at_offset_test.c - reads and writes at a given offset: what is known of a descriptor's
 * kind is not held against the next file of its number, and who reads does not keep others waiting.
 * SPDX-License-Identifier: MIT */
#include "kit.h"
#include "seccomp.h"

#include <stdlib.h>
#include <sys/stat.h>

enum { PAGE = 4096, PAGES = 64 };

static char buf[PAGES * PAGE];

/* A file of a pattern, of which only the first page is in the page cache. */
static int patchy_file(int flags)
{
    char path[] = "at-offset-XXXXXX";
    int made = mkstemp(path), fd;
    for (size_t i = 0; i < sizeof buf; i++)
        buf[i] = (char)pattern(i);
    EXPECT_EQ(write(made, buf, sizeof buf), (ssize_t)sizeof buf);
    EXPECT_EQ(fsync(made), 0); /* only clean pages leave the cache */
    posix_fadvise(made, 0, 0, POSIX_FADV_RANDOM);
    posix_fadvise(made, 0, 0, POSIX_FADV_DONTNEED);
    EXPECT_EQ(pread(made, buf, 1, 0), 1);
    memset(buf, 0, sizeof buf);
    close(made);
    fd = open(path, O_RDWR | O_CLOEXEC | flags); /* now: the lowest number that is free */
    unlink(path);
    return fd;
}

static size_t wrong_bytes(size_t from)
{
    size_t wrong = 0;
    for (size_t i = 0; i + from < sizeof buf; i++)
        wrong += (unsigned char)buf[i] != pattern(from + i);
    return wrong;
}

static void read_patchy(void *arg)
{
    struct iovec iov[2] = { { buf, 2 * PAGE }, { buf + 2 * PAGE, (PAGES - 2) * PAGE } };
    int fd = patchy_file(0);
    (void)arg;
    EXPECT_EQ(coir_pread(fd, buf, sizeof buf, 0), (ssize_t)sizeof buf);
    EXPECT_EQ(wrong_bytes(0), 0);
    EXPECT_EQ(coir_close(fd), 0);
    fd = patchy_file(0);
    EXPECT_EQ(coir_preadv(fd, iov, 2, 0), (ssize_t)sizeof buf);
    EXPECT_EQ(wrong_bytes(0), 0);
    EXPECT_EQ(coir_pread(fd, buf, sizeof buf, PAGE + 1), (ssize_t)sizeof buf - PAGE - 1);
    EXPECT_EQ(wrong_bytes(PAGE + 1), (size_t)0);
    EXPECT_EQ(coir_pread(fd, buf, 1, sizeof buf), 0);
    EXPECT_EQ(coir_pread(fd, buf, 0, 0), 0);
    EXPECT_EQ(coir_close(fd), 0);
}

/* A read is short where the file ends, not where the page cache does. */
static void a_read_is_short_at_the_end_only(void **state)
{
    (void)state;
    run_on(1, read_patchy, NULL);
}

/* With a byte in it, which nobody may take. */
static void expect_pipe(int fd, int other_end)
{
    char byte = 'x';
    EXPECT_EQ(write(other_end, &byte, 1), 1);
    EXPECT_FAILS(coir_pread(fd, buf, 1, 0), ESPIPE);
    EXPECT_FAILS(coir_preadv(fd, &(struct iovec){ buf, 1 }, 1, 0), ESPIPE);
    EXPECT_FAILS(coir_pwrite(other_end, &byte, 1, 0), ESPIPE);
    EXPECT_EQ(read(fd, &byte, 1), 1);
}

/* Both numbers were files' that have been read and written. */
static void pipe_after_files(int flags)
{
    int files[2] = { patchy_file(flags), patchy_file(flags) }, ends[2];
    static _Alignas(PAGE) char page[PAGE];
    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(coir_pread(files[i], page, PAGE, 0), PAGE);
        EXPECT_EQ(coir_pwrite(files[i], page, PAGE, PAGE), PAGE);
        EXPECT_EQ(coir_pread(files[i], page, PAGE, 0), PAGE);
    }
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(coir_close(files[i]), 0);
    make_ends(PIPE, ends);
    EXPECT((ends[0] == files[0] && ends[1] == files[1]) ||
           (ends[0] == files[1] && ends[1] == files[0]));
    expect_pipe(ends[0], ends[1]);
    close_ends(ends);
}

static void reuse_numbers(void *arg)
{
    (void)arg;
    pipe_after_files(0);
    int probe = patchy_file(O_DIRECT); /* some file systems know no O_DIRECT */
    if (probe >= 0) {
        close(probe);
        pipe_after_files(O_DIRECT);
    }
}

static void a_number_reused_is_another_kind_of_file(void **state)
{
    (void)state;
    run_on(1, reuse_numbers, NULL);
}

static void reopen(void *arg)
{
    int fd = patchy_file(0), fifo;
    (void)arg;
    EXPECT_EQ(coir_pread(fd, buf, PAGE, 0), PAGE);
    EXPECT_EQ(coir_pwrite(fd, buf, PAGE, 0), PAGE);
    close(fd);
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    EXPECT_EQ(fifo = coir_open("fifo", O_RDWR), fd);
    expect_pipe(fifo, fifo);
    unlink("fifo");
    close(fifo);
}

/* Also when the first was closed without a word to us, and the second comes from coir_open. */
static void what_is_opened_is_another_kind_of_file(void **state)
{
    (void)state;
    run_on(1, reopen, NULL);
}

static struct {
    _Atomic long n;
    _Atomic bool over;
} turns;

static void *count_turns(void *arg)
{
    while (!turns.over) {
        turns.n++;
        coir_yield();
    }
    return arg;
}

static void read_beside_others(void *arg)
{
    static _Alignas(PAGE) char page[PAGE];
    int fd = patchy_file(0), direct = patchy_file(O_DIRECT);
    (void)arg;
    turns.over = false;
    turns.n = 0;
    coir_fiber *other = coir_spawn(count_turns, NULL);
    while (turns.n < 10)
        EXPECT_EQ(coir_pread(fd, page, PAGE, 0), PAGE);
    for (long before = turns.n; turns.n < before + 10; lseek(fd, 0, SEEK_SET))
        EXPECT_EQ(coir_read(fd, page, PAGE), PAGE);
    for (int i = 0; i < 10 && direct >= 0; i++) {
        long before = turns.n;
        EXPECT_EQ(coir_pread(direct, page, PAGE, (off_t)i * PAGE), PAGE);
        EXPECT(turns.n > before);
    }
    turns.over = true;
    coir_join(other, NULL);
    coir_close(fd);
    if (direct >= 0)
        coir_close(direct);
}

/* Who reads from the page cache only, and never waits, shares the worker; who reads from the disk
 * does not wait in the worker's place. A loss of the former is a hang, which the watchdog ends. */
static void a_reader_leaves_others_their_turns(void **state)
{
    (void)state;
    run_on(1, read_beside_others, NULL);
}

static void read_proc(void *arg)
{
    char again[64] = { 0 };
    int fd = coir_open("/proc/version", O_RDONLY);
    (void)arg;
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(coir_pread(fd, buf, sizeof again, 0), (ssize_t)sizeof again);
        EXPECT_EQ(coir_pread(fd, again, sizeof again - 10, 10), (ssize_t)sizeof again - 10);
        EXPECT_EQ(memcmp(buf + 10, again, sizeof again - 10), 0);
    }
    coir_close(fd);
}

/* One that cannot be asked not to wait. */
static void any_kind_of_file_is_read(void **state)
{
    (void)state;
    run_on(1, read_proc, NULL);
}

static void *write_byte(void *arg)
{
    coir_sleep(COIR_MS(1));
    EXPECT_EQ(coir_write(*(int *)arg, "x", 1), 1);
    return NULL;
}

static void read_and_write(void *arg)
{
    struct iovec iov[2] = { { buf, 2 * PAGE }, { buf + 2 * PAGE, (PAGES - 2) * PAGE } };
    int fd = patchy_file(0), ends[2];
    (void)arg;
    EXPECT_EQ(coir_read(fd, buf, PAGE), PAGE);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    EXPECT_EQ(coir_readv(fd, iov, 2), (ssize_t)sizeof buf);
    EXPECT_EQ(wrong_bytes(0), 0);
    EXPECT_EQ(coir_pread(fd, buf, PAGE, PAGE), PAGE);
    EXPECT_EQ(coir_write(fd, buf, PAGE), PAGE);
    EXPECT_EQ(coir_pwrite(fd, buf, PAGE, PAGE), PAGE);
    EXPECT_EQ(coir_close(fd), 0);
    for (int kind = 0; kind < KINDS; kind++) {
        make_ends((enum kind)kind, ends);
        EXPECT_EQ(coir_write(ends[1], "x", 1), 1);
        EXPECT_EQ(coir_read(ends[0], buf, 1), 1);
        coir_fiber *f = coir_spawn(write_byte, &ends[1]);
        EXPECT_EQ(coir_read(ends[0], buf, 1), 1);
        coir_join(f, NULL);
        close(ends[0]);
        if (kind != TCP_STREAM) /* which has not heard of it yet */
            EXPECT_FAILS(coir_write(ends[1], "x", 1), EPIPE);
        close(ends[1]);
    }
}

static int without_nowait(void *arg)
{
    (void)arg;
    alarm(60);
    if (refuse(SYS_preadv2, ENOSYS) < 0 || refuse(SYS_pwritev2, ENOSYS) < 0)
        return NO_SECCOMP;
    EXPECT_EQ(fiber_test_run(1, read_and_write, NULL), 0);
    read_and_write(NULL); /* on a plain thread */
    return no_findings_status();
}

/* Some sandboxes, and qemu-user, know no preadv2 and pwritev2. */
static void where_no_call_knows_nowait_all_is_as_usual(void **state)
{
    (void)state;
    run_filtered(without_nowait, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_is_short_at_the_end_only),
        cmocka_unit_test(a_number_reused_is_another_kind_of_file),
        cmocka_unit_test(what_is_opened_is_another_kind_of_file),
        cmocka_unit_test(a_reader_leaves_others_their_turns),
        cmocka_unit_test(any_kind_of_file_is_read),
        cmocka_unit_test(where_no_call_knows_nowait_all_is_as_usual),
    };
    return RUN_AT_HOME(tests);
}
