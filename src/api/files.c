/* api/files.c - what is done to files by name, or as a whole: system calls on threads.
 * SPDX-License-Identifier: MIT */
#include "edge.h"

#include "io/io.h"
#include "sched/sanitize.h"

#include <fcntl.h>
#include <sys/stat.h>

/* fd: counted, so that coir_close waits for the call; negative: of no descriptor. */
static int call(int fd, struct coir__system_call c)
{
    return (int)coir__edge(coir__io_call(fd, &c, 0));
}

static long word(const void *p)
{
    return (long)(uintptr_t)p;
}

static int told(int res, const void *p, size_t bytes)
{
    if (res == 0)
        coir__san_written(p, bytes);
    return res;
}

int coir_stat(const char *path, struct stat *st)
{
    return told(
        call(-1, (struct coir__system_call){ SYS_newfstatat, { AT_FDCWD, word(path), word(st) } }),
        st, sizeof *st);
}

int coir_fstat(int fd, struct stat *st)
{
    return told(call(fd, (struct coir__system_call){ SYS_fstat, { fd, word(st) } }), st,
                sizeof *st);
}

/* Not every libc has the structure. */
enum { STATX_BYTES = 256 };

int coir_statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx)
{
    return told(
        call(dir,
             (struct coir__system_call){ SYS_statx, { dir, word(path), flags, mask, word(stx) } }),
        stx, STATX_BYTES);
}

int coir_rename(const char *from, const char *to)
{
    return call(-1, (struct coir__system_call){ SYS_renameat2,
                                                { AT_FDCWD, word(from), AT_FDCWD, word(to) } });
}

int coir_unlink(const char *path)
{
    return call(-1, (struct coir__system_call){ SYS_unlinkat, { AT_FDCWD, word(path) } });
}

int coir_mkdir(const char *path, mode_t mode)
{
    return call(-1, (struct coir__system_call){ SYS_mkdirat, { AT_FDCWD, word(path), mode } });
}

int coir_ftruncate(int fd, off_t bytes)
{
    return call(fd, (struct coir__system_call){ SYS_ftruncate, { fd, bytes } });
}

int coir_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return call(fd, (struct coir__system_call){ SYS_fallocate, { fd, mode, offset, bytes } });
}
