/* api/text.c - see text.h.
 * SPDX-License-Identifier: MIT */
#include "text.h"

#include "edge.h"
#include "sched/memory.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUF_BYTES = 64 * 1024, ROOM = 1024 }; /* no piece is longer */

int coir__text_begin(struct coir__text *t, int fd)
{
    if (fcntl(fd, F_GETFD) < 0)
        return -EBADF;
    *t = (struct coir__text){ .fd = fd, .buf = coir__map(BUF_BYTES) };
    return t->buf ? 0 : -ENOMEM;
}

/* A plain thread's write, which a reader that is gone does not kill, in whatever mode the
 * descriptor is. */
static int write_as_thread(int fd, const char *buf, size_t len)
{
    sigset_t sigpipe, before;
    struct timespec none = { 0 };
    int err = 0;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    while (len && err == 0) {
        ssize_t n = write(fd, buf, len);
        if (n >= 0)
            buf += n, len -= (size_t)n;
        else if (errno == EAGAIN)
            poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
        else if (errno != EINTR)
            err = -errno;
    }
    if (err == -EPIPE && !sigismember(&before, SIGPIPE))
        sigtimedwait(&sigpipe, NULL, &none);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void flush(struct coir__text *t)
{
    if (t->err == 0 && coir__fiber_self())
        t->err = coir_write_all(t->fd, t->buf, t->len) < 0 ? -errno : 0;
    else if (t->err == 0)
        t->err = write_as_thread(t->fd, t->buf, t->len);
    t->len = 0;
}

void coir__text_add(struct coir__text *t, const char *format, ...)
{
    va_list args;
    if (BUF_BYTES - t->len < ROOM)
        flush(t);
    va_start(args, format);
    int n = vsnprintf(t->buf + t->len, BUF_BYTES - t->len, format, args);
    va_end(args);
    if (n > 0)
        t->len += (size_t)n < BUF_BYTES - t->len ? (size_t)n : BUF_BYTES - t->len - 1;
}

int coir__text_end(struct coir__text *t)
{
    flush(t);
    coir__unmap(t->buf, BUF_BYTES);
    return t->err;
}

/* The address as it stands in the file: a program that is not position-independent is where its
 * file says. For musl the vDSO has no base. */
static uintptr_t in_file(uintptr_t pc, const Dl_info *info)
{
    const ElfW(Ehdr) *file = info->dli_fbase;
    return !file || file->e_type == ET_EXEC ? pc : pc - (uintptr_t)file;
}

/* The dynamic linker knows the names that a file exports; for all else there are file and offset,
 * which addr2line takes. */
void coir__text_add_function(struct coir__text *t, uintptr_t pc)
{
    Dl_info info = { 0 };
    if (!dladdr((void *)pc, &info) || !info.dli_fname) {
        coir__text_add(t, "0x%zx", pc);
        return;
    }
    const char *slash = strrchr(info.dli_fname, '/');
    const char *file = slash ? slash + 1 : info.dli_fname;
    if (info.dli_sname)
        coir__text_add(t, "%.400s+0x%zx ", info.dli_sname, pc - (uintptr_t)info.dli_saddr);
    coir__text_add(t, "%.200s(+0x%zx)", file, in_file(pc, &info));
}

void coir__text_add_frame(struct coir__text *t, uintptr_t pc)
{
    coir__text_add(t, "    ");
    coir__text_add_function(t, pc);
    coir__text_add(t, "\n");
}
