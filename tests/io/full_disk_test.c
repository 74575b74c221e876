/* tests/io/full_disk_test.c - files that cannot grow, or shrink while they are read, and lengths
 * that no file has: the results are those of the plain call.
 * SPDX-License-Identifier: MIT
 *
 * Method: scripts run both ways (script.h); the full disk is a tmpfs of a few pages, mounted in a
 * child's own namespaces, where that is permitted. */
#include "support/namespaces.h"
#include "script.h"

#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { DISK = 64 << 10, LIMIT = 10000 };

static const size_t HUGE_LENGTH = (size_t)5 << 30;

static char block[16 << 10];

/* Until there is no room: a part is written first, then nothing. */
static void fill_the_disk(struct script *s, int fd)
{
    struct iovec iov[] = { { block, 5000 }, { block, 6000 } };
    for (int i = 0; i < 8; i++) {
        STEP(s, write(fd, block, 11000));
        SAME(s, lseek(fd, 0, SEEK_CUR));
    }
    STEP(s, writev(fd, iov, 2));
    STEP(s, pwrite(fd, block, sizeof block, DISK - 100));
    STEP(s, pwritev(fd, iov, 2, DISK - 4096 - 100));
    STEP(s, write(fd, block, 1));
    STEP(s, pwrite(fd, block, 100, 0)); /* what is there may be written over */
    STEP(s, fsync(fd));
    STEP(s, fdatasync(fd));
}

static void full_script(struct script *s)
{
    int fd, other;
    STEP_FD(s, fd, open("disk/file", O_RDWR | O_CREAT | O_TRUNC, 0600));
    fill_the_disk(s, fd);
    SAME(s, lseek(fd, 0, SEEK_END));
    STEP_FD(s, other, open("disk/other", O_RDWR | O_CREAT | O_TRUNC, 0600));
    STEP(s, write(other, "x", 1));
    SAME(s, ftruncate(fd, 4096)); /* room again */
    STEP(s, write(other, "x", 1));
    STEP(s, close(other));
    STEP(s, close(fd));
    SAME(s, unlink("disk/file") | unlink("disk/other"));
}

struct many_writers {
    _Atomic long written;
    _Atomic int failed;
};

static void *write_until_full(void *arg)
{
    struct many_writers *m = arg;
    char name[32];
    snprintf(name, sizeof name, "disk/%p", (void *)&name);
    int fd = coir_open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ssize_t n = 0;
    for (off_t at = 0; fd >= 0 && (n = coir_pwrite(fd, block, 4096, at)) > 0; at += n)
        atomic_fetch_add(&m->written, n);
    EXPECT_FAILS(fd < 0 ? fd : n, ENOSPC);
    atomic_fetch_add(&m->failed, 1);
    if (fd >= 0)
        EXPECT_EQ(coir_close(fd), 0);
    EXPECT_EQ(coir_unlink(name), fd < 0 ? -1 : 0);
    return NULL;
}

static void writers_at_once(void *arg)
{
    enum { WRITERS = 8 };
    struct many_writers m = { 0 };
    coir_fiber *f[WRITERS];
    struct stat st;
    (void)arg;
    for (int i = 0; i < WRITERS; i++)
        f[i] = spawn_apart(write_until_full, &m);
    for (int i = 0; i < WRITERS; i++)
        join(f[i]);
    EXPECT(atomic_load(&m.written) >= DISK - 8 * 4096);
    EXPECT_EQ(atomic_load(&m.failed), WRITERS);
    int fd = coir_open("disk/last", O_RDWR | O_CREAT, 0600);
    EXPECT_FAILS(coir_fallocate(fd, 0, 0, 10 * DISK), ENOSPC);
    static char much[2 * DISK];
    EXPECT_EQ(coir_write_all(fd, block, sizeof block), sizeof block);
    EXPECT_FAILS(coir_write_all(fd, much, sizeof much), ENOSPC);
    EXPECT_EQ(coir_fstat(fd, &st), 0);
    EXPECT(st.st_size <= DISK);
    EXPECT_EQ(coir_close(fd) | coir_unlink("disk/last"), 0);
}

static bool mount_disk(void)
{
    char options[32];
    snprintf(options, sizeof options, "size=%d", DISK);
    return own_namespaces(CLONE_NEWNS) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", "disk", "tmpfs", 0, options) == 0;
}

static int on_full_disk(void *arg)
{
    (void)arg;
    watchdog();
    if (!mount_disk())
        return NO_NAMESPACES;
    compare_quietly(full_script);
    struct first first = { writers_at_once, NULL };
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, run_first, &first), 0);
    umount("disk");
    return no_findings_status();
}

static void a_full_disk_is_like_posix(void **state)
{
    char text[512];
    (void)state;
    mkdir("disk", 0700);
    int status = test_child(on_full_disk, NULL, text, sizeof text);
    rmdir("disk");
    if (status == NO_NAMESPACES << 8)
        skip();
    assert_string_equal(text, "");
    assert_int_equal(status, 0);
}

static void device_script(struct script *s)
{
    int fd;
    struct iovec iov[] = { { block, 10 }, { block, 20 } };
    STEP_FD(s, fd, open("/dev/full", O_RDWR));
    STEP(s, write(fd, block, 1));
    STEP(s, writev(fd, iov, 2));
    STEP(s, pwrite(fd, block, 10, 100));
    STEP(s, read(fd, block, 10));
    STEP(s, fsync(fd));
    STEP(s, close(fd));
}

static void dev_full_is_like_posix(void **state)
{
    (void)state;
    compare(device_script);
}

static _Atomic int signals;

static void count_signal(int sig)
{
    (void)sig;
    atomic_fetch_add(&signals, 1);
}

static void limited_script(struct script *s)
{
    int fd;
    struct iovec iov[] = { { block, 7000 }, { block, 7000 } };
    STEP_FD(s, fd, open("limited", O_RDWR | O_CREAT | O_TRUNC, 0600));
    STEP(s, write(fd, block, 9000));
    STEP(s, write(fd, block, 9000)); /* a part */
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, write(fd, block, 1));
    STEP(s, write(fd, block, 0));
    STEP(s, pwrite(fd, block, 10, LIMIT));
    STEP(s, pwrite(fd, block, 10, LIMIT - 5));
    SAME(s, ftruncate(fd, 0));
    STEP(s, pwritev(fd, iov, 2, 0));
    STEP(s, writev(fd, iov, 2));
    SAME(s, lseek(fd, 0, SEEK_END));
    STEP(s, close(fd));
    SAME(s, unlink("limited"));
}

static int below_the_limit(void *arg)
{
    const struct rlimit limit = { LIMIT, RLIM_INFINITY };
    (void)arg;
    watchdog();
    struct sigaction act = { .sa_handler = count_signal };
    sigaction(SIGXFSZ, &act, NULL);
    setrlimit(RLIMIT_FSIZE, &limit);
    compare_quietly(limited_script);
    EXPECT(atomic_load(&signals) > 0);
    act.sa_handler = SIG_IGN;
    sigaction(SIGXFSZ, &act, NULL);
    compare_quietly(limited_script);
    return no_findings_status();
}

static void write_too_much(void *arg)
{
    int fd = open("limited", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    (void)arg;
    unlink("limited");
    EXPECT_EQ(coir_write(fd, block, LIMIT), LIMIT);
    coir_write(fd, block, 1);
}

static int above_the_limit(void *arg)
{
    const struct rlimit limit = { LIMIT, LIMIT }, no_core = { 0, 0 };
    (void)arg;
    watchdog();
    signal(SIGXFSZ, SIG_DFL);
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_FSIZE, &limit);
    fiber_test_run(2, write_too_much, NULL);
    return 1;
}

/* With a handler or without, the call says EFBIG; and the default kills, as ever. */
static void a_file_size_limit_is_like_posix(void **state)
{
    char text[512];
    (void)state;
    run_in_child(below_the_limit, NULL);
    int status = test_child(above_the_limit, NULL, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

static void shrinking_script(struct script *s)
{
    int fd;
    char buf[4096];
    STEP_FD(s, fd, open("shrinking", O_RDWR | O_CREAT | O_TRUNC, 0600));
    STEP(s, write(fd, block, 10000));
    SAME(s, lseek(fd, 0, SEEK_SET));
    STEP(s, read(fd, buf, 4000));
    SAME(s, ftruncate(fd, 5000));
    STEP(s, read(fd, buf, 4000));
    STEP(s, read(fd, buf, 4000));
    STEP(s, pread(fd, buf, 4000, 4999));
    STEP(s, pread(fd, buf, 4000, 5000));
    SAME(s, ftruncate(fd, 10));
    STEP(s, read(fd, buf, 4000)); /* past the end */
    STEP(s, pread(fd, buf, 4000, 1L << 40));
    STEP(s, pread(fd, buf, 4000, 0));
    STEP(s, write(fd, "x", 1)); /* where the offset still is: a hole comes about */
    SAME(s, lseek(fd, 0, SEEK_END));
    STEP(s, pread(fd, buf, 4000, 2000));
    BYTES(s, buf, 3000);
    STEP(s, close(fd));
    SAME(s, unlink("shrinking"));
}

/* Memory that is a file's, and is gone with the file's end: the plain call says EFAULT. */
static void mapped_script(struct script *s)
{
    int fd, other;
    STEP_FD(s, fd, open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600));
    STEP_FD(s, other, open("other", O_RDWR | O_CREAT | O_TRUNC, 0600));
    SAME(s, ftruncate(fd, 8192));
    char *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SAME(s, at != MAP_FAILED);
    STEP(s, write(other, at, 8192));
    SAME(s, ftruncate(fd, 0));
    STEP(s, write(other, at, 4096));
    STEP(s, pwrite(other, at, 4096, 0));
    STEP(s, pread(other, at, 4096, 0));
    SAME(s, lseek(other, 0, SEEK_SET));
    STEP(s, read(other, at, 4096));
    SAME(s, munmap(at, 8192));
    STEP(s, close(fd));
    STEP(s, close(other));
    SAME(s, unlink("mapped") | unlink("other"));
}

static void shrinking_files_are_like_posix(void **state)
{
    (void)state;
    compare(shrinking_script);
    if (!TEST_SANITIZED && !TEST_VALGRIND)
        compare(mapped_script);
}

struct shrinking {
    int fd, size;
    _Atomic int readers;
};

enum { SHRINK_BYTES = 1 << 20, READERS = 6 };

static void *read_while_it_shrinks(void *arg)
{
    struct shrinking *f = arg;
    char buf[5000];
    off_t at = 0;
    ssize_t n;
    do {
        n = coir_pread(f->fd, buf, sizeof buf, at);
        EXPECT(n >= 0);
        for (ssize_t i = 0; i < n; i++)
            if (buf[i] != (char)pattern((size_t)(at + i)) && buf[i] != 0)
                note(__FILE__, __LINE__, "a byte", buf[i], pattern((size_t)(at + i)));
        at += n;
    } while (n > 0);
    EXPECT(at <= SHRINK_BYTES);
    atomic_fetch_sub(&f->readers, 1);
    return NULL;
}

static void shrink(void *arg)
{
    static char data[SHRINK_BYTES];
    struct shrinking f = { .size = SHRINK_BYTES, .readers = READERS };
    coir_fiber *reader[READERS];
    (void)arg;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)pattern(i);
    f.fd = coir_open("shrinking", O_RDWR | O_CREAT | O_TRUNC, 0600);
    EXPECT_EQ(coir_write_all(f.fd, data, sizeof data), sizeof data);
    for (int i = 0; i < READERS; i++)
        reader[i] = spawn_apart(read_while_it_shrinks, &f);
    while (atomic_load(&f.readers) && f.size > 0) {
        EXPECT_EQ(coir_ftruncate(f.fd, f.size -= 3000), 0);
        f.size = f.size < 3000 ? 0 : f.size;
        coir_yield();
    }
    for (int i = 0; i < READERS; i++)
        join(reader[i]);
    EXPECT_EQ(coir_close(f.fd) | coir_unlink("shrinking"), 0);
}

static void readers_of_a_shrinking_file_come_to_its_end(void **state)
{
    (void)state;
    run_on_each(shrink, NULL);
}

/* Nothing of these buffers is touched: /dev/null takes what it is told. */
static void huge_script(struct script *s)
{
    int fd;
    char *at = mmap(NULL, HUGE_LENGTH, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SAME(s, at != MAP_FAILED);
    struct iovec iov[] = { { at, 1 << 30 }, { at, (size_t)3 << 30 }, { at, 5 } };
    STEP_FD(s, fd, open("/dev/null", O_RDWR));
    STEP(s, write(fd, at, HUGE_LENGTH));
    STEP(s, write(fd, at, 0x7ffff000));
    STEP(s, write(fd, at, 0x7ffff001));
    STEP(s, pwrite(fd, at, HUGE_LENGTH, 1));
    STEP(s, writev(fd, iov, 3));
    STEP(s, pwritev(fd, iov, 3, 1));
    STEP(s, read(fd, at, HUGE_LENGTH));
    STEP(s, readv(fd, iov, 3));
    iov[1].iov_len = SSIZE_MAX;
    STEP(s, writev(fd, iov, 3));
    STEP(s, readv(fd, iov, 3));
    iov[1].iov_len = SIZE_MAX;
    STEP(s, writev(fd, iov, 3));
    STEP(s, preadv(fd, iov, 3, 0));
    STEP(s, close(fd));
    SAME(s, munmap(at, HUGE_LENGTH));
}

/* Longer than any buffer: n - 1, where n was 0. Nothing of what lies behind it is moved. */
static void impossible_script(struct script *s)
{
    static char buf[4096];
    const volatile size_t len = SIZE_MAX;
    int ends[2], file = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    SAME(s, write(ends[1], "abc", 3));
    STEP(s, read(ends[0], buf, len));
    STEP(s, write(ends[0], buf, len));
    STEP(s, write(file, buf, len));
    STEP(s, pwrite(file, buf, len, 0));
    STEP(s, pread(file, buf, len, 0));
    STEP(s, read(-1, buf, len));
    SAME(s, lseek(file, 0, SEEK_END));
    SAME(s, unlink("file"));
    STEP(s, close(file));
    STEP(s, close(ends[0]));
    STEP(s, close(ends[1]));
}

static void impossible_lengths_are_like_posix(void **state)
{
    (void)state;
    if (TEST_VALGRIND || TEST_SANITIZED)
        skip(); /* they look at all of it */
    compare(impossible_script);
}

static void huge_lengths_are_like_posix(void **state)
{
    (void)state;
    if (TEST_VALGRIND || TEST_SANITIZED)
        skip(); /* they look at all of it */
    compare(huge_script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_like_posix),
        cmocka_unit_test(dev_full_is_like_posix),
        cmocka_unit_test(a_file_size_limit_is_like_posix),
        cmocka_unit_test(shrinking_files_are_like_posix),
        cmocka_unit_test(readers_of_a_shrinking_file_come_to_its_end),
        cmocka_unit_test(huge_lengths_are_like_posix),
        cmocka_unit_test(impossible_lengths_are_like_posix),
    };
    return RUN_AT_HOME(tests);
}
