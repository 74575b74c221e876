/* tests/io/whole_files_test.c - what is done to files by name, or as a whole.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <linux/stat.h>
#include <sys/stat.h>

static void a_file_from_end_to_end(void *arg)
{
    struct stat st;
    struct statx stx;
    char dir[32], file[48], other[48];
    (void)arg;
    sprintf(dir, "dir-%d", gettid());
    sprintf(file, "%s/file", dir);
    sprintf(other, "%s/other", dir);
    EXPECT_EQ(coir_mkdir(dir, 0700), 0);
    EXPECT_EQ(coir_stat(dir, &st), 0);
    EXPECT(S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0700);
    int fd = coir_open(file, O_CREAT | O_RDWR, 0600);
    EXPECT_EQ(coir_write(fd, "hello", 5), 5);
    EXPECT_EQ(coir_fstat(fd, &st), 0);
    EXPECT(S_ISREG(st.st_mode) && st.st_size == 5);
    EXPECT_EQ(coir_ftruncate(fd, 2), 0);
    EXPECT_EQ(coir_statx(AT_FDCWD, file, 0, STATX_SIZE, &stx), 0);
    EXPECT_EQ(stx.stx_size, 2);
    EXPECT_EQ(coir_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &stx), 0);
    EXPECT_EQ(stx.stx_size, 2);
    EXPECT_EQ(coir_fallocate(fd, 0, 0, 4096), 0);
    EXPECT_EQ(coir_fstat(fd, &st), 0);
    EXPECT_EQ(st.st_size, 4096);
    EXPECT_EQ(coir_rename(file, other), 0);
    EXPECT_FAILS(coir_stat(file, &st), ENOENT);
    EXPECT_EQ(coir_stat(other, &st), 0);
    EXPECT_EQ(coir_unlink(other), 0);
    EXPECT_FAILS(coir_unlink(other), ENOENT);
    EXPECT_EQ(coir_close(fd), 0);
    EXPECT_EQ(rmdir(dir), 0);
}

static void mistakes(void *arg)
{
    struct stat st;
    int closed = dup(0);
    (void)arg;
    close(closed);
    EXPECT_FAILS(coir_stat("no/such/file", &st), ENOENT);
    EXPECT_FAILS(coir_stat(NULL, &st), EFAULT);
    EXPECT_FAILS(coir_stat("/", NULL), EFAULT);
    EXPECT_FAILS(coir_fstat(-1, &st), EBADF);
    EXPECT_FAILS(coir_fstat(closed, &st), EBADF);
    EXPECT_FAILS(coir_ftruncate(closed, 0), EBADF);
    EXPECT_FAILS(coir_fallocate(closed, 0, 0, 1), EBADF);
    EXPECT_FAILS(coir_mkdir("/", 0700), EEXIST);
    EXPECT_FAILS(coir_rename("/no-such-file", "x"), ENOENT);
    EXPECT_FAILS(coir_unlink(""), ENOENT);
    int ends[2];
    make_ends(PIPE, ends);
    EXPECT_FAILS(coir_ftruncate(ends[1], 0), EINVAL);
    EXPECT_FAILS(coir_fallocate(ends[1], 0, 0, 1), ESPIPE);
    close_ends(ends);
}

/* Who may not wait any more changes nothing. */
static void too_late(void *arg)
{
    struct stat st;
    char dir[32];
    (void)arg;
    sprintf(dir, "late-%d", gettid());
    COIR_TIMEOUT(-1) {
        EXPECT_FAILS(coir_mkdir(dir, 0700), ETIMEDOUT);
        EXPECT_FAILS(coir_stat("/", &st), ETIMEDOUT);
    }
    EXPECT_FAILS(rmdir(dir), ENOENT);
}

enum { CROWD = 100 };

static void stat_root(void *arg)
{
    struct stat st = { 0 };
    EXPECT_EQ(coir_stat("/", &st), 0);
    EXPECT(S_ISDIR(st.st_mode));
    atomic_fetch_add((_Atomic int *)arg, 1);
}

/* More than there are threads. */
static void many(void *arg)
{
    static struct side sides[CROWD];
    _Atomic int done = 0;
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        side_start(&sides[i], stat_root, &done);
    for (int i = 0; i < CROWD; i++)
        side_wait(&sides[i]);
    EXPECT_EQ(done, CROWD);
}

BODY_TEST(files_are_made_measured_cut_renamed_and_removed, a_file_from_end_to_end)
BODY_TEST(errors_are_those_of_the_system_call, mistakes)
BODY_TEST(after_the_deadline_nothing_happens, too_late)
BODY_TEST(many_at_once_take_turns, many)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_made_measured_cut_renamed_and_removed),
        cmocka_unit_test(errors_are_those_of_the_system_call),
        cmocka_unit_test(after_the_deadline_nothing_happens),
        cmocka_unit_test(many_at_once_take_turns),
    };
    return RUN_AT_HOME(tests);
}
