/* io/op.c - the life of an op above the engines: start, wait, stop, retry.
 * SPDX-License-Identifier: MIT */
#include "op.h"

#include "fdtab.h"
#include "file.h"
#include "io.h"
#include "ready.h"
#include "sched/runtime.h"
#include "sched/sanitize.h"
#include "sock_timeout.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* What TSan is told to be one lock around everything that goes through the kernel:
 * sched/sanitize.h. */
static char kernel_sync;

static const struct coir__io_engine *engine_of(struct coir__worker *w)
{
    return (const struct coir__io_engine *)w->rt->config.engine;
}

static struct coir__op **bucket(struct coir__worker *w, int fd)
{
    return coir__io_bucket(w->io, fd);
}

void coir__op_start(struct coir__worker *w, struct coir__op *op)
{
    op->state = COIR__OP_IN_FLIGHT;
    coir__io_add(w->io, op);
    coir__count(&w->counters.ops, 1);
    coir__san_to_kernel(&kernel_sync);
    engine_of(w)->submit(w, op);
}

/* -EINTR has other names inside the kernel, and opening a FIFO lets them out. */
static int32_t public_error(int32_t res)
{
    enum { ERESTARTSYS = 512, ERESTART_RESTARTBLOCK = 516 };
    return res <= -ERESTARTSYS && res >= -ERESTART_RESTARTBLOCK ? -EINTR : res;
}

void coir__op_complete(struct coir__worker *w, struct coir__op *op, int32_t res)
{
    coir__io_remove(w->io, op);
    coir__count(&w->counters.ops_completed, 1);
    op->state = COIR__OP_IDLE;
    op->res = public_error(res);
    coir__san_from_kernel(&kernel_sync);
    if (op->counted)
        coir__fd_end(op->fd);
    if (op->starting)
        return;
    if (op->group) {
        coir__group_complete(op->group);
        return;
    }
    coir__waiter_claim(&op->waiter, 0);
    coir__waiter_release(&op->waiter);
}

bool coir__op_stop(struct coir__op *op, int err)
{
    if (op->state != COIR__OP_IN_FLIGHT || op->stop_error)
        return false;
    op->stop_error = err;
    struct coir__worker *w = coir__worker_self();
    uint64_t before = coir__ops_in_flight(w);
    engine_of(w)->cancel(w, op);
    return coir__ops_in_flight(w) != before;
}

static void stop_waiting(struct coir__waiter *waiter, int err)
{
    coir__op_stop((struct coir__op *)waiter, err);
}

struct coir__op_view coir__op_view(const struct coir__waiter *waiter)
{
    const struct coir__op *op = (const struct coir__op *)waiter;
    if (waiter->stop != stop_waiting)
        return coir__group_view(waiter);
    return (struct coir__op_view){ .n = 1, .fd = op->counted ? op->fd : -1, .code = op->code };
}

static bool on_closing(const struct coir__op *op)
{
    return op->counted && coir__fd_closing(op->fd);
}

/* Stop the ops of a bucket, only those on closing descriptors, or all. When one was over at once,
 * its neighbours may be gone, too: again from the front, where those already asked are passed over
 * quickly. */
static void stop_bucket(struct coir__op *const *head, bool closing_only, int err)
{
    struct coir__op *op = *head;
    while (op)
        if ((!closing_only || on_closing(op)) && coir__op_stop(op, err))
            op = *head;
        else
            op = op->next;
}

void coir__ops_stop_fd(struct coir__worker *w, int fd)
{
    stop_bucket(bucket(w, fd), true, EBADF);
}

void coir__ops_stop_all(struct coir__worker *w)
{
    for (uint32_t i = 0; i < ((struct coir__io *)w->io)->buckets; i++)
        stop_bucket(bucket(w, (int)i), false, ECANCELED);
}

void coir__ops_stop_closing(struct coir__worker *w)
{
    for (uint32_t i = 0; i < ((struct coir__io *)w->io)->buckets; i++)
        stop_bucket(bucket(w, (int)i), true, EBADF);
}

uint64_t coir__ops_in_flight(struct coir__worker *w)
{
    return ((struct coir__io *)w->io)->in_flight;
}

/* What became of it, once it is complete. An op asked to end may report -EINTR when a kernel thread
 * was at it. */
static long outcome(const struct coir__op *op)
{
    if (op->stop_error && (op->res == -ECANCELED || op->res == -EINTR))
        return -op->stop_error;
    return op->res;
}

int64_t coir__op_deadline(void)
{
    return coir__fiber_deadline(coir__fiber_self());
}

long coir__op_check(void)
{
    return coir__fiber_check(coir__fiber_self());
}

void coir__op_pause(int64_t until_ns)
{
    struct coir__waiter me;
    coir__waiter_init(&me);
    coir__waiter_wait(&me, COIR__WHY_IO, until_ns, NULL, NULL);
}

static short readiness(const struct coir__op *op)
{
    switch ((enum coir__opcode)op->code) {
    case COIR__OP_WRITE:
    case COIR__OP_WRITEV:
    case COIR__OP_SEND:
    case COIR__OP_SENDMSG:
    case COIR__OP_CONNECT:
        return POLLOUT;
    default:
        return POLLIN;
    }
}

/* The kernel would not wait by itself, as for a descriptor with O_NONBLOCK: wait until it is ready.
 * 0: try again. */
static __attribute__((noinline)) long wait_ready(struct coir__op *op)
{
    struct coir__op poll = { .code = COIR__OP_POLL,
                             .fd = op->fd,
                             .generation = op->generation,
                             .counted = true,
                             .for_another = true,
                             .flags = (uint32_t)readiness(op) };
    long res = coir__op_run(&poll);
    return res < 0 ? res : 0;
}

/* A connect that finds the listener's queue full fails at once when the socket has O_NONBLOCK, and
 * nothing tells when there is room: ask now and then. */
static long pause_for_room(void)
{
    enum { PAUSE_NS = 5 * 1000 * 1000 };
    int64_t deadline_ns = coir__op_deadline();
    int64_t until_ns = coir__host_now() + PAUSE_NS;
    coir__op_pause(until_ns < deadline_ns ? until_ns : deadline_ns);
    return 0;
}

/* The socket has a timeout, which is over. */
static long timed_out(const struct coir__op *op)
{
    return op->code == COIR__OP_CONNECT ? -EINPROGRESS : -EAGAIN;
}

/* Is that the end? False: *res may have to be tried again. */
static bool settled(struct coir__op *op, long *res)
{
    if (*res >= 0)
        return true;
    if (*res == -EINTR) {
        op->interrupted = true;
        return false;
    }
    if (*res == -EAGAIN && op->stop_error == EAGAIN) {
        *res = timed_out(op);
        return true;
    }
    if (*res == -EAGAIN && !op->dont_wait) {
        *res = op->code == COIR__OP_CONNECT ? pause_for_room() : wait_ready(op);
        return *res < 0;
    }
    /* It goes on in the background; once the socket is ready, a second connect brings the result,
     * and the socket into the state that goes with it. */
    if (op->code == COIR__OP_CONNECT &&
        (*res == -EINPROGRESS || (*res == -EALREADY && (op->connecting || op->interrupted)))) {
        op->connecting = true;
        *res = wait_ready(op);
        if (*res == -EAGAIN)
            *res = timed_out(op);
        return *res < 0;
    }
    if (op->connecting && *res == -EISCONN)
        *res = 0;
    return true;
}

enum { WISH_START = 1, WISH_STOP = 2 };

static void handle_lent(struct coir__worker *w, struct coir__mail_call *call)
{
    struct coir__lent *lent =
        (struct coir__lent *)((char *)call - offsetof(struct coir__lent, mail));
    uint32_t wish = atomic_load_explicit(&lent->wish, memory_order_acquire), seen = 0;
    do {
        if (wish & ~seen & WISH_START)
            lent->start(w, lent->waiter);
        if (wish & ~seen & WISH_STOP)
            lent->waiter->stop(lent->waiter, ETIMEDOUT);
        seen = wish;
    } while (!atomic_compare_exchange_strong_explicit(&lent->wish, &wish, 0, memory_order_acq_rel,
                                                      memory_order_acquire));
}

static void post(struct coir__lent *lent, uint32_t wish)
{
    if (atomic_fetch_or_explicit(&lent->wish, wish, memory_order_acq_rel) == 0)
        coir__worker_mail_call(lent->worker, &lent->mail);
}

/* As long as the op is in flight its runtime does not end, but right after. A visitor keeps its
 * memory; what he posts is read by the last of its workers at the latest. */
static void post_stop(struct coir__lent *lent)
{
    atomic_fetch_add(&lent->rt->visitors, 1);
    if (atomic_load(&lent->waiter->word) == COIR__WAITING)
        post(lent, WISH_STOP);
    atomic_fetch_sub(&lent->rt->visitors, 1);
}

void coir__lend(struct coir__lent *lent)
{
    struct coir__runtime *rt = lent->rt;
    lent->worker = coir__runtime_idle(rt);
    lent->mail.handle = handle_lent;
    post(lent, WISH_START);
    coir__host_runtime_leave(rt);
}

void coir__lend_await(struct coir__lent *lent, int64_t until_ns)
{
    _Atomic int32_t *word = &lent->waiter->word;
    int32_t value;
    while ((value = atomic_load_explicit(word, memory_order_acquire)) & COIR__CLAIMED)
        if (coir__futex_wait(word, value, until_ns) == -ETIMEDOUT) {
            post_stop(lent);
            until_ns = COIR__NEVER; /* the completion comes soon */
        }
    while (atomic_load_explicit(&lent->wish, memory_order_acquire))
        coir__sys(SYS_sched_yield);
}

/* A close may have looked for ops to end after this one was counted, and before it was here. */
static void start_lent(struct coir__worker *w, struct coir__waiter *waiter)
{
    struct coir__op *op = (struct coir__op *)waiter;
    coir__op_start(w, op);
    if (on_closing(op))
        coir__op_stop(op, EBADF);
}

int coir__op_begin(struct coir__op *op)
{
    return op->counted ? coir__fd_begin(op->fd, &op->generation) : 0;
}

static void prepare_to_wait(struct coir__op *op, struct coir__fiber *f)
{
    op->waiter.fiber = f;
    op->waiter.stop = stop_waiting;
    atomic_store_explicit(&op->waiter.word, COIR__WAITING, memory_order_relaxed);
    op->stop_error = 0;
    op->looked_at = false;
}

/* When who lends op has waited long enough. */
static int64_t end_of_wait(const struct coir__op *op, int64_t *timeout_ns)
{
    int64_t deadline_ns = coir__host_thread_deadline();
    *timeout_ns = coir__sock_timeout(op);
    int64_t until_ns = *timeout_ns ? coir__host_now() + *timeout_ns : COIR__NEVER;
    if (until_ns >= deadline_ns)
        *timeout_ns = 0;
    return *timeout_ns ? until_ns : deadline_ns;
}

static bool try(struct coir__op *op, int kind, long *res)
{
    coir__san_to_kernel(&kernel_sync);
    bool done = coir__file_at_given(op) ? coir__file_try(op, kind, res) : coir__op_try(op, res);
    coir__san_from_kernel(&kernel_sync);
    return done;
}

/* The runtime that has the op may end: the thread's call goes on with the next one. 0: *res says
 * what became of it; -errno: it was not started. */
static long run_once_as_thread(struct coir__op *op, long *res)
{
    struct coir__lent lent = { .waiter = &op->waiter, .start = start_lent };
    long err = coir__op_begin(op);
    if (err < 0)
        return err;
    if (try(op, (int)err, res)) {
        if (op->counted)
            coir__fd_end(op->fd);
        return 0;
    }
    err = coir__host_runtime_enter(&lent.rt); /* may start one, which takes time, and descriptors */
    if (err < 0) {
        if (op->counted)
            coir__fd_end(op->fd);
        return coir__start_error(err);
    }
    int64_t timeout_ns, until_ns = end_of_wait(op, &timeout_ns);
    prepare_to_wait(op, NULL);
    coir__lend(&lent);
    coir__lend_await(&lent, until_ns);
    if (timeout_ns && op->stop_error == ETIMEDOUT)
        op->stop_error = EAGAIN;
    *res = outcome(op);
    if (*res == -ECANCELED && op->stop_error == ECANCELED) {
        op->connecting = op->code == COIR__OP_CONNECT; /* that goes on without us */
        *res = -EINTR;
    }
    return 0;
}

static __attribute__((noinline)) long run_as_thread(struct coir__op *op)
{
    long res = 0;
    do {
        long err = coir__op_check();
        if (err == 0)
            err = run_once_as_thread(op, &res);
        if (err < 0)
            return err;
    } while (!settled(op, &res));
    return res;
}

/* Ops that do not wait let nobody else run, nor completions be seen: so many of them are a tick. It
 * ends when the caller parks: he should not have to wait for all others because of what they did.
 * When he has done as many more by himself he does. */
static void count_at_once(struct coir__worker *w)
{
    enum { AT_ONCE_MAX = 64 };
    struct coir__io *io = w->io;
    if (++io->at_once < AT_ONCE_MAX)
        return;
    if (io->at_once < 2 * AT_ONCE_MAX)
        coir__end_tick();
    else
        coir__yield_tick();
}

/* What a completion would have done. Not inlined: it may let others run, and whoever calls it keeps
 * no worker over that. */
static __attribute__((noinline)) void done_at_once(void)
{
    struct coir__worker *w = coir__worker_self();
    coir__count(&w->counters.ops, 1);
    coir__count(&w->counters.ops_completed, 1);
    count_at_once(w);
}

enum coir__read_now coir__op_read_now(int fd, const void *buf, uint64_t len, int64_t offset)
{
    struct coir__fiber *f = coir__fiber_self();
    uint64_t file;
    if (!f || f->deadline_ns != COIR__NEVER || coir__fiber_cancelled(f) ||
        !(file = coir__fd_peek(fd)))
        return COIR__READ_UNTRIED;
    const struct iovec iov = { (void *)(uintptr_t)buf, len };
    coir__san_to_kernel(&kernel_sync);
    long n = coir__sys(SYS_preadv2, fd, &iov, 1, offset, 0, RWF_NOWAIT);
    coir__san_from_kernel(&kernel_sync);
    atomic_thread_fence(memory_order_acquire); /* the file's word is looked at after the read */
    if (n < 0 || (uint64_t)n != len || coir__fd_peek(fd) != file)
        return n == -EAGAIN ? COIR__READ_MISSED : COIR__READ_UNTRIED;
    done_at_once();
    return COIR__READ_DONE;
}

static bool by_file(struct coir__op *op, long *res)
{
    if (!coir__file_at_given(op))
        return false;
    coir__san_to_kernel(&kernel_sync);
    bool done = coir__file_try(op, (int)*res, res);
    coir__san_from_kernel(&kernel_sync);
    return done;
}

static bool by_engine(struct coir__op *op, long *res)
{
    struct coir__worker *w = coir__worker_self();
    if (!engine_of(w)->try)
        return false;
    coir__san_to_kernel(&kernel_sync);
    bool done = engine_of(w)->try(w, op, res);
    coir__san_from_kernel(&kernel_sync);
    return done;
}

/* As its completion would say it. *res: what coir__op_begin said. */
static bool try_it(struct coir__op *op, long *res)
{
    if (!by_file(op, res) && !by_engine(op, res))
        return false;
    if (op->counted)
        coir__fd_end(op->fd);
    done_at_once();
    return true;
}

/* What was told to try again has been stopped meanwhile. */
static long give_up(const struct coir__op *op, long err)
{
    if (op->counted)
        coir__fd_end(op->fd);
    return coir__op_partly(op, err);
}

static inline __attribute__((always_inline)) void wait_in_flight(struct coir__op *op,
                                                                 struct coir__fiber *f)
{
    coir__sock_timeout_note(coir__worker_self()->io, op);
    coir__waiter_wait(&op->waiter, COIR__WHY_IO, f->deadline_ns, NULL, NULL);
}

/* op, which is counted and would wait. */
static long wait_for(struct coir__op *op, struct coir__fiber *f)
{
    prepare_to_wait(op, f);
    op->starting = true;
    coir__op_start(coir__worker_self(), op);
    op->starting = false;
    if (op->state == COIR__OP_IDLE)
        count_at_once(coir__worker_self());
    else
        wait_in_flight(op, f);
    return outcome(op);
}

static inline __attribute__((always_inline)) long run(struct coir__op *op)
{
    struct coir__fiber *f = coir__fiber_self();
    if (!f)
        return run_as_thread(op);
    long res = coir__fiber_check(f);
    bool again = false;
    while (res >= 0) {
        res = coir__op_begin(op);
        if (res < 0) {
            res = coir__op_partly(op, res);
            break;
        }
        if (!try_it(op, &res)) {
            long err = again ? coir__fiber_check(f) : 0;
            res = err < 0 ? give_up(op, err) : wait_for(op, f);
        }
        again = res == COIR__AGAIN;
        if (again)
            res = 0;
        else if (res >= 0 || settled(op, &res))
            break;
        else
            res = coir__fiber_check(f);
    }
    return res;
}

/* When a part has arrived the ring waits for the rest: but it peeks at the beginning once more and
 * takes that for the rest, and it goes on beyond the end of a packet. Only streams have a rest. */
int coir__op_waitall(int fd, int flags)
{
    int type = 0;
    socklen_t len = sizeof type;
    if (!(flags & MSG_PEEK))
        coir__sys(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len);
    return flags & MSG_PEEK || type != SOCK_STREAM ? flags & ~MSG_WAITALL : flags;
}

static uint64_t bytes_of(const struct coir__op *op)
{
    if (op->code == COIR__OP_WRITE || op->code == COIR__OP_SEND)
        return op->len;
    if (op->code != COIR__OP_WRITEV && op->code != COIR__OP_SENDMSG)
        return 0;
    struct coir__vector v;
    coir__op_vector(&v, op);
    return coir__iov_bytes(v.iov, v.count);
}

/* How many bytes op is to write before it may return: no more than the kernel does in one call. */
static uint64_t to_write(const struct coir__op *op)
{
    static const uint64_t AT_MOST = 0x7ffff000;
    uint64_t bytes = op->dont_wait ? 0 : bytes_of(op);
    return bytes < AT_MOST ? bytes : AT_MOST;
}

/* Also of no address, which is the kernel's to refuse. */
static const void *behind(const void *addr, uint64_t bytes)
{
    return (const void *)((uintptr_t)addr + bytes);
}

/* What is left of a write when done bytes of it are gone; of a vector, the rest of one element. */
static struct coir__op rest_of(const struct coir__op *op, uint64_t done)
{
    struct coir__op rest = { .code = op->code,
                             .fd = op->fd,
                             .generation = op->generation,
                             .counted = true,
                             .async = op->async,
                             .flags = op->flags,
                             .addr = behind(op->addr, done),
                             .len = op->len - done,
                             .offset = op->offset < 0 ? op->offset : op->offset + (int64_t)done };
    if (op->code == COIR__OP_WRITEV || op->code == COIR__OP_SENDMSG) {
        struct coir__vector v;
        coir__op_vector(&v, op);
        const struct iovec *iov = v.iov;
        for (; done >= iov->iov_len; iov++)
            done -= iov->iov_len;
        rest.code = op->code == COIR__OP_WRITEV ? COIR__OP_WRITE : COIR__OP_SEND;
        rest.addr = behind(iov->iov_base, done);
        rest.len = iov->iov_len - done;
    }
    return rest;
}

/* The kernel stops where it would have to wait for room; write(2) waits, and so does this. What is
 * gone by then beats what happens to the rest. */
static __attribute__((noinline)) long write_rest(const struct coir__op *op, uint64_t done)
{
    uint64_t bytes = to_write(op);
    while (done < bytes) {
        struct coir__op rest = rest_of(op, done);
        long n = run(&rest);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    return (long)done;
}

__attribute__((noinline)) long coir__op_run(struct coir__op *op)
{
    long res;
    if (op->code <= COIR__OP_WRITEV && op->offset < 0 && coir__file_run(op, &res)) {
        if (coir__fiber_self())
            done_at_once();
        return res;
    }
    res = run(op);
    return __builtin_expect(res > 0 && (uint64_t)res < to_write(op), 0)
               ? write_rest(op, (uint64_t)res)
               : res;
}
