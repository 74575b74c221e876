/* io/uring_abi.h - the kernel's io_uring interface: liburing 2.3's header for the structures and
 * the preparation of SQEs, and our own names for what is newer. liburing itself is not linked.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_IO_URING_ABI_H
#define COIR_IO_URING_ABI_H

#include <liburing.h>

enum {
    COIR__ENTER_NO_IOWAIT = 1u << 7, /* Linux 6.15: do not count our wait as waiting for a disk */
    COIR__FEAT_NO_IOWAIT = 1u << 17,
};

_Static_assert(sizeof(struct io_uring_sqe) == 64, "the kernel's");
_Static_assert(sizeof(struct io_uring_cqe) == 16, "the kernel's");
_Static_assert(sizeof(struct io_uring_params) == 120, "the kernel's");
_Static_assert(sizeof(struct io_uring_getevents_arg) == 24, "the kernel's");

#endif
