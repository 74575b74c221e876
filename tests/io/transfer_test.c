/* tests/io/transfer_test.c - coir_sendfile and coir_splice.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <limits.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum { FILE_BYTES = 300000 };

static int make_file(void)
{
    static unsigned char data[FILE_BYTES];
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t i = 0; i < FILE_BYTES; i++)
        data[i] = pattern(i);
    EXPECT_EQ(write(fd, data, FILE_BYTES), FILE_BYTES);
    EXPECT_EQ(unlink("file"), 0);
    return fd;
}

struct sink {
    int fd;
    size_t from, bytes; /* of the pattern */
};

static void read_pattern(void *arg)
{
    struct sink *s = arg;
    unsigned char buf[5000];
    ssize_t n;
    for (size_t at = s->from; (n = coir_read(s->fd, buf, sizeof buf)) > 0; at += (size_t)n) {
        s->bytes += (size_t)n;
        for (ssize_t i = 0; i < n; i++)
            if (!EXPECT_EQ(buf[i], pattern(at + (size_t)i)))
                return;
    }
    EXPECT_EQ(n, 0);
}

/* All of it, though the other end takes it slowly; blocking or not. */
static void files_are_sent(void *arg)
{
    int file = make_file();
    (void)arg;
    for (int i = 0; i < 2 * KINDS; i++) {
        int ends[2];
        struct side reader;
        off_t offset = 1000;
        make_ends((enum kind)(i % KINDS), ends);
        if (i >= KINDS)
            fcntl(ends[1], F_SETFL, O_NONBLOCK);
        struct sink sink = { ends[0], 1000, 0 };
        side_start(&reader, read_pattern, &sink);
        EXPECT_EQ(coir_sendfile(ends[1], file, &offset, 200000), 200000);
        EXPECT_EQ(offset, 201000);
        EXPECT_EQ(lseek(file, 201000, SEEK_SET), 201000);
        EXPECT_EQ(coir_sendfile(ends[1], file, NULL, SSIZE_MAX), FILE_BYTES - 201000);
        EXPECT_EQ(lseek(file, 0, SEEK_CUR), FILE_BYTES);
        EXPECT_EQ(coir_sendfile(ends[1], file, NULL, 1), 0);
        close(ends[1]);
        side_wait(&reader);
        EXPECT_EQ(sink.bytes, FILE_BYTES - 1000);
        close(ends[0]);
    }
    close(file);
}

static void send_to_nobody(void *arg)
{
    int file = make_file(), out = *(int *)arg;
    off_t offset = 0;
    ssize_t n = coir_sendfile(out, file, &offset, FILE_BYTES);
    EXPECT(n > 0 && n < FILE_BYTES);
    EXPECT_EQ(offset, n);
    EXPECT_FAILS(coir_sendfile(out, file, &offset, 1), EPIPE);
    COIR_TIMEOUT(-1)
        EXPECT_FAILS(coir_sendfile(out, file, &offset, 1), ETIMEDOUT);
    EXPECT_EQ(offset, n);
    close(file);
}

/* What went out before the trouble counts, and where to go on is told. */
static void what_was_sent_counts(void *arg)
{
    int ends[2], there = 0;
    struct side side;
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    side_start(&side, send_to_nobody, &ends[1]);
    while (ioctl(ends[0], FIONREAD, &there) == 0 && there == 0)
        nap();
    close(ends[0]);
    side_wait(&side);
    close(ends[1]);
}

/* The same as sendfile(2) says. */
static void wrong_ends_are_refused(void *arg)
{
    int file = make_file(), ends[2], writes = open("out", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int appends = open("out", O_WRONLY | O_APPEND | O_CLOEXEC);
    off_t negative = -1, zero = 0;
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    const struct {
        int out, in;
        off_t *offset;
    } calls[] = {
        { -1, file, &zero },     { ends[1], -1, &zero },      { ends[1], file, &negative },
        { ends[1], writes, 0 },  { ends[1], ends[0], &zero }, { appends, file, &zero },
        { ends[1], ends[1], 0 }, { file, -1, 0 },
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        ssize_t libcs = minus_errno(sendfile(calls[i].out, calls[i].in, calls[i].offset, 1));
        EXPECT(libcs < 0);
        EXPECT_EQ(minus_errno(coir_sendfile(calls[i].out, calls[i].in, calls[i].offset, 1)), libcs);
    }
    EXPECT_EQ(coir_sendfile(writes, file, NULL, 0), 0);
    EXPECT_EQ(unlink("out"), 0);
    close(file);
    close(writes);
    close(appends);
    close_ends(ends);
}

static void splice_all(void *arg)
{
    struct sink *s = arg; /* to a socket, by way of a pipe */
    int pipe[2];
    off_t offset = 0;
    make_ends(PIPE, pipe);
    for (size_t left = FILE_BYTES; left;) {
        ssize_t in = coir_splice(s->fd, &offset, pipe[1], NULL, left, 0);
        if (!EXPECT(in > 0))
            break;
        left -= (size_t)in;
        while (in > 0)
            in -= coir_splice(pipe[0], NULL, (int)s->from, NULL, (size_t)in, 0);
        EXPECT_EQ(in, 0);
    }
    EXPECT_EQ(offset, FILE_BYTES);
    EXPECT_EQ(coir_close((int)s->from), 0);
    close_ends(pipe);
}

static void splices(void *arg)
{
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        int file = make_file(), ends[2];
        struct side side;
        make_ends((enum kind)kind, ends);
        struct sink source = { file, (size_t)ends[1], 0 }, sink = { ends[0], 0, 0 };
        side_start(&side, splice_all, &source);
        read_pattern(&sink);
        side_wait(&side);
        EXPECT_EQ(sink.bytes, FILE_BYTES);
        close(ends[0]);
        close(file);
    }
}

static void splice_one(void *arg)
{
    int *ends = arg;
    EXPECT_EQ(coir_splice(ends[0], NULL, ends[1], NULL, 100, 0), 1);
}

static void splice_waits(void *arg)
{
    int a[2], b[2], both[2];
    struct side side;
    (void)arg;
    make_ends(PIPE, a);
    make_ends(PIPE, b);
    both[0] = a[0];
    both[1] = b[1];
    side_start(&side, splice_one, both);
    until_waiting(&side);
    EXPECT_EQ(write(a[1], "x", 1), 1);
    side_wait(&side);
    EXPECT_FAILS(coir_splice(a[0], NULL, b[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    COIR_TIMEOUT(COIR_MS(1))
        EXPECT_FAILS(coir_splice(a[0], NULL, b[1], NULL, 1, 0), ETIMEDOUT);
    EXPECT_FAILS(coir_splice(-1, NULL, b[1], NULL, 1, 0), EBADF);
    EXPECT_FAILS(coir_splice(a[0], NULL, -1, NULL, 1, SPLICE_F_NONBLOCK), EBADF);
    EXPECT_FAILS(coir_splice(a[0], NULL, b[1], NULL, 1, 1u << 30), EINVAL);
    EXPECT_EQ(coir_splice(a[0], NULL, b[1], NULL, 0, 0), 0);
    close(a[1]);
    EXPECT_EQ(coir_splice(a[0], NULL, b[1], NULL, 1, 0), 0);
    make_ends(UNIX_STREAM, both);
    EXPECT_FAILS(coir_splice(both[0], NULL, both[1], NULL, 1, 0), EINVAL);
    close_ends(both);
    close(a[0]);
    close_ends(b);
}

struct splicer {
    int in, out;
    long result;
};

static void splice_and_tell(void *arg)
{
    struct splicer *s = arg;
    s->result = minus_errno(coir_splice(s->in, NULL, s->out, NULL, 6, 0));
}

/* Of either end, whichever is waited for; and the number is another file's at once. */
static void closes_end_splices(void *arg)
{
    (void)arg;
    for (int which = 0; which < 4; which++) {
        int from[2], to[2], victim = memfd_create("victim", MFD_CLOEXEC);
        struct side side;
        struct stat st;
        make_ends(PIPE, from);
        make_ends(PIPE, to);
        if (which & 1) { /* out is full */
            EXPECT_EQ(write(from[1], "first", 6), 6);
            fill(to[1]);
        }
        struct splicer s = { from[0], to[1], 0 };
        side_start(&side, splice_and_tell, &s);
        until_waiting(&side);
        int closed = which & 2 ? from[0] : to[1];
        EXPECT_EQ(coir_close(closed), 0);
        EXPECT_EQ(dup2(victim, closed), closed);
        if (!(which & 1) && closed != from[0])
            EXPECT_EQ(write(from[1], "later", 6), 6);
        side_wait(&side);
        EXPECT_EQ(s.result, -EBADF);
        EXPECT_EQ(fstat(victim, &st), 0);
        EXPECT_EQ(st.st_size, 0);
        close(victim);
        close_ends(from);
        close_ends(to);
    }
}

static void timeouts_end_splices(void *arg)
{
    const struct timeval t = { 0, 2000 };
    int ends[2], pipe[2];
    (void)arg;
    make_ends(UNIX_STREAM, ends);
    make_ends(PIPE, pipe);
    EXPECT_EQ(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t), 0);
    EXPECT_FAILS(coir_splice(ends[0], NULL, pipe[1], NULL, 1, 0), EAGAIN);
    EXPECT_EQ(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), 0);
    fill(ends[0]);
    EXPECT_EQ(write(pipe[1], "x", 1), 1);
    EXPECT_FAILS(coir_splice(pipe[0], NULL, ends[0], NULL, 1, 0), EAGAIN);
    close_ends(ends);
    close_ends(pipe);
}

BODY_TEST(a_close_ends_a_splice, closes_end_splices)
BODY_TEST(a_sockets_timeout_ends_a_splice, timeouts_end_splices)
BODY_TEST(files_are_sent_whole, files_are_sent)
BODY_TEST(what_was_sent_before_trouble_counts, what_was_sent_counts)
BODY_TEST(wrong_ends_are_refused_as_by_sendfile, wrong_ends_are_refused)
BODY_TEST(splice_moves_between_files_and_sockets, splices)
BODY_TEST(splice_waits_for_both_ends, splice_waits)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_sent_whole),
        cmocka_unit_test(what_was_sent_before_trouble_counts),
        cmocka_unit_test(wrong_ends_are_refused_as_by_sendfile),
        cmocka_unit_test(splice_moves_between_files_and_sockets),
        cmocka_unit_test(splice_waits_for_both_ends),
        cmocka_unit_test(a_close_ends_a_splice),
        cmocka_unit_test(a_sockets_timeout_ends_a_splice),
    };
    return RUN_AT_HOME_ON_ENGINES(tests);
}
