/* api/host.c - sched/host.h for the API's build: libc, pthreads, the C++ runtime if there is one.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "overflow.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int64_t coir__host_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t coir__host_now_roughly(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

size_t coir__host_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int coir__host_errno(void)
{
    return errno;
}

__attribute__((noinline)) uint32_t coir__host_thread_id(void)
{
    if (!coir__thread.id)
        coir__thread.id = (uint32_t)gettid();
    return coir__thread.id;
}

void coir__host_misuse(const char *what)
{
    fprintf(stderr, "coir: %s\n", what);
    abort();
}

/* The C++ runtime's per-thread state, when the process has one (Itanium C++ ABI). */
extern void *__cxa_get_globals(void) __attribute__((weak));

struct coir__unwinder *coir__host_unwinder(void)
{
    return __cxa_get_globals ? __cxa_get_globals() : NULL;
}

void coir__host_given_up(void *(*fn)(void *), void *arg)
{
    if (!coir__async_given_up(fn, arg))
        coir__stream_fiber_given_up(fn, arg);
}

struct start {
    void (*fn)(void *);
    void *arg;
};

static void *start_routine(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    start.fn(start.arg);
    return NULL;
}

/* The program's functions (coir_blocking) and libc's look-ups expect a thread's usual stack, which
 * musl makes 128 KiB. Returns 0, or an errno. */
static int begin_attr(pthread_attr_t *attr)
{
    enum { LEAST_BYTES = 1 << 20 };
    size_t bytes = 0;
    int err = pthread_attr_init(attr);
    if (err)
        return err;
    if (pthread_attr_getstacksize(attr, &bytes) == 0 && bytes < LEAST_BYTES)
        pthread_attr_setstacksize(attr, LEAST_BYTES);
    return 0;
}

int coir__host_thread_start(uintptr_t *thread, void (*fn)(void *), void *arg)
{
    struct start *start = malloc(sizeof *start);
    if (!start)
        return -ENOMEM;
    *start = (struct start){ fn, arg };
    /* The program's signals go to its own threads. Faults are never blocked, nor is what api/poke.c
     * sends. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGTRAP);
    sigdelset(&all, SIGURG);
    pthread_t id;
    pthread_attr_t attr;
    int err = begin_attr(&attr);
    if (err == 0) {
        pthread_sigmask(SIG_SETMASK, &all, &before);
        err = pthread_create(&id, &attr, start_routine, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attr);
    }
    if (err) {
        free(start);
        return -err;
    }
    *thread = (uintptr_t)id;
    return 0;
}

void coir__host_thread_join(uintptr_t thread)
{
    pthread_join((pthread_t)thread, NULL);
}

void coir__host_thread_detach(uintptr_t thread)
{
    pthread_detach((pthread_t)thread);
}

int coir__host_worker_enter(struct coir__worker *w)
{
    return coir__overflow_enter(w);
}

void coir__host_worker_leave(struct coir__worker *w)
{
    coir__overflow_leave(w);
}
