/* api/overflow.c - a fiber that ran into the guard below its stack is named, then dies as before.
 * SPDX-License-Identifier: MIT
 *
 * The handler runs on an alternate stack, for the fiber's own is full. It writes one message, puts
 * back the handler that was there before ours and returns: the instruction faults again, and
 * whatever would have happened without us happens. */
#include "overflow.h"

#include "sched/stack.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALT_STACK_BYTES = 64 * 1024 };

static struct {
    pthread_mutex_t lock;
    unsigned workers; /* that have the handler */
    struct sigaction segv, bus;
} before = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Async-signal-safe pieces of a message. */
struct text {
    size_t len;
    char buf[512];
};

static void add(struct text *t, const char *s)
{
    while (*s && t->len < sizeof t->buf)
        t->buf[t->len++] = *s++;
}

static void add_number(struct text *t, size_t n)
{
    char digits[24], *p = digits + sizeof digits - 1;
    *p = 0;
    do
        *--p = (char)('0' + n % 10);
    while (n /= 10);
    add(t, p);
}

static void report(struct coir__fiber *f)
{
    struct text t = { 0 };
    add(&t, "coir: fiber ");
    if (coir__fiber_name(f)[0]) {
        add(&t, "'");
        add(&t, coir__fiber_name(f));
        add(&t, "' ");
    }
    add(&t, "overflowed its stack of ");
    add_number(&t, coir__stack_class_bytes(f->stack_class));
    add(&t, " bytes. Give it more: coir_attr.stack_bytes for this fiber, coir_options.stack_bytes "
            "or COIR_STACK for all.\n");
    if (write(STDERR_FILENO, t.buf, t.len) < 0)
        return; /* nobody listens */
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    (void)context;
    struct coir__fiber *f = coir__fiber_self();
    if (f && info->si_code > 0) {
        uintptr_t low = (uintptr_t)coir__stack_low(f->stack), at = (uintptr_t)info->si_addr;
        if (at >= low && at < low + coir__stack_guard_bytes(f->stack_class))
            report(f);
    }
    sigaction(sig, sig == SIGSEGV ? &before.segv : &before.bus, NULL);
    if (info->si_code <= 0)
        raise(sig); /* sent by somebody: it would not come again by itself */
}

static int alt_stack(struct coir__worker *w)
{
    stack_t old;
    if (sigaltstack(NULL, &old) < 0)
        return -errno;
    if (!(old.ss_flags & SS_DISABLE))
        return 0; /* the thread has its own: a sanitizer's, say */
    void *at =
        mmap(NULL, ALT_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return -ENOMEM;
    stack_t alt = { .ss_sp = at, .ss_size = ALT_STACK_BYTES };
    if (sigaltstack(&alt, NULL) < 0) {
        int err = -errno;
        munmap(at, ALT_STACK_BYTES);
        return err;
    }
    w->host = at;
    return 0;
}

int coir__overflow_enter(struct coir__worker *w)
{
    int err = alt_stack(w);
    if (err < 0)
        return err;
    pthread_mutex_lock(&before.lock);
    if (before.workers++ == 0) {
        struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
        sigemptyset(&ours.sa_mask);
        sigaction(SIGSEGV, &ours, &before.segv);
        sigaction(SIGBUS, &ours, &before.bus);
    }
    pthread_mutex_unlock(&before.lock);
    return 0;
}

static void put_back(int sig, const struct sigaction *was)
{
    struct sigaction now;
    if (sigaction(sig, NULL, &now) == 0 && now.sa_flags & SA_SIGINFO &&
        now.sa_sigaction == on_fault)
        sigaction(sig, was, NULL); /* else the program has its own meanwhile */
}

void coir__overflow_leave(struct coir__worker *w)
{
    pthread_mutex_lock(&before.lock);
    if (--before.workers == 0) {
        put_back(SIGSEGV, &before.segv);
        put_back(SIGBUS, &before.bus);
    }
    pthread_mutex_unlock(&before.lock);
    if (w->host) {
        stack_t off = { .ss_flags = SS_DISABLE };
        sigaltstack(&off, NULL);
        munmap(w->host, ALT_STACK_BYTES);
        w->host = NULL;
    }
}
