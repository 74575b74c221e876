/* tests/io/reader_test.c - coir_reader, and coir_dprintf.
 * SPDX-License-Identifier: MIT */
#include "sides.h"


static void write_in_pieces(void *arg)
{
    static const char *const pieces[] = { "one\ntw", "o\n", "\n", "\r\nlast" };
    int fd = *(int *)arg;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        EXPECT_EQ(coir_write_all(fd, pieces[i], strlen(pieces[i])), (long)strlen(pieces[i]));
        coir_sleep(COIR_MS(1));
    }
    EXPECT_EQ(coir_close(fd), 0);
}

static void line_is(coir_reader *r, const char *text, ssize_t bytes)
{
    char *line = NULL;
    if (EXPECT_EQ(coir_reader_line(r, &line), bytes) && bytes > 0)
        EXPECT_EQ(strcmp(line, text), 0);
}

static void lines_come(void *arg)
{
    (void)arg;
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t cap = 6; cap <= 64; cap += 58) {
            char buf[64];
            int ends[2];
            make_ends((enum kind)kind, ends);
            coir_reader r = { .fd = ends[0], .buf = buf, .cap = cap };
            struct side writer;
            side_start(&writer, write_in_pieces, &ends[1]);
            line_is(&r, "one", 4);
            line_is(&r, "two", 4);
            line_is(&r, "", 1);
            line_is(&r, "\r", 2);
            line_is(&r, "last", 4);
            line_is(&r, NULL, 0);
            line_is(&r, NULL, 0);
            side_wait(&writer);
            close(ends[0]);
        }
}

/* What does not fit, or comes too late, stays. */
static void nothing_is_lost(void *arg)
{
    char buf[8], got[16] = "", *line;
    int ends[2];
    (void)arg;
    make_ends(PIPE, ends);
    coir_reader r = { .fd = ends[0], .buf = buf, .cap = sizeof buf };
    EXPECT_EQ(write(ends[1], "123456\n12345678\nab", 18), 18);
    line_is(&r, "123456", 7);
    EXPECT_FAILS(coir_reader_line(&r, &line), EMSGSIZE);
    EXPECT_FAILS(coir_reader_line(&r, &line), EMSGSIZE);
    EXPECT_EQ(coir_reader_read(&r, got, 5), 5);
    line_is(&r, "678", 4);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_reader_line(&r, &line), ETIMEDOUT);
    EXPECT_EQ(write(ends[1], "c\n", 2), 2);
    line_is(&r, "abc", 4);
    EXPECT_EQ(memcmp(got, "12345", 5), 0);
    close_ends(ends);
}

static void reads_mix_with_lines(void *arg)
{
    char buf[8], got[32] = "";
    int ends[2];
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    coir_reader r = { .fd = ends[0], .buf = buf, .cap = sizeof buf };
    EXPECT_EQ(write(ends[1], "a\nbcd0123456789", 15), 15);
    line_is(&r, "a", 2);
    EXPECT_EQ(coir_reader_read(&r, got, 0), 0);
    EXPECT_EQ(coir_reader_read(&r, got, 2), 2);
    EXPECT_EQ(coir_reader_read(&r, got + 2, 16), 3); /* what was read with the line */
    EXPECT_EQ(coir_reader_read(&r, got + 5, 3), 3);  /* a buffer full, of which three */
    EXPECT_EQ(coir_reader_read(&r, got + 8, 16), 4);
    EXPECT_EQ(coir_reader_read(&r, got + 12, 16), 1);
    EXPECT_EQ(strcmp(got, "bcd0123456789"), 0);
    close(ends[1]);
    EXPECT_EQ(coir_reader_read(&r, got, 1), 0);
    EXPECT_EQ(coir_reader_read(&r, got, 16), 0);
    close(ends[0]);
}

static void bad_readers(void *arg)
{
    char buf[8], *line;
    const coir_reader sound = { .fd = -1, .buf = buf, .cap = sizeof buf };
    coir_reader bad[7];
    (void)arg;
    for (int i = 0; i < 7; i++)
        bad[i] = sound;
    bad[0].buf = NULL;
    bad[1].cap = 1;
    bad[2].flags = 1;
    bad[3].reserved[1] = 1;
    bad[4].end = sizeof buf;
    bad[5].start = 1;
    bad[6].reserved[0] = 1;
    for (int i = 0; i < 7; i++) {
        EXPECT_FAILS(coir_reader_line(&bad[i], &line), EINVAL);
        EXPECT_FAILS(coir_reader_read(&bad[i], buf, 1), EINVAL);
    }
    coir_reader r = sound;
    EXPECT_FAILS(coir_reader_line(NULL, &line), EINVAL);
    EXPECT_FAILS(coir_reader_line(&r, NULL), EINVAL);
    EXPECT_FAILS(coir_reader_line(&r, &line), EBADF);
    EXPECT_FAILS(coir_reader_read(&r, buf, 1), EBADF);
    EXPECT_FAILS(coir_reader_read(&r, buf, 8), EBADF);
}

static void read_all(void *arg)
{
    const int *ends = arg;
    static char got[200001];
    size_t n = 0;
    ssize_t more;
    while ((more = coir_read(ends[0], got + n, sizeof got - n)) > 0)
        n += (size_t)more;
    EXPECT_EQ(n, 200000);
    for (size_t i = 0; i < n; i++)
        if (got[i] != ' ' && !EXPECT_EQ(got[i], i == n - 1 ? 'x' : ' '))
            break;
}

/* More than a pipe takes at once. */
static void prints(void *arg)
{
    int ends[2];
    char got[32] = "";
    const char *volatile wider_than_an_int = "%9999999999d"; /* which compilers warn of */
    (void)arg;
    make_ends(PIPE, ends);
    EXPECT_EQ(coir_dprintf(ends[1], "%s %d %.2f", "a", -7, 2.5), 9);
    EXPECT_EQ(coir_dprintf(ends[1], "%s", ""), 0);
    EXPECT_EQ(read(ends[0], got, sizeof got), 9);
    EXPECT_EQ(strcmp(got, "a -7 2.50"), 0);
    struct side reader;
    side_start(&reader, read_all, ends);
    EXPECT_EQ(coir_dprintf(ends[1], "%200000s", "x"), 200000);
    close(ends[1]);
    side_wait(&reader);
    close(ends[0]);
    EXPECT_FAILS(coir_dprintf(-1, "x"), EBADF);
    EXPECT_FAILS(coir_dprintf(-1, wider_than_an_int, 1), EOVERFLOW);
    make_ends(PIPE, ends);
    close(ends[0]);
    EXPECT_FAILS(coir_dprintf(ends[1], "x"), EPIPE);
    close(ends[1]);
}

BODY_TEST(lines_come_one_by_one_however_they_are_sent, lines_come)
BODY_TEST(what_is_too_long_or_too_late_stays, nothing_is_lost)
BODY_TEST(reads_get_first_what_lines_have_left, reads_mix_with_lines)
BODY_TEST(a_reader_that_is_not_sound_is_refused, bad_readers)
BODY_TEST(dprintf_writes_all, prints)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_one_by_one_however_they_are_sent),
        cmocka_unit_test(what_is_too_long_or_too_late_stays),
        cmocka_unit_test(reads_get_first_what_lines_have_left),
        cmocka_unit_test(a_reader_that_is_not_sound_is_refused),
        cmocka_unit_test(dprintf_writes_all),
    };
    return RUN_ON_ENGINES(tests);
}
