/* tests/io/linux_5_15.h - the oldest kernel that coir supports on io_uring: what came later is
 * refused, as it would be there.
 * SPDX-License-Identifier: MIT
 *
 * The ring's set-up flags and features are masked in io/ring.c, and its answers are old_kernel.h's.
 * A seccomp filter sees to the rest: flags of io_uring_enter, what can be registered, advice about
 * memory, and system calls. It is for the rest of a process's life: only in children. */
#ifndef TESTS_IO_LINUX_5_15_H
#define TESTS_IO_LINUX_5_15_H

#include "seccomp.h"

#include <sys/wait.h>

enum {
    FEATURES_OF_5_15 = (1 << 11) - 1, /* the last one is RSRC_TAGS */
    ENTER_FLAGS_OF_5_15 = 15,         /* the last one is EXT_ARG */
    LAST_REGISTER_OF_5_15 = 19,       /* IOWQ_MAX_WORKERS */
    LAST_CALL_OF_5_15 = 448,          /* process_mrelease */
    LAST_ADVICE_OF_5_15 = 23,         /* POPULATE_WRITE; and 100, 101 for memory that fails */
};

#define LOW_WORD_OF(n)   (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#define IF_CALL(nr, len) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(nr), 0, len)
#define LOAD(offset)     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define ALLOW            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(err)      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (err))

/* 0, or -1: no filters here. The arguments' words are those of a little-endian CPU. */
static inline int be_linux_5_15(void)
{
    struct sock_filter code[] = {
        LOAD(offsetof(struct seccomp_data, nr)),
        IF_CALL(SYS_io_uring_enter, 4),
        LOAD(LOW_WORD_OF(3)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, ~(uint32_t)ENTER_FLAGS_OF_5_15, 1, 0),
        ALLOW,
        REFUSE(EINVAL),
        IF_CALL(SYS_io_uring_register, 4),
        LOAD(LOW_WORD_OF(1)),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_REGISTER_OF_5_15, 1, 0),
        ALLOW,
        REFUSE(EINVAL),
        IF_CALL(SYS_madvise, 6),
        LOAD(LOW_WORD_OF(2)),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_ADVICE_OF_5_15, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 101, 0, 1),
        ALLOW,
        REFUSE(EINVAL),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_CALL_OF_5_15, 0, 1),
        REFUSE(ENOSYS),
        ALLOW,
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

#endif
