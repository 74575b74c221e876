/* tests/api/chain_test.c - how much stack lies between a fiber's beginning and the place where it
 * parks: less than 1 KiB for every call but coir_splice, and a select on signals.
 * SPDX-License-Identifier: MIT
 *
 * Stack tops are spread over 3 of a page's 4 KiB (sched/stack.h). As long as a parked fiber's
 * frames fit into what is left, a hundred thousand of them cost one page each. Method: a fiber
 * whose function has hardly a frame of its own parks in a call; the distance from its stack's top
 * to its saved stack pointer is measured from outside. */
#include "support/fiber_test.h"

#include "sched/runtime.h"
#include "sched/stack.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* coir_poll keeps the operations on a few descriptors in its frame instead of allocating them. */
#ifdef TEST_BOOST /* whose contexts are larger */
enum { CHAIN_BYTES_MAX = 1024 + 96 };
#elif defined(TEST_LARGE_FRAMES) /* other CPUs keep twice the registers, and more */
enum { CHAIN_BYTES_MAX = 1024 + 192 };
#else
enum { CHAIN_BYTES_MAX = 1024 };
#endif
enum { PATIENCE_S = 60 };

struct chain {
    int empty[2], full[2]; /* socket pairs: nothing to read from one, no room in the other */
    int listener;
    coir_fiber *other;
    coir_future *future;
    long bytes;
    bool parked;
};

static char buf[1 << 20];

static void *in_sleep(void *arg)
{
    (void)arg;
    coir_sleep(COIR_NEVER);
    return NULL;
}

static void *in_timed_sleep(void *arg)
{
    (void)arg;
    coir_sleep(COIR_SEC(3600));
    return NULL;
}

static void *in_join(void *arg)
{
    coir_join(((struct chain *)arg)->other, NULL);
    return NULL;
}

static void *in_yield(void *arg)
{
    (void)arg;
    while (coir_check() == 0)
        coir_yield();
    return NULL;
}

static void *in_read(void *arg)
{
    coir_read(((struct chain *)arg)->empty[0], buf, 1);
    return NULL;
}

static void *in_readv(void *arg)
{
    static struct iovec iov = { buf, 1 };
    coir_readv(((struct chain *)arg)->empty[0], &iov, 1);
    return NULL;
}

static void *in_read_full(void *arg)
{
    coir_read_full(((struct chain *)arg)->empty[0], buf, 10);
    return NULL;
}

static void *in_recv(void *arg)
{
    coir_recv(((struct chain *)arg)->empty[0], buf, 1, 0);
    return NULL;
}

static void *in_write(void *arg)
{
    coir_write(((struct chain *)arg)->full[0], buf, sizeof buf);
    return NULL;
}

static void *in_write_all(void *arg)
{
    coir_write_all(((struct chain *)arg)->full[0], buf, sizeof buf);
    return NULL;
}

static void *in_send(void *arg)
{
    coir_send(((struct chain *)arg)->full[0], buf, sizeof buf, 0);
    return NULL;
}

static void *in_accept(void *arg)
{
    coir_accept(((struct chain *)arg)->listener, NULL, NULL);
    return NULL;
}

static void *in_signal(void *arg)
{
    static sigset_t set;
    int sig;
    (void)arg;
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    coir_signal_watch(&set);
    coir_sigwait(&set, &sig);
    return NULL;
}

static pid_t start_child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(PATIENCE_S);
        pause();
        _exit(0);
    }
    return pid;
}

static void *in_waitpid(void *arg)
{
    (void)arg;
    pid_t pid = start_child();
    coir_waitpid(pid, NULL, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return NULL;
}

static void *in_wait_for_any(void *arg)
{
    (void)arg;
    pid_t pid = start_child();
    coir_waitpid(-1, NULL, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return NULL;
}

static void *until_cancelled(void *arg)
{
    while (coir_check() == 0)
        usleep(500);
    return arg;
}

static void *in_blocking(void *arg)
{
    coir_blocking(until_cancelled, arg, NULL);
    return NULL;
}

static void *in_reader(void *arg)
{
    char *line;
    coir_reader r = { .fd = ((struct chain *)arg)->empty[0], .buf = buf, .cap = sizeof buf };
    coir_reader_line(&r, &line);
    return NULL;
}

static void *in_poll(void *arg)
{
    static struct pollfd fd;
    fd = (struct pollfd){ .fd = ((struct chain *)arg)->empty[0], .events = POLLIN };
    coir_poll(&fd, 1, -1);
    return NULL;
}

static void *in_timed_read(void *arg)
{
    COIR_TIMEOUT(COIR_SEC(3600))
        coir_read(((struct chain *)arg)->empty[0], buf, 1);
    return NULL;
}

/* Taken, at no count, with something to do, and waited for by one party more: since the first
 * fiber. */
static struct {
    coir_mutex mutex, free;
    coir_cond cond;
    coir_rwlock rwlock;
    coir_sem sem;
    coir_barrier barrier;
    coir_waitgroup wg;
    coir_once_flag once;
} lock;

static void take_all(void)
{
    coir_mutex_lock(&lock.mutex);
    coir_rwlock_wrlock(&lock.rwlock);
    coir_waitgroup_add(&lock.wg, 1);
    coir_barrier_init(&lock.barrier, 2);
}

static void *in_mutex(void *arg)
{
    (void)arg;
    return coir_mutex_timedlock(&lock.mutex, COIR_NEVER) < 0 ? COIR_FAILED : NULL;
}

static void *in_cond(void *arg)
{
    (void)arg;
    coir_mutex_lock(&lock.free);
    int result = coir_cond_timedwait(&lock.cond, &lock.free, coir_after(COIR_SEC(3600)));
    coir_mutex_unlock(&lock.free);
    return result < 0 ? COIR_FAILED : NULL;
}

static void *in_rdlock(void *arg)
{
    (void)arg;
    return coir_rwlock_timedrdlock(&lock.rwlock, COIR_NEVER) < 0 ? COIR_FAILED : NULL;
}

static void *in_sem(void *arg)
{
    (void)arg;
    return coir_sem_wait(&lock.sem) < 0 ? COIR_FAILED : NULL;
}

static void *in_barrier(void *arg)
{
    (void)arg;
    return coir_barrier_wait(&lock.barrier) < 0 ? COIR_FAILED : NULL;
}

static void *in_waitgroup(void *arg)
{
    (void)arg;
    return coir_waitgroup_wait(&lock.wg) < 0 ? COIR_FAILED : NULL;
}

static void sleep_long(void)
{
    coir_sleep(COIR_NEVER);
}

static void *in_once(void *arg)
{
    (void)arg;
    coir_once(&lock.once, sleep_long);
    return NULL;
}

static int be_child(void *arg)
{
    (void)arg;
    return coir_sleep(COIR_NEVER);
}

static void *in_scope_wait(void *arg)
{
    static coir_scope scope;
    (void)arg;
    coir_scope_open(&scope);
    if (coir_scope_spawn(&scope, be_child, NULL) < 0 || coir_scope_wait(&scope) < 0)
        return COIR_FAILED;
    return NULL;
}

static void *in_await(void *arg)
{
    coir_await(((struct chain *)arg)->future, NULL);
    return NULL;
}

static void *in_await_any(void *arg)
{
    coir_future *f = ((struct chain *)arg)->future;
    coir_future *const row[] = { f, f, f, f, f, f, f, f };
    coir_await_any(row, 8, NULL);
    return NULL;
}

static int silence(coir_stream *s, void *arg)
{
    (void)s;
    (void)arg;
    return coir_sleep(COIR_NEVER);
}

static int keep_all(const void *elem, void *arg)
{
    (void)elem;
    (void)arg;
    return 1;
}

static void *in_stream_next(void *arg)
{
    char elem;
    coir_stream *s = coir_stream_new(1, silence, arg);
    s = coir_stream_filter(coir_stream_filter(s, keep_all, NULL), keep_all, NULL);
    s = coir_stream_take(coir_stream_timeout(s, COIR_SEC(3600)), 1);
    coir_stream_next(s, &elem);
    coir_stream_free(s);
    return NULL;
}

static void *in_chan_recv(void *arg)
{
    coir_chan *chan = coir_chan_new(sizeof(long), 0);
    (void)arg;
    coir_chan_recv(chan, buf);
    coir_chan_free(chan);
    return NULL;
}

static void *in_chan_send(void *arg)
{
    coir_chan *chan = coir_chan_new(sizeof(long), 0);
    (void)arg;
    COIR_TIMEOUT(COIR_SEC(3600))
        coir_chan_send(chan, buf);
    coir_chan_free(chan);
    return NULL;
}

/* The cases are not the library's. */
static void *in_select(void *arg)
{
    static coir_case never[2];
    (void)arg;
    never[0] = COIR_CASE_RECV(NULL, buf);
    never[1] = COIR_CASE_TIMER(coir_after(COIR_SEC(3600)));
    coir_select(never, 2, COIR_NEVER);
    return NULL;
}

static void *in_select_fd(void *arg)
{
    static coir_case c[2];
    c[0] = COIR_CASE_FD(((struct chain *)arg)->empty[0], POLLIN);
    c[1] = COIR_CASE_FD(((struct chain *)arg)->empty[1], POLLIN);
    coir_select(c, 2, COIR_SEC(3600));
    return NULL;
}

static const struct {
    const char *name;
    void *(*fn)(void *);
} calls[] = {
    { "coir_chan_recv", in_chan_recv },
    { "coir_chan_send, timed", in_chan_send },
    { "coir_select", in_select },
    { "coir_select, descriptors", in_select_fd },
    { "coir_mutex_timedlock", in_mutex },
    { "coir_cond_timedwait", in_cond },
    { "coir_rwlock_timedrdlock", in_rdlock },
    { "coir_sem_wait", in_sem },
    { "coir_barrier_wait", in_barrier },
    { "coir_waitgroup_wait", in_waitgroup },
    { "coir_once", in_once },
    { "coir_scope_wait", in_scope_wait },
    { "coir_sleep", in_sleep },
    { "coir_sleep, timed", in_timed_sleep },
    { "coir_join", in_join },
    { "coir_yield", in_yield },
    { "coir_read", in_read },
    { "coir_readv", in_readv },
    { "coir_read_full", in_read_full },
    { "coir_recv", in_recv },
    { "coir_write", in_write },
    { "coir_write_all", in_write_all },
    { "coir_send", in_send },
    { "coir_accept", in_accept },
    { "coir_read, timed", in_timed_read },
    { "coir_poll", in_poll },
    { "coir_sigwait", in_signal },
    { "coir_waitpid", in_waitpid },
    { "coir_waitpid, any", in_wait_for_any },
    { "coir_blocking", in_blocking },
    { "coir_reader_line", in_reader },
    { "coir_await", in_await },
    { "coir_await_any of 8", in_await_any },
    { "coir_stream_next of 5", in_stream_next },
};

enum { CALLS = sizeof calls / sizeof *calls };

/* Let it come to its park, on this worker: it is ready or parked whenever this fiber runs. */
static void measure(struct chain *c, void *(*fn)(void *))
{
    coir_fiber *fiber = coir_spawn(fn, c);
    struct coir__fiber *f = coir__fiber_of(fiber);
    enum coir__state wanted = fn == in_yield ? COIR__READY : COIR__PARKED;
    int64_t until_ns = coir_after(COIR_SEC(PATIENCE_S));
    while (coir__fiber_state(f) != wanted && coir_now() < until_ns)
        coir_sleep(COIR_US(10));
    c->parked = coir__fiber_state(f) == wanted;
    if (c->parked)
        c->bytes = (char *)coir__stack_top(f->stack) - (char *)f->sp;
    coir_cancel(fiber);
    coir_join(fiber, NULL);
}

static void measure_all(void *arg)
{
    struct chain *chains = arg;
    coir_fiber *other = coir_spawn(in_sleep, NULL);
    coir_future *future = coir_future_new();
    take_all();
    for (int i = 0; i < CALLS; i++) {
        chains[i] = chains[0];
        chains[i].other = other;
        chains[i].future = future;
        measure(&chains[i], calls[i].fn);
    }
    coir_cancel(other);
    coir_join(other, NULL);
    coir_future_free(future);
}

static void open_all(struct chain *c)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, c->empty), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, c->full), 0);
    while (send(c->full[0], buf, sizeof buf, MSG_DONTWAIT) > 0)
        ;
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    c->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(c->listener, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(c->listener, 1), 0);
}

static void from_entry_to_park_it_is_less_than_a_kibibyte(void **state)
{
    struct chain chains[CALLS];
    (void)state;
#if !defined(__OPTIMIZE__) || TEST_SANITIZED || TEST_VALGRIND || defined(TEST_UBSAN)
    skip(); /* frames are larger then */
#endif
    memset(chains, 0, sizeof chains);
    open_all(&chains[0]);
    assert_int_equal(fiber_test_run(1, measure_all, chains), 0);
    int too_long = 0;
    for (int i = 0; i < CALLS; i++) {
        if (!chains[i].parked || chains[i].bytes >= CHAIN_BYTES_MAX || chains[i].bytes <= 0) {
            print_error("%s: %ld bytes\n", calls[i].name, chains[i].bytes);
            too_long++;
        } else {
            print_message("             %-24s %4ld bytes\n", calls[i].name, chains[i].bytes);
        }
    }
    for (int i = 0; i < 2; i++) {
        close(chains[0].empty[i]);
        close(chains[0].full[i]);
    }
    close(chains[0].listener);
    assert_int_equal(too_long, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_entry_to_park_it_is_less_than_a_kibibyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
