/* tests/io/turns_test.c - who has turns: an op that need not wait does not give its own away, and
 * who never waits does not keep the others from theirs.
 * SPDX-License-Identifier: MIT */
#include "kit.h"

#include <stdlib.h>

enum { CLIENTS = 8, ROUNDS = 200 };

static struct {
    int listener;
    struct sockaddr_in addr;
    _Atomic long turns;
    _Atomic bool over;
} shop;

static void open_shop(void)
{
    socklen_t len = sizeof shop.addr;
    shop.addr = (struct sockaddr_in){ .sin_family = AF_INET,
                                      .sin_addr = { htonl(INADDR_LOOPBACK) } };
    shop.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(shop.listener, (struct sockaddr *)&shop.addr, len), 0);
    EXPECT_EQ(listen(shop.listener, CLIENTS), 0);
    EXPECT_EQ(getsockname(shop.listener, (struct sockaddr *)&shop.addr, &len), 0);
    shop.turns = 0;
    shop.over = false;
}

/* Connected, and in the listener's queue. */
static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, (struct sockaddr *)&shop.addr, sizeof shop.addr), 0);
    return fd;
}

static void *count_turns(void *arg)
{
    while (!shop.over) {
        shop.turns++;
        coir_yield();
    }
    return arg;
}

static void accept_all(void *arg)
{
    int clients[CLIENTS], taken[CLIENTS];
    (void)arg;
    open_shop();
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client();
    coir_fiber *other = coir_spawn(count_turns, NULL);
    while (shop.turns == 0)
        coir_yield();
    long before = shop.turns;
    for (int i = 0; i < CLIENTS; i++)
        taken[i] = coir_accept(shop.listener, NULL, NULL);
    EXPECT_EQ(shop.turns, before);
    shop.over = true;
    coir_join(other, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        EXPECT(taken[i] >= 0);
        close(clients[i]);
        coir_close(taken[i]);
    }
    coir_close(shop.listener);
}

/* The connections that are there when it is called, one after the other: nobody else's turn comes
 * in between. Old answers have it wait. */
static void accept_keeps_its_turn_while_there_are_connections(void **state)
{
    (void)state;
    if (!rung->interrupt_every)
        run_on(1, accept_all, NULL);
}

/* Its ops need never wait. */
static void *trade(void *arg)
{
    while (!shop.over) {
        int fd = client(), taken = coir_accept(shop.listener, NULL, NULL);
        EXPECT(taken >= 0);
        close(fd);
        coir_close(taken);
    }
    return arg;
}

static void *sleep_often(void *arg)
{
    for (int i = 0; i < 20; i++)
        coir_sleep(COIR_US(50));
    return arg;
}

static void trade_and_more(void *arg)
{
    (void)arg;
    open_shop();
    coir_fiber *trader = coir_spawn(trade, NULL), *counter = coir_spawn(count_turns, NULL);
    coir_fiber *sleeper = coir_spawn(sleep_often, NULL);
    EXPECT_EQ(coir_join(sleeper, NULL), 0);
    while (shop.turns < ROUNDS)
        coir_yield();
    shop.over = true;
    coir_join(trader, NULL);
    coir_join(counter, NULL);
    coir_close(shop.listener);
}

/* Neither those that are ready nor timers. A loss is a hang, which the watchdog ends. */
static void who_never_waits_keeps_nobody_waiting(void **state)
{
    (void)state;
    run_on_each(trade_and_more, NULL);
}

static void read_and_count(void *arg)
{
    char path[] = "/tmp/coir-turns-XXXXXX", byte = 'x';
    int fd = mkstemp(path);
    (void)arg;
    unlink(path);
    shop.turns = 0;
    shop.over = false;
    coir_fiber *counter = coir_spawn(count_turns, NULL);
    EXPECT_EQ(pwrite(fd, &byte, 1, 0), 1);
    for (; shop.turns < ROUNDS; lseek(fd, 0, SEEK_SET))
        EXPECT_EQ(coir_read(fd, &byte, 1), 1);
    shop.over = true;
    coir_join(counter, NULL);
    coir_close(fd);
}

/* Nor does who reads a file that is in the page cache, at its own offset. */
static void who_reads_a_file_keeps_nobody_waiting(void **state)
{
    (void)state;
    run_on_each(read_and_count, NULL);
}

enum { PEERS = 200 };

static struct {
    int ends[PEERS][2];
    int order[PEERS];
    _Atomic int answers;
} row;

static void *answer_each(void *arg)
{
    int i = (int)(intptr_t)arg;
    char byte;
    while (coir_recv(row.ends[i][0], &byte, 1, 0) == 1) {
        EXPECT_EQ(coir_send(row.ends[i][0], &byte, 1, 0), 1);
        row.order[row.answers++] = i;
    }
    return NULL;
}

static void all_in_a_row(void *arg)
{
    coir_fiber *f[PEERS];
    char byte = 'x';
    (void)arg;
    for (int i = 0; i < PEERS; i++) {
        make_ends(UNIX_STREAM, row.ends[i]);
        f[i] = coir_spawn(answer_each, (void *)(intptr_t)i);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < PEERS; i++)
            while (coir__fiber_state(coir__fiber_of(f[i])) != COIR__PARKED)
                coir_yield();
        EXPECT_EQ(coir_sleep(COIR_MS(1)), 0); /* the kernel has been told of all by now */
        row.answers = 0;
        for (int i = 0; i < PEERS; i++)
            EXPECT_EQ(send(row.ends[i][1], &byte, 1, 0), 1);
        while (row.answers < PEERS)
            coir_yield();
        for (int i = 0; i < PEERS; i++)
            if (!EXPECT_EQ(row.order[i], i))
                break;
        for (int i = 0; i < PEERS; i++)
            EXPECT_EQ(recv(row.ends[i][1], &byte, 1, 0), 1);
    }
    for (int i = 0; i < PEERS; i++) {
        close(row.ends[i][1]);
        coir_join(f[i], NULL);
        coir_close(row.ends[i][0]);
    }
}

/* Who comes to be where a tick ends is not put behind all the others. */
static void who_was_asked_first_answers_first(void **state)
{
    (void)state;
    if (!rung->interrupt_every)
        run_on(1, all_in_a_row, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_keeps_its_turn_while_there_are_connections),
        cmocka_unit_test(who_never_waits_keeps_nobody_waiting),
        cmocka_unit_test(who_reads_a_file_keeps_nobody_waiting),
        cmocka_unit_test(who_was_asked_first_answers_first),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
