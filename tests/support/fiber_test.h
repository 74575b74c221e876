/* tests/support/fiber_test.h - what most tests begin with.
 * SPDX-License-Identifier: MIT
 *
 * Fibers record, the test's own thread asserts: a failing cmocka assertion jumps out of the
 * function, which inside a fiber would leave the scheduler in the middle of a run. */
#ifndef FIBER_TEST_H
#define FIBER_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#include <cmocka.h>

#include <coir.h>

#ifdef COIR_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* 1 under ThreadSanitizer, which has a thread of its own, and one that wakes up. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

/* 1 under AddressSanitizer or ThreadSanitizer, whose own memory and maps are many: then what a
 * process uses says nothing about us. */
#if defined(__SANITIZE_ADDRESS__) || TEST_TSAN
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* 1 with glibc: for what others' names, lists and stack frames are not told like. */
#ifdef __GLIBC__
#define TEST_GLIBC 1
#else
#define TEST_GLIBC 0
#endif

/* 1 in the build for valgrind. */
#ifdef COIR_VALGRIND
#define TEST_VALGRIND 1
#else
#define TEST_VALGRIND 0
#endif

/* Bad pointers, or data, on purpose: valgrind need not tell of them. For the calling thread, until
 * the other call. */
static inline void expect_bad_pointers(void)
{
#ifdef COIR_VALGRIND
    VALGRIND_DISABLE_ERROR_REPORTING;
#endif
}

static inline void expect_no_more_bad_pointers(void)
{
#ifdef COIR_VALGRIND
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

/* The numbers of workers that concurrent tests run with: 1, 2, 4; ends with 0. */
extern const unsigned test_workers[];

/* coir_run with so many workers; 0, or the errno. */
int fiber_test_run(unsigned workers, void (*fn)(void *), void *arg);

/* Under qemu-user, where the environment's TEST_QEMU says so: there it is qemu that answers the
 * system calls, and it neither knows all of them nor says the same as the kernel. */
int test_qemu(void);

/* For a test that cannot pass there; why: what qemu-user does. */
#define SKIP_UNDER_QEMU(why)                                                                       \
    do {                                                                                           \
        if (test_qemu()) {                                                                         \
            print_message("qemu-user " why "\n");                                                  \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* The engine that is taken when nobody asks for one. */
#define TEST_ENGINE (test_qemu() ? "epoll" : "uring")

/* n, scaled down by TEST_SCALE percent (the environment's; 100 by default), but at least `least`.
 * */
int test_scaled(int n, int least);

/* A child process that runs fn(arg) and exits with its result; its status as waitpid tells it, and
 * what it wrote to stderr in text (cut to size, ended by 0). */
int test_child(int (*fn)(void *), void *arg, char *text, size_t size);

/* How many COIR_SHIELD blocks the calling fiber is in; 0 on a plain thread. */
int test_shields(void);

/* How many descriptors this process has open, how many memory maps, how many threads. */
int test_fds_open(void);
int test_maps(void);
int test_threads(void);

#ifdef __cplusplus
}
#endif

#endif
