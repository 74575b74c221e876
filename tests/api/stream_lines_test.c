/* tests/api/stream_lines_test.c - lines of descriptors, and streams that keep several.
 * SPDX-License-Identifier: MIT */
#include "stream_kit.h"

#include <fcntl.h>

/* A pipe with that in it, whose other end is closed. */
static int pipe_with(const char *text, size_t len)
{
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    EXPECT_EQ(write(ends[1], text, len), len);
    close(ends[1]);
    return ends[0];
}

static bool line_is(coir_line line, const char *text, size_t len)
{
    return line.len == len && memcmp(line.text, text, len) == 0 && line.text[len] == 0;
}

static void expect_line(coir_stream *s, const char *text, size_t len)
{
    coir_line line = { 0 };
    if (EXPECT_EQ(coir_stream_next(s, &line), 1))
        EXPECT(line_is(line, text, len));
}

#define EXPECT_LINE(s, text) expect_line(s, text, sizeof text - 1)

static void whole_lines(void *arg)
{
    const char text[] = "one\n\ntwo\r\nb\0n\0\n\0\nlast";
    int fd = pipe_with(text, sizeof text - 1);
    (void)arg;
    coir_stream *s = coir_stream_lines(fd, 100);
    EXPECT_LINE(s, "one");
    EXPECT_LINE(s, "");
    EXPECT_LINE(s, "two\r");
    EXPECT_LINE(s, "b\0n\0");
    EXPECT_LINE(s, "\0");
    EXPECT_LINE(s, "last");
    expect_end(s);
    coir_stream_free(s);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC); /* it is still open */
    close(fd);
    fd = pipe_with("a\n", 2);
    s = coir_stream_lines(fd, 0);
    EXPECT_LINE(s, "a");
    expect_end(s);
    coir_stream_free(s);
    close(fd);
    fd = pipe_with("", 0);
    s = coir_stream_lines(fd, 0);
    expect_end(s);
    coir_stream_free(s);
    close(fd);
}

static void lines_are_given_without_newlines_and_with_all_other_bytes(void **state)
{
    (void)state;
    run_everywhere(whole_lines);
}

static void long_lines(void *arg)
{
    const char text[] = "abcd\nabcde\nabc\nabcdefghijklmnopqrstuvwxyz\n\nabcd";
    (void)arg;
    int fd = pipe_with(text, sizeof text - 1);
    coir_stream *s = coir_stream_lines(fd, 4);
    coir_line line;
    EXPECT_LINE(s, "abcd");
    EXPECT_FAILS(coir_stream_next(s, &line), EMSGSIZE);
    EXPECT_LINE(s, "abc");
    EXPECT_FAILS(coir_stream_next(s, &line), EMSGSIZE);
    EXPECT_LINE(s, "");
    EXPECT_LINE(s, "abcd");
    expect_end(s);
    coir_stream_free(s);
    close(fd);
    fd = pipe_with("abcdefg", 7); /* the last, without a newline */
    s = coir_stream_lines(fd, 4);
    EXPECT_FAILS(coir_stream_next(s, &line), EMSGSIZE);
    expect_end(s);
    coir_stream_free(s);
    close(fd);
}

static void a_line_that_is_too_long_is_told_and_left_out(void **state)
{
    (void)state;
    run_everywhere(long_lines);
}

/* Text in random pieces, of lines of random lengths, some longer than the buffer begins with. */
enum { LINES = 300, LONGEST = 30000 };

struct text {
    int fd;
    unsigned seed;
    size_t lens[LINES];
};

static unsigned random_of(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 8;
}

static char letter(int line, size_t i)
{
    return (char)('a' + (line + i * 7) % 26);
}

static void *write_text(void *arg)
{
    static _Thread_local char piece[LONGEST + 1];
    struct text *t = arg;
    unsigned seed = t->seed;
    size_t used = 0;
    for (int k = 0; k < LINES; k++) {
        for (size_t i = 0; i <= t->lens[k]; i++) {
            piece[used++] = i < t->lens[k] ? letter(k, i) : '\n';
            if (used == sizeof piece || random_of(&seed) % 1000 == 0) {
                EXPECT_EQ(coir_write_all(t->fd, piece, used), used);
                used = 0;
            }
        }
    }
    EXPECT_EQ(coir_write_all(t->fd, piece, used), used);
    close(t->fd);
    return NULL;
}

static int bad_letters(int k, const coir_line *line)
{
    int bad = line->text[line->len] != 0;
    for (size_t i = 0; i < line->len; i++)
        bad += line->text[i] != letter(k, i);
    return bad;
}

static void make_text(struct text *t, int ends[2], unsigned seed)
{
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    *t = (struct text){ .fd = ends[1], .seed = seed };
    for (int k = 0; k < LINES; k++)
        t->lens[k] = random_of(&seed) % 8 ? random_of(&seed) % 100 : random_of(&seed) % LONGEST;
}

/* With deadlines that come at any moment. */
static void random_pieces(void *arg)
{
    struct text t;
    int ends[2];
    pthread_t thread;
    coir_line line;
    (void)arg;
    make_text(&t, ends, 1);
    EXPECT_EQ(pthread_create(&thread, NULL, write_text, &t), 0);
    coir_stream *s = coir_stream_lines(ends[0], LONGEST);
    for (int k = 0; k < LINES; k++) {
        int got = -1;
        while (got < 0) {
            COIR_TIMEOUT(COIR_US(k % 2 ? 20 : 1000000))
                got = coir_stream_next(s, &line);
            EXPECT(got >= 0 || errno == ETIMEDOUT);
        }
        if (!EXPECT_EQ(got, 1) || !EXPECT_EQ(line.len, t.lens[k]) ||
            !EXPECT_EQ(bad_letters(k, &line), 0))
            break;
    }
    expect_end(s);
    pthread_join(thread, NULL);
    coir_stream_free(s);
    close(ends[0]);
}

static void lines_come_whole_from_any_pieces_and_deadlines_lose_nothing(void **state)
{
    (void)state;
    run_everywhere(random_pieces);
}

static void bad_descriptors(void *arg)
{
    coir_line line;
    (void)arg;
    coir_stream *s = coir_stream_lines(-1, 100);
    EXPECT_FAILS(coir_stream_next(s, &line), EBADF);
    EXPECT_FAILS(coir_stream_next(s, &line), EBADF);
    coir_stream_free(s);
    s = coir_stream_take(coir_stream_lines(-1, SIZE_MAX), 5);
    EXPECT_FAILS(coir_stream_next(s, &line), EBADF);
    EXPECT_FAILS(coir_stream_next(s, &line), EBADF);
    coir_stream_free(s);
}

static void a_read_that_fails_ends_the_lines(void **state)
{
    (void)state;
    run_everywhere(bad_descriptors);
}

/* Chunks keep lines, whatever comes after them. */
static int is_short(const void *elem, void *arg)
{
    (void)arg;
    return ((const coir_line *)elem)->len < 50;
}

static void chunks_of_lines(void *arg)
{
    struct text t;
    int ends[2], k = 0;
    pthread_t thread;
    coir_chunk chunk;
    (void)arg;
    make_text(&t, ends, 2);
    EXPECT_EQ(pthread_create(&thread, NULL, write_text, &t), 0);
    coir_stream *s = coir_stream_lines(ends[0], LONGEST);
    s = coir_stream_chunks(coir_stream_filter(s, is_short, NULL), 7, COIR_NEVER);
    while (coir_stream_next(s, &chunk) == 1) {
        const coir_line *lines = chunk.items;
        for (size_t i = 0; i < chunk.count; i++, k++) {
            while (k < LINES && t.lens[k] >= 50)
                k++;
            if (k == LINES || !EXPECT_EQ(lines[i].len, t.lens[k]) ||
                !EXPECT_EQ(bad_letters(k, &lines[i]), 0))
                break;
        }
    }
    while (k < LINES && t.lens[k] >= 50)
        k++;
    EXPECT_EQ(k, LINES);
    pthread_join(thread, NULL);
    coir_stream_free(s);
    close(ends[0]);
}

static void chunks_keep_lines(void **state)
{
    (void)state;
    run_everywhere(chunks_of_lines);
}

/* Two files merged, in chunks of chunks; left half-read. */
static void nested(void *arg)
{
    int a = pipe_with("a0\na1\na2\na3\na4\n", 15), b = pipe_with("b0\nb1\nb2\nb3\nb4\n", 15);
    int next[2] = { 0, 0 };
    coir_chunk outer;
    (void)arg;
    coir_stream *s = coir_stream_merge(coir_stream_lines(a, 9), coir_stream_lines(b, 9));
    s = coir_stream_chunks(coir_stream_chunks(coir_stream_take(s, 9), 2, COIR_NEVER), 2,
                           COIR_NEVER);
    for (size_t counts[] = { 2, 2, 1 }, i = 0; i < (arg ? 1 : 3); i++) {
        EXPECT_EQ(coir_stream_next(s, &outer), 1);
        EXPECT_EQ(outer.count, counts[i]);
        for (size_t k = 0; k < outer.count; k++) {
            coir_chunk inner = ((coir_chunk *)outer.items)[k];
            EXPECT_EQ(inner.count, i == 2 ? 1 : 2);
            for (size_t j = 0; j < inner.count; j++) {
                coir_line line = ((coir_line *)inner.items)[j];
                int *n = &next[line.text[0] == 'b'];
                EXPECT(line.len == 2 && line.text[1] == '0' + (*n)++);
            }
        }
    }
    if (!arg)
        expect_end(s);
    coir_stream_free(s);
    close(a);
    close(b);
}

static void merges_and_chunks_of_chunks_keep_lines_too(void **state)
{
    (void)state;
    run_everywhere(nested);
    run_on_each(nested, state);
}

/* What map makes of a line is its own. */
static int to_length(void *out, void *in, void *arg)
{
    (void)arg;
    *(int *)out = (int)((coir_line *)in)->len;
    return 0;
}

static void mapped_lines(void *arg)
{
    int fd = pipe_with("\na\nbb\nccc\n", 10);
    coir_chunk chunk;
    (void)arg;
    coir_stream *s = coir_stream_map(coir_stream_lines(fd, 9), sizeof(int), to_length, NULL);
    s = coir_stream_chunks(s, 4, COIR_NEVER);
    EXPECT_EQ(coir_stream_next(s, &chunk), 1);
    EXPECT_EQ(chunk.count, 4);
    for (int i = 0; i < 4; i++)
        EXPECT_EQ(((int *)chunk.items)[i], i);
    coir_stream_free(s);
    close(fd);
}

static void lines_may_be_mapped(void **state)
{
    (void)state;
    run_everywhere(mapped_lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_given_without_newlines_and_with_all_other_bytes),
        cmocka_unit_test(a_line_that_is_too_long_is_told_and_left_out),
        cmocka_unit_test(lines_come_whole_from_any_pieces_and_deadlines_lose_nothing),
        cmocka_unit_test(a_read_that_fails_ends_the_lines),
        cmocka_unit_test(chunks_keep_lines),
        cmocka_unit_test(merges_and_chunks_of_chunks_keep_lines_too),
        cmocka_unit_test(lines_may_be_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
