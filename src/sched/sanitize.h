/* sched/sanitize.h - everything AddressSanitizer, ThreadSanitizer and valgrind have to be told
 * about stacks that are switched by hand and about memory that the kernel fills. Nothing in a build
 * without them.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SCHED_SANITIZE_H
#define COIR_SCHED_SANITIZE_H

#include "stack.h"
#include "worker.h"

#if defined(__SANITIZE_ADDRESS__)
#define COIR__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COIR__ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define COIR__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define COIR__TSAN 1
#endif
#endif

#ifdef COIR__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef COIR__TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef COIR_VALGRIND
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <valgrind/memcheck.h>
#endif

/* For functions that leave one stack and go on on another. TSan's own record of calls must not see
 * half of them; clang's no_sanitize("thread") still emits the calls at function entry and exit.
 * ASan must not move their variables elsewhere (detect_stack_use_after_return): for a fiber that
 * has ended that is gone before they leave. */
#if defined(COIR__TSAN) && defined(__clang__)
#define COIR__UNSANITIZED __attribute__((disable_sanitizer_instrumentation))
#elif defined(COIR__TSAN)
#define COIR__UNSANITIZED __attribute__((no_sanitize_thread))
#elif defined(COIR__ASAN)
#define COIR__UNSANITIZED __attribute__((no_sanitize_address))
#else
#define COIR__UNSANITIZED
#endif

/* A stack is about to carry its first fiber, or one after it was trimmed. */
static inline void coir__san_stack_bind(struct coir__stack *s)
{
#ifdef COIR__TSAN
    if (!s->sanitizer)
        s->sanitizer = __tsan_create_fiber(0);
#endif
#ifdef COIR_VALGRIND
    if (!s->sanitizer)
        s->sanitizer = (void *)(uintptr_t)(VALGRIND_STACK_REGISTER(coir__stack_low(s), s) + 1);
#endif
    (void)s;
}

/* Its memory is about to be given back. */
static inline void coir__san_stack_drop(struct coir__stack *s)
{
#ifdef COIR__TSAN
    if (s->sanitizer)
        __tsan_destroy_fiber(s->sanitizer);
#endif
#ifdef COIR_VALGRIND
    if (s->sanitizer)
        VALGRIND_STACK_DEREGISTER((uintptr_t)s->sanitizer - 1);
#endif
    s->sanitizer = NULL;
}

/* A fiber has ended on it: nothing of its frames is left. */
static inline void coir__san_stack_clean(struct coir__stack *s)
{
#ifdef COIR__ASAN
    char *low = coir__stack_low(s) + coir__stack_guard_bytes(s->class);
    ASAN_UNPOISON_MEMORY_REGION(low, (char *)s - low);
#endif
    (void)s;
}

static inline void coir__san_loop_begin(struct coir__worker *w)
{
#ifdef COIR__TSAN
    w->sanitizer = __tsan_get_current_fiber();
#endif
    (void)w;
}

/* Right before the switch to f. *fake keeps ASan's word about the stack we leave; gone: nobody
 * returns to it. */
static inline void COIR__UNSANITIZED coir__san_leave(struct coir__worker *w, struct coir__fiber *f,
                                                     void **fake, bool gone)
{
#ifdef COIR__ASAN
    const void *low = f->stack ? coir__stack_low(f->stack) : w->loop_stack_low;
    size_t bytes = f->stack ? coir__stack_class_bytes(f->stack_class) : w->loop_stack_bytes;
    __sanitizer_start_switch_fiber(gone ? NULL : fake, low, bytes);
#endif
#ifdef COIR__TSAN
    __tsan_switch_to_fiber(f->stack ? f->stack->sanitizer : w->sanitizer, 0);
#endif
    (void)w, (void)f, (void)fake, (void)gone;
}

/* Right after it, on the other side. The first arrival of all comes from the loop: it tells the
 * loop's own bounds. */
static inline void coir__san_arrive(struct coir__worker *w, void *fake)
{
#ifdef COIR__ASAN
    const void *low;
    size_t bytes;
    __sanitizer_finish_switch_fiber(fake, &low, &bytes);
    if (!w->loop_stack_low) {
        w->loop_stack_low = low;
        w->loop_stack_bytes = bytes;
    }
#endif
    (void)w, (void)fake;
}

/* The kernel wrote bytes to p. */
static inline void coir__san_written(const void *p, size_t bytes)
{
#ifdef COIR_VALGRIND
    VALGRIND_MAKE_MEM_DEFINED(p, bytes);
#endif
    (void)p, (void)bytes;
}

/* TSan does not know that membarrier(2) orders what other threads do. */
#ifdef COIR__TSAN
enum { COIR__SAN_SEES_MEMBARRIER = 0 };
#else
enum { COIR__SAN_SEES_MEMBARRIER = 1 };
#endif

/* valgrind 3.19 lets no other thread run while one is inside io_uring_enter; so we wait for the
 * ring to become readable instead, in a call that it knows to block. That wants a ring whose
 * completions need no enter: the setup flags that may be used. */
#ifdef COIR_VALGRIND
enum { COIR__SAN_WAITS_APART = 1 };
#define COIR__SAN_RING_FLAGS 0u
#else
enum { COIR__SAN_WAITS_APART = 0 };
#define COIR__SAN_RING_FLAGS ~0u
#endif

/* Wait for the ring fd, at most timeout_ns (negative: no limit). */
static inline void coir__san_await_ring(int fd, int64_t timeout_ns)
{
#ifdef COIR_VALGRIND
    struct timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
    struct pollfd ring = { .fd = fd, .events = POLLIN };
    coir__sys(SYS_ppoll, &ring, 1, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
#endif
    (void)fd, (void)timeout_ns;
}

/* Data that one fiber hands to the kernel may reach another through it, which orders the two. TSan
 * does not see that: the system calls are raw. */
static inline void coir__san_to_kernel(void *sync)
{
#ifdef COIR__TSAN
    __tsan_release(sync);
#endif
    (void)sync;
}

static inline void coir__san_from_kernel(void *sync)
{
#ifdef COIR__TSAN
    __tsan_acquire(sync);
#endif
    (void)sync;
}

#endif
