/* tests/io/seccomp.h - a kernel that refuses a system call, as sandboxes do, or now and then.
 * SPDX-License-Identifier: MIT
 *
 * A filter is for the rest of the process's life: only in children. */
#ifndef TESTS_IO_SECCOMP_H
#define TESTS_IO_SECCOMP_H

#include "support/fiber_test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Answer the calls nr of this thread, and of those it starts, with what. 0 or more, or -1. */
static inline int seccomp_answer(int nr, uint32_t what, unsigned flags)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, what),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static inline int refuse(int nr, int err)
{
    return seccomp_answer(nr, SECCOMP_RET_ERRNO | (uint32_t)err, 0);
}

/* What a child that could not get its filter ends with. */
enum { NO_SECCOMP = 77 };

/* fn(arg) in a child, where it puts a filter in place; it returns 0, and nothing is on stderr. */
static inline void run_filtered(int (*fn)(void *), void *arg)
{
    char text[4096];
    int status = test_child(fn, arg, text, sizeof text);
    if (status == NO_SECCOMP << 8)
        skip();
    assert_string_equal(text, "");
    assert_int_equal(status, 0);
}

/* Somebody who is asked about each call, and lets it happen or fail. */
struct supervisor {
    _Atomic int listener;  /* -1: not yet */
    _Atomic int fail_with; /* an errno; 0: let it happen */
    _Atomic int failed;
};

static inline int supervise(struct supervisor *s, int nr)
{
    int listener = seccomp_answer(nr, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    atomic_store(&s->listener, listener);
    return listener < 0 ? -1 : 0;
}

/* The supervisor's thread. It is there before the filter, so as not to be under it itself. */
static inline void *be_supervisor(void *arg)
{
    struct supervisor *s = arg;
    while (atomic_load(&s->listener) < 0)
        usleep(100);
    for (;;) {
        struct seccomp_notif call = { 0 };
        struct seccomp_notif_resp answer = { 0 };
        if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
            if (errno == EINTR || errno == ENOENT)
                continue;
            return NULL;
        }
        answer.id = call.id;
        answer.error = -atomic_load(&s->fail_with);
        if (answer.error)
            atomic_fetch_add(&s->failed, 1);
        else
            answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

#endif
