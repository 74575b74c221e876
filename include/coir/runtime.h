/* coir/runtime.h - starting the runtime: workers, their stacks, their I/O engine.
 * SPDX-License-Identifier: MIT
 *
 * A worker is an OS thread that runs fibers. A fiber that has started stays on its worker, so
 * thread-local variables and errno behave as in a thread: they are the worker's. */
#ifndef COIR_RUNTIME_H
#define COIR_RUNTIME_H

#include <coir/base.h>

COIR_BEGIN_DECLS

enum {
    /* For coir_options.flags: when the kernel can guard no more stacks (before Linux 6.13 each
     * guard takes two of the process's memory maps, vm.max_map_count), go on without guards.
     * Otherwise spawning fails with ENOMEM then. */
    COIR_UNGUARDED = 1
};

/* What to start with. All zero is a good choice: COIR_ZERO. A field that is 0 or NULL takes the
 * environment's value, then the default. */
typedef struct coir_options {
    unsigned workers;     /* OS threads that run fibers, 1 to 1024; env COIR_WORKERS; default: the
                           * CPUs this process may use, by its affinity and its control group's
                           * quota (rounded up) */
    unsigned flags;       /* COIR_UNGUARDED, or 0 */
    size_t stack_bytes;   /* address space of a fiber's stack, its guard included; env COIR_STACK;
                           * default 256 KiB. Rounded up to a power of two; 16 KiB to 1 GiB. Only
                           * pages that were touched cost memory. */
    const char *io;       /* "auto", "uring" or "epoll"; env COIR_IO; default "auto":
                           * io_uring where it works, else epoll */
    int64_t drain_ns;     /* how long detached fibers may take to end once everything else has;
                           * default 1 s; not negative */
    uint64_t reserved[4]; /* 0 */
} coir_options;

/* Run fn(arg) as a fiber, with the calling thread as the first worker, until fn and all fibers that
 * are not detached have ended. Detached ones are then cancelled, given drain_ns and reaped; one
 * that is still parked after that is never resumed again (its operations are ended, its stack
 * stays), and one that computes is waited for. Handles that were not joined end with the run. It
 * may run again afterwards. options may be NULL.
 * Returns  0; -1 when the runtime did not start, and then fn did not run. errno: EINVAL fn is NULL,
 *          an option out of its range or a reserved field not 0; EBUSY on a fiber, or while another
 *          coir_run is active; ENOMEM; EAGAIN no thread could be started; EMFILE, ENFILE no two
 *          descriptors for each worker; what io_uring_setup(2) said when the kernel refuses
 *          io_uring (ENOSYS, EPERM, ...) and "uring" was asked for.
 * Parks    never: it blocks the calling thread, which is a worker meanwhile. */
COIR_API int coir_run(void (*fn)(void *arg), void *arg, const coir_options *options);

/* main() in one line: run fn(argc, argv) as a fiber as coir_run does, with default options, and
 * return its result.
 * Returns  fn's result; -1 with errno when the runtime did not start, after one line on stderr that
 *          says why. */
COIR_API int coir_main(int argc, char **argv, int (*fn)(int argc, char **argv));

/* The I/O engine of this process, "uring" or "epoll"; "none" while it has not been chosen, that is
 * before the first runtime started. */
COIR_API const char *coir_io_engine(void);

COIR_END_DECLS

#endif
