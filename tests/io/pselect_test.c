/* tests/io/pselect_test.c - coir_pselect does as select(2).
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <sys/select.h>

static fd_set set_of(int a, int b)
{
    fd_set set;
    FD_ZERO(&set);
    if (a >= 0)
        FD_SET(a, &set);
    if (b >= 0)
        FD_SET(b, &set);
    return set;
}

static int wait_ms(int n, fd_set *reads, fd_set *writes, fd_set *excepts, int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    return coir_pselect(n, reads, writes, excepts, ms < 0 ? NULL : &t, NULL);
}

static void sets_are_told(void *arg)
{
    int a[2], b[2];
    (void)arg;
    make_ends(PIPE, a);
    make_ends(TCP_STREAM, b);
    int n = 1 + (a[1] > b[1] ? a[1] : b[1]) + 2;
    fd_set reads = set_of(a[0], b[0]), writes = set_of(a[1], b[1]), excepts = set_of(b[0], -1);
    EXPECT_EQ(wait_ms(n, &reads, &writes, &excepts, -1), 2);
    EXPECT(!FD_ISSET(a[0], &reads) && !FD_ISSET(b[0], &reads) && !FD_ISSET(b[0], &excepts));
    EXPECT(FD_ISSET(a[1], &writes) && FD_ISSET(b[1], &writes));
    reads = set_of(a[0], b[0]);
    EXPECT_EQ(wait_ms(n, &reads, NULL, NULL, 2), 0);
    EXPECT(!FD_ISSET(a[0], &reads) && !FD_ISSET(b[0], &reads));
    EXPECT_EQ(send(b[1], "!", 1, MSG_OOB), 1);
    excepts = set_of(b[0], -1);
    EXPECT_EQ(wait_ms(n, NULL, NULL, &excepts, -1), 1);
    EXPECT(FD_ISSET(b[0], &excepts));
    close(a[1]);
    reads = set_of(a[0], -1);
    writes = set_of(-1, b[0]);
    EXPECT_EQ(wait_ms(n, &reads, &writes, NULL, -1), 2); /* its end is something to read */
    EXPECT(FD_ISSET(a[0], &reads));
    EXPECT_EQ(wait_ms(0, NULL, NULL, NULL, 1), 0);
    close(a[0]);
    close_ends(b);
}

static void select_one(void *arg)
{
    int fd = *(int *)arg;
    fd_set reads = set_of(fd, -1);
    EXPECT_EQ(wait_ms(fd + 1, &reads, NULL, NULL, -1), 1);
    EXPECT(FD_ISSET(fd, &reads));
}

static void it_waits(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++) {
        int ends[2];
        struct side side;
        make_ends((enum kind)kind, ends);
        side_start(&side, select_one, &ends[0]);
        until_waiting(&side);
        EXPECT_EQ(write(ends[1], "x", 1), 1);
        side_wait(&side);
        close_ends(ends);
    }
}

static void bad_calls(void *arg)
{
    int ends[2];
    struct timespec bad = { 0, 1000000000 }, never = { INT64_MAX, 0 };
    sigset_t mask;
    (void)arg;
    sigemptyset(&mask);
    make_ends(PIPE, ends);
    fd_set reads = set_of(ends[0], ends[1] + 1), before = reads;
    EXPECT_FAILS(wait_ms(ends[1] + 2, &reads, NULL, NULL, -1), EBADF);
    EXPECT_EQ(memcmp(&reads, &before, sizeof reads), 0);
    EXPECT_FAILS(wait_ms(-1, &reads, NULL, NULL, 0), EINVAL);
    EXPECT_FAILS(coir_pselect(1, &reads, NULL, NULL, &bad, NULL), EINVAL);
    EXPECT_FAILS(coir_pselect(ends[0] + 1, &reads, NULL, NULL, NULL, &mask), EINVAL);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_pselect(ends[0] + 1, &reads, NULL, NULL, &never, NULL), ETIMEDOUT);
    EXPECT_EQ(memcmp(&reads, &before, sizeof reads), 0);
    close_ends(ends);
}

BODY_TEST(each_set_tells_its_own, sets_are_told)
BODY_TEST(it_waits_for_any_kind, it_waits)
BODY_TEST(bad_calls_change_nothing, bad_calls)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_set_tells_its_own),
        cmocka_unit_test(it_waits_for_any_kind),
        cmocka_unit_test(bad_calls_change_nothing),
    };
    return RUN_ON_ENGINES(tests);
}
