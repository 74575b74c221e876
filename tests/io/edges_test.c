/* tests/io/edges_test.c - sockets of which the engine remembers that nothing is there: what it
 * knows must never keep a call from what is.
 * SPDX-License-Identifier: MIT
 *
 * Method: each body first has a call wait, so that the engine has something to remember, and then
 * brings what a short read, or an empty one, does not tell of. */
#include "sides.h"

#include "io/fdtab.h"

static void send_all(int fd, const char *text)
{
    EXPECT_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), (long)strlen(text));
}

static void get(int fd, size_t room, const char *wanted)
{
    char text[64] = "";
    EXPECT_EQ(coir_recv(fd, text, room, 0), (long)strlen(wanted));
    EXPECT(strncmp(text, wanted, strlen(wanted)) == 0);
}

static void get_first(void *arg)
{
    get(*(int *)arg, 64, "1");
}

/* One call has waited on ends[0]. */
static void wait_once(const int ends[2])
{
    struct side reader;
    int fd = ends[0];
    side_start(&reader, get_first, &fd);
    until_waiting(&reader);
    send_all(ends[1], "1");
    side_wait(&reader);
}

static void pair_that_has_waited(enum kind kind, int ends[2])
{
    make_ends(kind, ends);
    wait_once(ends);
}

static void ends_are_seen(void *arg)
{
    int ends[2];
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++)
        for (int late = 0; late < 2; late++) {
            pair_that_has_waited((enum kind)kind, ends);
            send_all(ends[1], "abc");
            if (!late)
                shutdown(ends[1], SHUT_WR);
            get(ends[0], 64, "abc");
            if (late)
                shutdown(ends[1], SHUT_WR);
            get(ends[0], 64, "");
            get(ends[0], 64, "");
            close_ends(ends);
        }
}

static void resets_are_seen(void *arg)
{
    struct linger at_once = { 1, 0 };
    int ends[2];
    char c;
    (void)arg;
    pair_that_has_waited(TCP_STREAM, ends);
    send_all(ends[1], "abc");
    get(ends[0], 64, "abc");
    EXPECT_EQ(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    close(ends[1]);
    EXPECT_FAILS(coir_recv(ends[0], &c, 1, 0), ECONNRESET);
    close(ends[0]);
}

static void rests_are_seen(void *arg)
{
    int ends[2];
    char c;
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++) {
        pair_that_has_waited((enum kind)kind, ends);
        send_all(ends[1], "abcdef");
        get(ends[0], 4, "abcd");
        EXPECT_EQ(coir_recv(ends[0], &c, 1, MSG_PEEK), 1);
        get(ends[0], 64, "ef");
        close_ends(ends);
    }
}

/* A read stops short before a byte that is urgent, and behind it there is more. */
static void urgent_data_hides_nothing(void *arg)
{
    int ends[2];
    (void)arg;
    pair_that_has_waited(TCP_STREAM, ends);
    send_all(ends[1], "ab");
    EXPECT_EQ(send(ends[1], "!", 1, MSG_OOB), 1);
    send_all(ends[1], "cd");
    while (segments_under_way(ends[1]))
        usleep(100);
    get(ends[0], 64, "ab");
    get(ends[0], 64, "cd");
    close_ends(ends);
}

static void send_with_descriptor(int fd, const char *text)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = &control,
                          .msg_controllen = sizeof control };
    control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    EXPECT_EQ(sendmsg(fd, &msg, MSG_NOSIGNAL), (long)strlen(text));
}

/* So does a read of a Unix socket, behind a message with descriptors. */
static void sent_descriptors_hide_nothing(void *arg)
{
    int ends[2];
    (void)arg;
    pair_that_has_waited(UNIX_STREAM, ends);
    send_all(ends[1], "ab");
    send_with_descriptor(ends[1], "cd");
    send_all(ends[1], "ef");
    get(ends[0], 64, "abcd");
    get(ends[0], 64, "ef");
    close_ends(ends);
}

/* The program closes a socket by itself, and the next one gets its number. */
static void another_socket_of_that_number_is_served(void *arg)
{
    struct side reader;
    int ends[2], next[2];
    (void)arg;
    for (int kind = UNIX_STREAM; kind < KINDS; kind++)
        for (int late = 0; late < 2; late++) {
            pair_that_has_waited((enum kind)kind, ends);
            make_ends((enum kind)kind, next);
            EXPECT_EQ(dup2(next[0], ends[0]), ends[0]);
            if (!late)
                send_all(next[1], "1");
            side_start(&reader, get_first, &ends[0]);
            if (late) {
                until_waiting(&reader);
                send_all(next[1], "1");
            }
            side_wait(&reader);
            close_ends(ends);
            close_ends(next);
        }
}

enum { NUMBERS = 64 };

/* Then an accept knows better: nothing is remembered of the number. */
static void accepted_sockets_are_new(void *arg)
{
    struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof addr;
    int ends[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)arg;
    EXPECT_EQ(bind(listener, (struct sockaddr *)&addr, len), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    EXPECT_EQ(connect(peer, (struct sockaddr *)&addr, len), 0);
    pair_that_has_waited(TCP_STREAM, ends);
    uint32_t before[NUMBERS];
    for (int i = 0; i < NUMBERS; i++)
        before[i] = coir__fd_generation(i);
    close_ends(ends);
    int fd = coir_accept(listener, NULL, NULL);
    EXPECT(fd >= 0 && fd < NUMBERS && coir__fd_generation(fd) != before[fd]);
    send_all(peer, "1");
    get(fd, 64, "1");
    close(fd);
    close(peer);
    close(listener);
}

enum { CROWD = 5 };

static void crowds_are_served(void *arg)
{
    struct side readers[CROWD];
    int ends[2];
    (void)arg;
    pair_that_has_waited(UNIX_STREAM, ends);
    close_ends(ends);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
    for (int i = 0; i < CROWD; i++)
        side_start(&readers[i], get_first, &ends[0]);
    for (int i = 0; i < CROWD; i++)
        until_waiting(&readers[i]);
    for (int i = 0; i < CROWD; i++)
        send_all(ends[1], "1");
    for (int i = 0; i < CROWD; i++)
        side_wait(&readers[i]);
    close_ends(ends);
}

/* Nobody here reads it for a while, and then somebody does. */
static void what_came_meanwhile_is_there(void *arg)
{
    int ends[2];
    char c;
    (void)arg;
    pair_that_has_waited(TCP_STREAM, ends);
    for (int i = 0; i < 20; i++) {
        send_all(ends[1], "x");
        coir_sleep(COIR_US(100));
        EXPECT_EQ(recv(ends[0], &c, 1, 0), 1); /* not by us */
    }
    wait_once(ends);
    wait_once(ends);
    close_ends(ends);
}

BODY_TEST(an_end_behind_the_data_is_seen, ends_are_seen)
BODY_TEST(a_reset_behind_the_data_is_seen, resets_are_seen)
BODY_TEST(what_was_left_is_seen, rests_are_seen)
BODY_TEST(urgent_data_do_not_hide_what_follows, urgent_data_hides_nothing)
BODY_TEST(sent_descriptors_do_not_hide_what_follows, sent_descriptors_hide_nothing)
BODY_TEST(a_number_may_mean_another_socket, another_socket_of_that_number_is_served)
BODY_TEST(an_accepted_socket_is_another_one, accepted_sockets_are_new)
BODY_TEST(all_who_wait_are_served, crowds_are_served)
BODY_TEST(who_comes_back_is_served, what_came_meanwhile_is_there)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_behind_the_data_is_seen),
        cmocka_unit_test(a_reset_behind_the_data_is_seen),
        cmocka_unit_test(what_was_left_is_seen),
        cmocka_unit_test(urgent_data_do_not_hide_what_follows),
        cmocka_unit_test(sent_descriptors_do_not_hide_what_follows),
        cmocka_unit_test(a_number_may_mean_another_socket),
        cmocka_unit_test(an_accepted_socket_is_another_one),
        cmocka_unit_test(all_who_wait_are_served),
        cmocka_unit_test(who_comes_back_is_served),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
