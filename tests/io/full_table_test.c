/* tests/io/full_table_test.c - a server that has no descriptor left for who comes: accept fails at
 * once with EMFILE or ENFILE and takes nobody, the accepting fiber sleeps and tries again, others
 * go on, and when descriptors are free again everybody is served.
 * SPDX-License-Identifier: MIT
 *
 * Method: EMFILE by RLIMIT_NOFILE, in a child. ENFILE by an engine whose accepts fail with it, as
 * they do when the whole system has no file left. That nobody spins is counted in ticks and
 * tries. */
#include "sides.h"

enum { CLIENTS = 6, TRIES = 20, FD_MAX = 400 };

struct shop {
    int listener;
    struct sockaddr_in addr;
    int clients[CLIENTS];
    int wanted_error;
    _Atomic int failures, served;
    _Atomic long turns;
    struct coir__worker *worker; /* the server's, and its tick, when it had failed twice, */
    uint32_t tick, ticks;        /* and how many there were until the last failure */
};

static struct {
    struct coir__io_engine engine; /* the real one, but for accepts */
    const struct coir__io_engine *real;
    _Atomic bool full;
} system_table;

static void submit_to_full_system(struct coir__worker *w, struct coir__op *op)
{
    if (op->code == COIR__OP_ACCEPT && atomic_load(&system_table.full))
        coir__op_complete(w, op, -ENFILE);
    else
        system_table.real->submit(w, op);
}

static bool try_in_full_system(struct coir__worker *w, struct coir__op *op, long *res)
{
    if (op->code == COIR__OP_ACCEPT && atomic_load(&system_table.full)) {
        *res = -ENFILE;
        return true;
    }
    return system_table.real->try(w, op, res);
}

/* Other workers may be looking at it just now. */
static __attribute__((no_sanitize("thread"))) void replace_engine(void)
{
    struct coir__runtime *rt = coir__worker_self()->rt;
    system_table.real = (const struct coir__io_engine *)rt->config.engine;
    system_table.engine = *system_table.real;
    system_table.engine.submit = submit_to_full_system;
    if (system_table.real->try)
        system_table.engine.try = try_in_full_system;
    rt->config.engine = &system_table.engine.sched;
}

static void open_shop(struct shop *s)
{
    socklen_t len = sizeof s->addr;
    s->addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(s->listener, (struct sockaddr *)&s->addr, len), 0);
    EXPECT_EQ(listen(s->listener, CLIENTS), 0);
    EXPECT_EQ(getsockname(s->listener, (struct sockaddr *)&s->addr, &len), 0);
    for (int i = 0; i < CLIENTS; i++) {
        s->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(connect(s->clients[i], (struct sockaddr *)&s->addr, sizeof s->addr), 0);
    }
}

/* How many ticks its worker had while it failed; 0 when it was on several. */
static void count_ticks(struct shop *s, int failures)
{
    struct coir__worker *w = coir__worker_self();
    if (failures == 2) {
        s->worker = w;
        s->tick = w->tick;
    } else if (failures == TRIES) {
        s->ticks = s->worker == w ? w->tick - s->tick : 0;
    }
}

/* The loop of samples/04_echo.c. */
static void *serve(void *arg)
{
    struct shop *s = arg;
    while (atomic_load(&s->served) < CLIENTS) {
        int fd = coir_accept(s->listener, NULL, NULL);
        if (fd < 0) {
            EXPECT_EQ(errno, s->wanted_error);
            count_ticks(s, atomic_fetch_add(&s->failures, 1) + 1);
            EXPECT_EQ(coir_sleep(COIR_MS(1)), 0);
            continue;
        }
        EXPECT_EQ(coir_write(fd, "hello", 5), 5);
        EXPECT_EQ(coir_close(fd), 0);
        atomic_fetch_add(&s->served, 1);
    }
    return NULL;
}

/* A client that is served already. */
static void *play(void *arg)
{
    struct shop *s = arg;
    int ends[2];
    char c = 'x';
    make_ends(UNIX_STREAM, ends);
    atomic_store(&s->turns, 1);
    while (atomic_load(&s->served) < CLIENTS) {
        EXPECT_EQ(coir_write(ends[0], &c, 1), 1);
        EXPECT_EQ(coir_read(ends[1], &c, 1), 1);
        atomic_fetch_add(&s->turns, 1);
        EXPECT_EQ(coir_sleep(COIR_MS(1)), 0);
    }
    close_ends(ends);
    return NULL;
}

static void trade(struct shop *s, void (*fill_table)(void), void (*make_room)(void))
{
    enum { TICKS_EACH = 60 }; /* of three sleepers; a worker that spins has thousands */
    open_shop(s);
    coir_fiber *player = coir_spawn(play, s);
    while (!atomic_load(&s->turns))
        nap();
    fill_table();
    coir_fiber *server = coir_spawn(serve, s);
    while (atomic_load(&s->failures) < TRIES)
        EXPECT_EQ(coir_sleep(COIR_MS(1)), 0);
    EXPECT_EQ(atomic_load(&s->served), 0);
    EXPECT(atomic_load(&s->turns) > 1);
    EXPECT(s->ticks < TRIES * TICKS_EACH);
    make_room();
    join(server);
    join(player);
    for (int i = 0; i < CLIENTS; i++) {
        char buf[8] = "";
        EXPECT_EQ(coir_read_full(s->clients[i], buf, 5), 5);
        EXPECT(memcmp(buf, "hello", 5) == 0);
        close(s->clients[i]);
    }
    EXPECT_EQ(coir_close(s->listener), 0);
}

static void have_the_system_full(void)
{
    replace_engine();
    atomic_store(&system_table.full, true);
}

static void have_room_in_the_system(void)
{
    atomic_store(&system_table.full, false);
}

static void trade_in_full_system(void *arg)
{
    struct shop s = { .wanted_error = ENFILE };
    (void)arg;
    trade(&s, have_the_system_full, have_room_in_the_system);
}

static void enfile_is_waited_out(void **state)
{
    (void)state;
    run_on_each(trade_in_full_system, NULL);
}

static struct rlimit before;
static int gaps[FD_MAX], gaps_len;

static void have_no_number(void)
{
    int fd, highest = 0;
    for (int i = 0; i < FD_MAX; i++)
        highest = fcntl(i, F_GETFD) >= 0 ? i : highest;
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit limit = { (rlim_t)highest + 1, before.rlim_max };
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0 && gaps_len < FD_MAX)
        gaps[gaps_len++] = fd;
}

static void have_numbers_again(void)
{
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (gaps_len)
        close(gaps[--gaps_len]);
}

static void trade_in_full_process(void *arg)
{
    struct shop s = { .wanted_error = EMFILE };
    (void)arg;
    trade(&s, have_no_number, have_numbers_again);
}

static int full_process(void *arg)
{
    (void)arg;
    watchdog();
    for (const unsigned *w = test_workers; *w; w++)
        EXPECT_EQ(fiber_test_run(*w, trade_in_full_process, NULL), 0);
    return no_findings_status();
}

static void emfile_is_waited_out(void **state)
{
    (void)state;
    if (TEST_VALGRIND)
        skip(); /* it keeps the limit from the kernel */
    run_in_child(full_process, NULL);
}

/* A server that does not wait at all gets the same answer at once, every time, and the fibers
 * beside it still have their turns. */
static void *try_often(void *arg)
{
    struct shop *s = arg;
    for (int i = 0; i < 1000; i++) {
        EXPECT_FAILS(coir_accept(s->listener, NULL, NULL), ENFILE);
        atomic_fetch_add(&s->failures, 1);
        coir_yield();
    }
    return NULL;
}

static void no_wait_in_full_system(void *arg)
{
    struct shop s = { .wanted_error = ENFILE };
    (void)arg;
    open_shop(&s);
    coir_fiber *player = coir_spawn(play, &s);
    while (!atomic_load(&s.turns))
        nap();
    have_the_system_full();
    join(coir_spawn(try_often, &s));
    have_room_in_the_system();
    EXPECT_EQ(atomic_load(&s.failures), 1000);
    join(coir_spawn(serve, &s));
    join(player);
    for (int i = 0; i < CLIENTS; i++)
        close(s.clients[i]);
    EXPECT_EQ(coir_close(s.listener), 0);
}

static void who_does_not_wait_holds_up_nobody(void **state)
{
    (void)state;
    run_on_each(no_wait_in_full_system, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enfile_is_waited_out),
        cmocka_unit_test(emfile_is_waited_out),
        cmocka_unit_test(who_does_not_wait_holds_up_nobody),
    };
    return RUN_ON_ALL_RUNGS(tests);
}
