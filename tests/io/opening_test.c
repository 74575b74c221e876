/* tests/io/opening_test.c - calls that make descriptors: accept, connect, open, openat. They wait
 * for the other side, and what they make is close-on-exec.
 * SPDX-License-Identifier: MIT */
#include "sides.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

static int closed_on_exec(int fd)
{
    return fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

static int listen_on_loopback(struct sockaddr_in *addr, int flags, int backlog)
{
    socklen_t len = sizeof *addr;
    *addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)addr, len), 0);
    EXPECT_EQ(listen(fd, backlog), 0);
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)addr, &len), 0);
    return fd;
}

struct acceptor {
    int listener, flags;
    int fd;
    struct sockaddr_in from;
    socklen_t len;
};

static void accept_one(void *arg)
{
    struct acceptor *a = arg;
    a->len = sizeof a->from;
    a->fd = a->flags < 0
                ? coir_accept(a->listener, (struct sockaddr *)&a->from, &a->len)
                : coir_accept4(a->listener, (struct sockaddr *)&a->from, &a->len, a->flags);
}

static void accepts_wait(void *arg)
{
    (void)arg;
    for (int nonblock = 0; nonblock <= SOCK_NONBLOCK; nonblock += SOCK_NONBLOCK)
        for (int flags = -1; flags < 2; flags++) {
            struct sockaddr_in addr, mine;
            struct side side;
            struct acceptor a = { .flags = flags > 0 ? SOCK_NONBLOCK : flags };
            a.listener = listen_on_loopback(&addr, nonblock, 8);
            side_start(&side, accept_one, &a);
            until_waiting(&side);
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | nonblock, 0);
            EXPECT_EQ(coir_connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
            side_wait(&side);
            EXPECT(closed_on_exec(a.fd));
            EXPECT_EQ((fcntl(a.fd, F_GETFL) & O_NONBLOCK) != 0, flags > 0);
            socklen_t len = sizeof mine;
            getsockname(fd, (struct sockaddr *)&mine, &len);
            EXPECT_EQ(a.len, sizeof mine);
            EXPECT(memcmp(&a.from, &mine, sizeof mine) == 0);
            EXPECT_FAILS(coir_connect(fd, (struct sockaddr *)&addr, sizeof addr), EISCONN);
            close(fd);
            close(a.fd);
            close(a.listener);
        }
}

static void connects_are_refused(void *arg)
{
    (void)arg;
    struct sockaddr_in addr;
    int listener = listen_on_loopback(&addr, 0, 1);
    close(listener);
    for (int nonblock = 0; nonblock <= SOCK_NONBLOCK; nonblock += SOCK_NONBLOCK) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | nonblock, 0);
        EXPECT_FAILS(coir_connect(fd, (struct sockaddr *)&addr, sizeof addr), ECONNREFUSED);
        close(fd);
    }
}

struct client {
    int fd;
    struct sockaddr_un addr;
    socklen_t len;
};

static void connect_one(void *arg)
{
    struct client *c = arg;
    EXPECT_EQ(coir_connect(c->fd, (struct sockaddr *)&c->addr, c->len), 0);
}

/* A Unix socket's listener whose queue is full: there is nothing in the kernel to poll for. */
static void full_queues_are_waited_for(void *arg)
{
    (void)arg;
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                                (size_t)sprintf(addr.sun_path + 1, "coir-opening-%d", getpid()));
    for (int nonblock = 0; nonblock <= SOCK_NONBLOCK; nonblock += SOCK_NONBLOCK) {
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len), 0);
        EXPECT_EQ(listen(listener, 0), 0);
        EXPECT_EQ(coir_connect(first, (struct sockaddr *)&addr, len), 0);
        struct client c = { .addr = addr, .len = len };
        c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | nonblock, 0);
        COIR_TIMEOUT(COIR_MS(20)) {
            double cpu = cpu_seconds();
            EXPECT_FAILS(coir_connect(c.fd, (struct sockaddr *)&addr, len), ETIMEDOUT);
            EXPECT(cpu_seconds() - cpu < 0.015);
        }
        struct side side;
        side_start(&side, connect_one, &c);
        until_waiting(&side);
        int a = coir_accept(listener, NULL, NULL), b = coir_accept(listener, NULL, NULL);
        EXPECT(a >= 0 && b >= 0);
        side_wait(&side);
        EXPECT_EQ(coir_write(c.fd, "x", 1), 1);
        close(a);
        close(b);
        close(c.fd);
        close(first);
        close(listener);
    }
}

/* A TCP listener with a full queue drops what comes: only a deadline ends that. */
static void connects_time_out(void *arg)
{
    (void)arg;
    enum { CLIENTS = 6 };
    struct sockaddr_in addr;
    int listener = listen_on_loopback(&addr, 0, 0), fd[CLIENTS], late = 0;
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (i % 2 ? SOCK_NONBLOCK : 0), 0);
        COIR_TIMEOUT(COIR_MS(10)) {
            if (coir_connect(fd[i], (struct sockaddr *)&addr, sizeof addr) < 0) {
                EXPECT_EQ(errno, ETIMEDOUT);
                late++;
            }
        }
    }
    EXPECT(late >= 2);
    for (int i = 0; i < CLIENTS; i++)
        EXPECT_EQ(coir_close(fd[i]), 0);
    EXPECT_EQ(coir_close(listener), 0);
}

static void everything_is_cloexec(void *arg)
{
    (void)arg;
    int fd[4], dir = coir_open(".", O_RDONLY | O_DIRECTORY);
    fd[0] = coir_open("made", O_CREAT | O_RDWR, 0600);
    fd[1] = coir_openat(dir, "made", O_RDONLY);
    fd[2] = coir_open(".", O_TMPFILE | O_RDWR, 0600);
    fd[3] = coir_open("/dev/null", O_RDWR);
    EXPECT(closed_on_exec(dir));
    for (int i = 0; i < 4; i++) {
        EXPECT(closed_on_exec(fd[i]));
        EXPECT_EQ(coir_close(fd[i]), 0);
    }
    EXPECT_EQ(coir_close(dir), 0);
    EXPECT_EQ(unlink("made"), 0);
}

struct fifo {
    const char *path;
    int flags;
    int fd;
};

static void open_fifo(void *arg)
{
    struct fifo *f = arg;
    f->fd = coir_open(f->path, f->flags);
    EXPECT(closed_on_exec(f->fd));
    EXPECT_EQ(fcntl(f->fd, F_GETFL) & O_NONBLOCK, 0);
}

/* Each side of a FIFO waits for the other. */
static void fifos_wait(void *arg)
{
    (void)arg;
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    for (int reader_first = 0; reader_first < 2; reader_first++) {
        struct side side;
        char got[8] = "";
        struct fifo first = { "fifo", reader_first ? O_RDONLY : O_WRONLY, -1 };
        struct fifo second = { "fifo", reader_first ? O_WRONLY : O_RDONLY, -1 };
        side_start(&side, open_fifo, &first);
        until_waiting(&side);
        coir_sleep(COIR_MS(5));
        EXPECT_EQ(first.fd, -1);
        open_fifo(&second);
        side_wait(&side);
        int in = reader_first ? first.fd : second.fd, out = reader_first ? second.fd : first.fd;
        EXPECT_EQ(coir_write(out, "abc", 3), 3);
        EXPECT_EQ(coir_read(in, got, sizeof got), 3);
        EXPECT_EQ(coir_close(out), 0);
        EXPECT_EQ(coir_read(in, got, sizeof got), 0);
        EXPECT_EQ(coir_close(in), 0);
    }
    EXPECT_EQ(unlink("fifo"), 0);
}

/* A writer that comes, writes and goes at once: its reader gets what it wrote. */
static void write_and_go(void *arg)
{
    const char *path = arg;
    int fd = coir_open(path, O_WRONLY);
    EXPECT_EQ(coir_write(fd, "gone", 4), 4);
    EXPECT_EQ(coir_close(fd), 0);
}

/* A kernel thread that has read may let go of the file only after its op is complete, and after the
 * close that follows: the next writer would still find a reader. The worker has to go on for
 * that. */
static void until_really_closed(const char *fifo)
{
    int fd;
    while ((fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0) {
        close(fd);
        coir_sleep(COIR_US(100));
    }
    EXPECT_EQ(errno, ENXIO);
}

static void fifo_writers_may_be_quick(void *arg)
{
    (void)arg;
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    for (int i = 0; i < test_scaled(60, 10); i++) {
        struct side side;
        char got[8] = "";
        side_start(&side, write_and_go, "fifo");
        if (i % 2)
            until_waiting(&side);
        int fd = coir_open("fifo", O_RDONLY);
        EXPECT(fd >= 0);
        EXPECT_EQ(coir_read_full(fd, got, sizeof got), 4);
        EXPECT_EQ(coir_close(fd), 0);
        until_really_closed("fifo");
        side_wait(&side);
    }
    EXPECT_EQ(unlink("fifo"), 0);
}

/* Two programs that talk through two FIFOs open them crosswise. */
static void answer(void *arg)
{
    (void)arg;
    int out = coir_open("there", O_WRONLY), in = coir_open("back", O_RDONLY);
    char c = 0;
    EXPECT_EQ(coir_write(out, "?", 1), 1);
    EXPECT_EQ(coir_read(in, &c, 1), 1);
    EXPECT_EQ(c, '!');
    close(out);
    close(in);
}

static void fifos_shake_hands(void *arg)
{
    (void)arg;
    struct side side;
    char c = 0;
    EXPECT_EQ(mkfifo("there", 0600) | mkfifo("back", 0600), 0);
    side_start(&side, answer, NULL);
    int in = coir_open("there", O_RDONLY), out = coir_open("back", O_WRONLY);
    EXPECT_EQ(coir_read(in, &c, 1), 1);
    EXPECT_EQ(c, '?');
    EXPECT_EQ(coir_write(out, "!", 1), 1);
    side_wait(&side);
    close(in);
    close(out);
    EXPECT_EQ(unlink("there") | unlink("back"), 0);
}

static void fifos_time_out(void *arg)
{
    (void)arg;
    static const int ways[] = { O_RDONLY, O_WRONLY, O_RDONLY | O_CREAT, O_WRONLY | O_CREAT };
    EXPECT_EQ(mkfifo("fifo", 0600), 0);
    for (int i = 0; i < 4; i++)
        COIR_TIMEOUT(COIR_MS(10)) {
            int64_t before_ns = coir_now();
            EXPECT_FAILS(coir_open("fifo", ways[i], 0600), ETIMEDOUT);
            EXPECT(coir_now() - before_ns >= COIR_MS(9));
        }
    EXPECT_EQ(unlink("fifo"), 0);
}

struct lookup {
    int dir;
    char content[8];
};

static void *open_in(void *arg)
{
    struct lookup *l = arg;
    int fd = coir_openat(l->dir, "file", O_RDONLY);
    if (fd >= 0) {
        EXPECT(read(fd, l->content, 4) == 4);
        close(fd);
    } else {
        EXPECT_EQ(errno, EBADF);
    }
    return NULL;
}

static int make_dir(const char *path, const char *content)
{
    char name[32];
    EXPECT_EQ(mkdir(path, 0700), 0);
    sprintf(name, "%s/file", path);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    EXPECT_EQ(write(fd, content, 4), 4);
    close(fd);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A directory that is closed in the same tick, and its number reused: never the other's file. */
static void directories_are_counted(void *arg)
{
    (void)arg;
    struct lookup l = { .dir = make_dir("a", "in a") };
    int other = make_dir("b", "in b");
    coir_fiber *f = coir_spawn(open_in, &l);
    until_parked(f);
    EXPECT_EQ(coir_close(l.dir), 0);
    EXPECT_EQ(dup2(other, l.dir), l.dir);
    join(f);
    EXPECT(strcmp(l.content, "in b") != 0);
    close(l.dir);
    close(other);
    EXPECT_EQ(unlink("a/file") | unlink("b/file") | rmdir("a") | rmdir("b"), 0);
}

static void a_directory_is_not_mistaken(void **state)
{
    (void)state;
    run_on(1, directories_are_counted, NULL);
}

BODY_TEST(accept_waits, accepts_wait)
BODY_TEST(connect_tells_of_refusal, connects_are_refused)
BODY_TEST(connect_waits_for_a_full_queue, full_queues_are_waited_for)
BODY_TEST(connect_times_out, connects_time_out)
BODY_TEST(what_is_made_is_close_on_exec, everything_is_cloexec)
BODY_TEST(a_fifo_waits_for_its_other_side, fifos_wait)
BODY_TEST(a_fifo_keeps_what_a_quick_writer_left, fifo_writers_may_be_quick)
BODY_TEST(fifos_may_be_opened_crosswise, fifos_shake_hands)
BODY_TEST(opening_a_fifo_times_out, fifos_time_out)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_waits),
        cmocka_unit_test(connect_tells_of_refusal),
        cmocka_unit_test(connect_waits_for_a_full_queue),
        cmocka_unit_test(connect_times_out),
        cmocka_unit_test(what_is_made_is_close_on_exec),
        cmocka_unit_test(a_fifo_waits_for_its_other_side),
        cmocka_unit_test(a_fifo_keeps_what_a_quick_writer_left),
        cmocka_unit_test(fifos_may_be_opened_crosswise),
        cmocka_unit_test(opening_a_fifo_times_out),
        cmocka_unit_test(a_directory_is_not_mistaken),
    };
    return RUN_AT_HOME(tests);
}
