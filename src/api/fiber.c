/* api/fiber.c - coir/fiber.h and coir/time.h.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "sched/stack.h"

#include <sched.h>

_Thread_local struct coir__thread coir__thread = { .deadline_ns = COIR_NEVER };

__attribute__((noinline)) int coir__errno_get(void)
{
    return errno;
}

__attribute__((noinline)) void coir__errno_set(int err)
{
    errno = err;
}

/* Not inlined, and not taken for a function of f alone: as coir__errno_get(). */
__attribute__((noinline)) int64_t *coir__deadline_of(struct coir__fiber *f)
{
    __asm__ volatile("" ::: "memory");
    return f ? &f->deadline_ns : &coir__thread.deadline_ns;
}

__attribute__((noinline)) int64_t coir__host_thread_deadline(void)
{
    return coir__thread.deadline_ns;
}

int64_t coir_now(void)
{
    return coir__host_now();
}

int64_t coir_after(int64_t ns)
{
    int64_t deadline_ns;
    if (ns == COIR_NEVER || __builtin_add_overflow(coir__host_now(), ns, &deadline_ns))
        return ns < 0 ? 0 : COIR_NEVER;
    return deadline_ns;
}

int64_t coir_deadline(void)
{
    return *coir__deadline_of(coir__fiber_self());
}

int64_t coir_deadline_set(int64_t deadline_ns)
{
    int64_t *mine = coir__deadline_of(coir__fiber_self());
    int64_t previous_ns = *mine;
    *mine = deadline_ns;
    return previous_ns;
}

int64_t coir_deadline_narrow(int64_t deadline_ns)
{
    int64_t *mine = coir__deadline_of(coir__fiber_self());
    int64_t previous_ns = *mine;
    if (deadline_ns < previous_ns)
        *mine = deadline_ns;
    return previous_ns;
}

int coir_deadline_passed(void)
{
    int64_t deadline_ns = coir_deadline();
    return deadline_ns != COIR_NEVER && deadline_ns <= coir__host_now();
}

coir_guard coir_timeout_enter(int64_t ns)
{
    return (coir_guard){ .deadline_ns = coir_deadline_narrow(coir_after(ns)) };
}

coir_guard coir_shield_enter(int64_t ns)
{
    struct coir__fiber *f = coir__fiber_self();
    bool counts = f && f->shields < UINT8_MAX; /* deeper than that, the outer ones do */
    if (counts)
        f->shields++;
    return (coir_guard){ .deadline_ns = coir_deadline_set(coir_after(ns)), .shield = counts };
}

void coir_guard_leave(coir_guard *guard)
{
    struct coir__fiber *f = coir__fiber_self();
    if (f && guard->shield)
        f->shields--;
    coir_deadline_set(guard->deadline_ns);
}

void *coir_fail(int err)
{
    errno = err;
    return COIR_FAILED;
}

int coir__attr_read(const coir_attr *attr, struct coir__spawn *how)
{
    const unsigned known = COIR_DETACHED | COIR_SAVE_FPU | COIR_SPREAD;
    how->stack_class = -1;
    if (attr) {
        const uint64_t *r = attr->reserved;
        if (attr->flags & ~known || attr->reserved0 || r[0] | r[1] | r[2] | r[3] ||
            attr->deadline_ns < 0)
            return -EINVAL;
        how->stack_class = attr->stack_bytes ? coir__stack_class(attr->stack_bytes) : -1;
        if (attr->stack_bytes && how->stack_class < 0)
            return how->stack_class;
        how->name = attr->name;
        how->flags = attr->flags;
        how->deadline_ns = attr->deadline_ns;
    }
    if (!how->deadline_ns)
        how->deadline_ns = how->flags & COIR_DETACHED ? COIR_NEVER : coir_deadline();
    return 0;
}

static int spawn(const coir_attr *attr, void *(*fn)(void *), void *arg, coir_fiber **handle)
{
    struct coir__spawn how = { .fn = fn, .arg = arg };
    struct coir__runtime *rt = NULL;
    struct coir__fiber *f;
    int err = fn ? coir__attr_read(attr, &how) : -EINVAL;
    if (err == 0 && !coir__fiber_self())
        err = coir__host_runtime_enter(&rt);
    if (err < 0)
        return err;
    err = coir__spawn(rt, &how, &f);
    if (err == 0)
        *handle = coir__fiber_handle(f); /* before leaving: the runtime's end makes it stale */
    if (rt)
        coir__host_runtime_leave(rt);
    return err;
}

coir_fiber *coir_spawn_with(const coir_attr *attr, void *(*fn)(void *), void *arg)
{
    coir_fiber *handle = NULL;
    coir__edge(spawn(attr, fn, arg, &handle));
    return handle;
}

coir_fiber *coir_spawn(void *(*fn)(void *), void *arg)
{
    if (!coir__fiber_self() || !fn)
        return coir_spawn_with(NULL, fn, arg);
    struct coir__fiber *f = coir__spawn_plain(coir__worker_self(), fn, arg);
    return f ? coir__fiber_handle(f) : coir_spawn_with(NULL, fn, arg); /* which knows why not */
}

__attribute__((noinline)) long coir__edge_cancelled(void)
{
    struct coir__worker *w = coir__worker_self();
    if (w && atomic_load_explicit(&w->rt->draining, memory_order_relaxed))
        coir__yield();
    coir__errno_set(ECANCELED);
    return -1;
}

int coir_join(coir_fiber *fiber, void **result)
{
    int error = 0;
    int err = coir__join(fiber, result, &error);
    return (int)coir__edge(err < 0 ? err : -error);
}

int coir_detach(coir_fiber *fiber)
{
    return (int)coir__edge(coir__detach(fiber));
}

int coir_cancel(coir_fiber *fiber)
{
    return (int)coir__edge(coir__cancel(fiber));
}

coir_fiber *coir_self(void)
{
    struct coir__fiber *f = coir__fiber_self();
    return f ? coir__fiber_handle(f) : NULL;
}

const char *coir_name(void)
{
    struct coir__fiber *f = coir__fiber_self();
    return f ? coir__fiber_name(f) : "";
}

void coir_yield(void)
{
    if (coir__fiber_self())
        coir__yield();
    else
        sched_yield();
}

int coir_check(void)
{
    return (int)coir__edge(coir__fiber_check(coir__fiber_self()));
}

/* A plain thread's wait that nobody ends: only its deadline, or the time, does. */
static int sleep_as_thread(int64_t until_ns)
{
    _Atomic int32_t word = 0;
    int64_t deadline_ns = coir__host_thread_deadline();
    bool bounded = deadline_ns < until_ns;
    while (coir__futex_wait(&word, 0, bounded ? deadline_ns : until_ns) != -ETIMEDOUT)
        ;
    return bounded ? -ETIMEDOUT : 0;
}

int coir_sleep(int64_t ns)
{
    struct coir__fiber *f = coir__fiber_self();
    int err = coir__fiber_check(f);
    if (err < 0)
        return (int)coir__edge(err);
    if (ns <= 0) {
        coir_yield();
        return (int)coir__edge(coir__fiber_check(f));
    }
    int64_t until_ns = coir_after(ns);
    return (int)coir__edge(f ? coir__sleep_until(until_ns) : sleep_as_thread(until_ns));
}

int coir_nanosleep(const struct timespec *time, struct timespec *remaining)
{
    enum { SECOND = 1000000000 };
    if (!time || time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= SECOND)
        return (int)coir__edge(-EINVAL);
    int64_t ns =
        time->tv_sec < INT64_MAX / SECOND ? time->tv_sec * SECOND + time->tv_nsec : INT64_MAX;
    int64_t until_ns = coir_after(ns);
    int res = coir_sleep(ns);
    if (res < 0 && remaining) {
        int64_t left_ns = until_ns - coir_now();
        left_ns = left_ns > 0 ? left_ns : 0;
        *remaining = (struct timespec){ left_ns / SECOND, left_ns % SECOND };
    }
    return res;
}
