/* tests/io/like_posix_files_test.c - coir/io.h on files: opening, offsets, devices, terminals. The
 * results are those of the plain call.
 * SPDX-License-Identifier: MIT
 *
 * Method: scripts (script.h) run both ways, in a directory of their own. */
#include "script.h"

#include <limits.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

static void offsets_script(struct script *s)
{
    int fd;
    char buf[64] = { 0 };
    STEP_FD(s, fd, open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    STEP(s, read(fd, buf, 8));
    STEP(s, write(fd, "0123456789", 10));
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, read(fd, buf, 8));
    SAME(s, lseek(fd, 2, SEEK_SET));
    STEP(s, read(fd, buf, 3));
    BYTES(s, buf, sizeof buf);
    STEP(s, write(fd, "abc", 3));
    STEP(s, write(fd, "", 0));
    STEP(s, read(fd, buf, 0));
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, pread(fd, buf, sizeof buf, 1));
    BYTES(s, buf, sizeof buf);
    STEP(s, pread(fd, buf, 4, 10));
    STEP(s, pread(fd, buf, 4, 1000));
    STEP(s, pwrite(fd, "ZZ", 2, 20));
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, pread(fd, buf, sizeof buf, 0));
    BYTES(s, buf, sizeof buf);
    STEP(s, pread(fd, buf, 1, -1));
    STEP(s, pread(fd, buf, 1, INT64_MAX));
    STEP(s, pwrite(fd, buf, 1, INT64_MAX));
    STEP(s, pread(fd, buf, 0, 5));
    STEP(s, pwrite(fd, buf, 0, 500));
    struct iovec in[] = { { buf, 2 }, { buf + 2, 100 } };
    SAME(s, lseek(fd, 18, SEEK_SET));
    STEP(s, readv(fd, in, 2));
    struct iovec out[] = { { "the ", 4 }, { "end", 3 } };
    STEP(s, writev(fd, out, 2));
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, fsync(fd));
    STEP(s, fdatasync(fd));
    STEP(s, preadv(fd, in, 2, 3));
    BYTES(s, buf, sizeof buf);
    STEP(s, preadv(fd, in, -1, 3));
    STEP(s, preadv(fd, in, 2, -1));
    STEP(s, preadv(fd, in, 0, 3));
    STEP(s, pwritev(fd, out, 2, 30));
    STEP(s, pwritev(fd, out, 2000, 30));
    STEP(s, preadv(fd, in, 2, 28));
    BYTES(s, buf, sizeof buf);
    SAME(s, lseek(fd, 0, SEEK_CUR));
    STEP(s, read(fd, NULL, 5));
    STEP(s, pread(fd, NULL, 5, 0));
    STEP(s, recv(fd, buf, 1, 0));
    STEP(s, send(fd, buf, 1, 0));
    STEP(s, close(fd));
    STEP(s, fsync(fd));
    STEP(s, fdatasync(fd));
    STEP(s, preadv(fd, in, 2, 3));
    SAME(s, unlink("file"));
}

static void append_script(struct script *s)
{
    int fd, other;
    char buf[64] = { 0 };
    STEP_FD(s, fd, open("file", O_WRONLY | O_CREAT | O_APPEND, 0644));
    STEP_FD(s, other, open("file", O_RDWR));
    STEP(s, write(fd, "one", 3));
    STEP(s, write(other, "X", 1));
    STEP(s, write(fd, "two", 3));
    SAME(s, lseek(fd, 0, SEEK_CUR));
    SAME(s, lseek(fd, 1, SEEK_SET));
    STEP(s, write(fd, "three", 5));
    STEP(s, pwrite(fd, "four", 4, 0));
    STEP(s, pread(other, buf, sizeof buf, 0));
    BYTES(s, buf, sizeof buf);
    STEP(s, read(fd, buf, 1));
    STEP(s, pread(fd, buf, 1, 0));
    STEP(s, pread(fd, buf, 0, 0));
    STEP(s, close(other));
    STEP_FD(s, other, open("file", O_RDONLY));
    STEP(s, write(other, "x", 1));
    STEP(s, pwrite(other, "x", 1, 0));
    STEP(s, pwrite(other, "x", 0, 0));
    STEP(s, close(other));
    STEP_FD(s, other, open("file", O_PATH));
    STEP(s, read(other, buf, 1));
    STEP(s, write(other, buf, 1));
    STEP(s, fsync(other));
    STEP(s, close(other));
    STEP_FD(s, other, open("file", O_RDWR | O_TRUNC));
    STEP(s, read(other, buf, 1));
    STEP(s, close(other));
    STEP(s, close(fd));
    SAME(s, unlink("file"));
}

static long mode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : (long)st.st_mode;
}

static void open_script(struct script *s)
{
    int fd;
    static char long_name[NAME_MAX + 2];
    memset(long_name, 'x', sizeof long_name - 1);
    umask(027);
    STEP_FD(s, fd, open("file", O_RDWR));
    STEP_FD(s, fd, open("file", O_RDWR | O_CREAT, 06777));
    SAME(s, mode_of(fd));
    SAME(s, fcntl(fd, F_GETFL));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    STEP_FD(s, fd, open("file", O_WRONLY | O_CREAT, 0600));
    SAME(s, mode_of(fd));
    SAME(s, fcntl(fd, F_GETFL));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("file", O_RDONLY | O_NONBLOCK | O_NOATIME));
    SAME(s, fcntl(fd, F_GETFL));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("file", O_RDONLY | O_DIRECTORY));
    STEP_FD(s, fd, open("file/in", O_RDONLY));
    STEP_FD(s, fd, open("", O_RDONLY));
    STEP_FD(s, fd, open(NULL, O_RDONLY));
    STEP_FD(s, fd, open(long_name, O_RDONLY));
    STEP_FD(s, fd, open("none/file", O_RDWR | O_CREAT, 0600));
    STEP_FD(s, fd, open(".", O_RDWR));
    STEP_FD(s, fd, open(".", O_RDONLY));
    char buf[8];
    STEP(s, read(fd, buf, 8));
    STEP(s, pread(fd, buf, 8, 0));
    STEP(s, write(fd, buf, 8));
    STEP(s, fsync(fd));
    STEP(s, close(fd));
    STEP_FD(s, fd, open(".", O_RDWR | O_TMPFILE, 0640));
    SAME(s, mode_of(fd));
    STEP(s, write(fd, "abc", 3));
    STEP(s, close(fd));
    SAME(s, symlink("file", "link"));
    SAME(s, symlink("ring", "ring"));
    STEP_FD(s, fd, open("link", O_RDONLY | O_NOFOLLOW));
    STEP_FD(s, fd, open("ring", O_RDONLY));
    STEP_FD(s, fd, open("link", O_PATH | O_NOFOLLOW));
    SAME(s, mode_of(fd));
    STEP(s, close(fd));
    SAME(s, unlink("link") | unlink("ring") | unlink("file"));
    umask(022);
}

static void openat_script(struct script *s)
{
    int dir, fd;
    SAME(s, mkdir("dir", 0700));
    STEP_FD(s, dir, openat(AT_FDCWD, "dir", O_RDONLY | O_DIRECTORY));
    STEP_FD(s, fd, openat(dir, "file", O_RDWR | O_CREAT, 0604));
    SAME(s, mode_of(fd));
    STEP(s, close(fd));
    STEP_FD(s, fd, openat(AT_FDCWD, "file", O_RDONLY));
    STEP_FD(s, fd, openat(dir, "file", O_RDONLY));
    int none;
    STEP_FD(s, none, openat(fd, "file", O_RDONLY));
    SAME(s, none);
    STEP(s, close(fd));
    STEP_FD(s, fd, openat(-1, "file", O_RDONLY));
    STEP_FD(s, fd, openat(12345, "file", O_RDONLY));
    STEP_FD(s, fd, openat(-1, "/dev/null", O_RDONLY));
    STEP(s, close(fd));
    STEP_FD(s, fd, openat(dir, "/dev/null", O_RDONLY));
    STEP(s, close(fd));
    STEP_FD(s, fd, openat(dir, "../dir/file", O_RDONLY));
    STEP(s, close(fd));
    STEP(s, close(dir));
    STEP_FD(s, fd, openat(dir, "file", O_RDONLY));
    SAME(s, unlink("dir/file") | rmdir("dir"));
}

/* qemu-user answers a writev of nothing by itself, which should tell that it cannot be written. */
static void device_script(struct script *s)
{
    int fd;
    char buf[32];
    memset(buf, 'x', sizeof buf);
    STEP_FD(s, fd, open("/dev/null", O_RDWR));
    STEP(s, read(fd, buf, sizeof buf));
    STEP(s, write(fd, buf, sizeof buf));
    STEP(s, pread(fd, buf, sizeof buf, 7));
    STEP(s, pwrite(fd, buf, sizeof buf, 7));
    STEP(s, fsync(fd));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("/dev/zero", O_RDONLY));
    STEP(s, read(fd, buf, 8));
    BYTES(s, buf, sizeof buf);
    if (!test_qemu())
        STEP(s, write(fd, buf, 8));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("/dev/full", O_RDWR));
    STEP(s, write(fd, buf, 8));
    STEP(s, close(fd));
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec soon = { .it_value.tv_nsec = 1000 };
    SAME(s, timerfd_settime(fd, 0, &soon, NULL));
    STEP(s, read(fd, buf, 4));
    STEP(s, read(fd, buf, 8));
    BYTES(s, buf, 8);
    if (!test_qemu())
        STEP(s, write(fd, buf, 8));
    STEP(s, close(fd));
    STEP_FD(s, fd, open("/proc/self/nothing", O_RDONLY));
    STEP_FD(s, fd, open("/proc/sys/kernel/ostype", O_RDONLY));
    memset(buf, 0, sizeof buf);
    STEP(s, read(fd, buf, sizeof buf));
    BYTES(s, buf, sizeof buf);
    STEP(s, read(fd, buf, sizeof buf));
    STEP(s, close(fd));
}

/* A line discipline between: a line ends a read, the terminal's end of file is a 0. */
static void terminal_script(struct script *s)
{
    int master, slave;
    char buf[64] = { 0 };
    SAME(s, openpty(&master, &slave, NULL, NULL, NULL));
    STEP(s, write(master, "first\nsecond\n", 13));
    STEP(s, read(slave, buf, sizeof buf));
    STEP(s, read(slave, buf, 3));
    STEP(s, read(slave, buf, sizeof buf));
    BYTES(s, buf, sizeof buf);
    STEP(s, write(master, "\004", 1));
    STEP(s, read(slave, buf, sizeof buf));
    STEP(s, write(slave, "up\n", 3));
    STEP(s, pread(slave, buf, 1, 0));
    STEP(s, pwrite(slave, buf, 1, 0));
    STEP(s, recv(slave, buf, 1, 0));
    STEP(s, fsync(slave));
    STEP(s, close(slave));
    /* The echo and the answer, in as many pieces as the kernel makes of them. */
    long n, bytes = 0;
    while ((n = s->io.read(master, buf, sizeof buf)) > 0)
        bytes += n;
    SAME(s, minus_errno(n));
    SAME(s, bytes);
    STEP(s, close(master));
}

/* O_NONBLOCK in the call itself means the opening, not the descriptor. */
static void fifo_script(struct script *s)
{
    int in, out;
    char buf[8];
    SAME(s, mkfifo("fifo", 0600));
    STEP_FD(s, out, open("fifo", O_WRONLY | O_NONBLOCK));
    STEP_FD(s, in, open("fifo", O_RDONLY | O_NONBLOCK));
    STEP_FD(s, out, open("fifo", O_WRONLY));
    STEP(s, write(out, "abc", 3));
    STEP(s, read(in, buf, 8));
    STEP(s, close(in));
    STEP(s, write(out, "abc", 3));
    STEP(s, close(out));
    STEP_FD(s, out, open("fifo", O_RDWR));
    SAME(s, fcntl(out, F_GETFL));
    STEP_FD(s, in, open("fifo", O_RDONLY));
    SAME(s, fcntl(in, F_GETFL));
    STEP(s, write(out, "x", 1));
    STEP(s, read(in, buf, 8));
    STEP(s, close(in));
    STEP(s, close(out));
    SAME(s, unlink("fifo"));
}

/* Another's lease makes an open wait, or fail with EAGAIN when it was asked not to wait. */
static void lease_script(struct script *s)
{
    int holder, fd;
    void (*before)(int) = signal(SIGIO, SIG_IGN);
    STEP_FD(s, holder, open("file", O_RDONLY | O_CREAT, 0600));
    SAME(s, fcntl(holder, F_SETLEASE, F_RDLCK));
    STEP_FD(s, fd, open("file", O_WRONLY | O_NONBLOCK));
    STEP(s, close(holder));
    STEP_FD(s, fd, open("file", O_WRONLY | O_NONBLOCK));
    STEP(s, close(fd));
    SAME(s, unlink("file"));
    signal(SIGIO, before);
}

#define SCRIPT_TEST(name, script)                                                                  \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        compare(script);                                                                           \
    }

SCRIPT_TEST(offsets_are_like_posix, offsets_script)
SCRIPT_TEST(appending_is_like_posix, append_script)
SCRIPT_TEST(open_is_like_posix, open_script)
SCRIPT_TEST(openat_is_like_posix, openat_script)
SCRIPT_TEST(devices_are_like_posix, device_script)
SCRIPT_TEST(terminals_are_like_posix, terminal_script)
SCRIPT_TEST(open_fifos_are_like_posix, fifo_script)
SCRIPT_TEST(leases_are_like_posix, lease_script)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_like_posix),    cmocka_unit_test(appending_is_like_posix),
        cmocka_unit_test(open_is_like_posix),        cmocka_unit_test(openat_is_like_posix),
        cmocka_unit_test(devices_are_like_posix),    cmocka_unit_test(terminals_are_like_posix),
        cmocka_unit_test(open_fifos_are_like_posix), cmocka_unit_test(leases_are_like_posix),
    };
    return RUN_AT_HOME(tests);
}
