/* coir/base.h - the conventions every coir header keeps.
 * SPDX-License-Identifier: MIT
 *
 * Results   A call that mirrors POSIX has POSIX's name, arguments and result. The others return 0,
 *           or -1 with errno set; or a pointer, or NULL with errno set. A void call cannot fail and
 *           preserves errno; any other may change it. errno does not survive another fiber's turn:
 *           read it right after the call that set it.
 * Parking   "Parks" says that the call stops the calling fiber, never its OS thread, until what it
 *           waits for has happened. On a plain OS thread (one that is not running a fiber) the same
 *           call blocks that thread, with the same meaning.
 * Deadline  Every call that may park checks on entry, and fails with ETIMEDOUT once the caller's
 *           deadline has passed (coir/time.h), or with ECANCELED once the caller was cancelled
 *           (coir_cancel). EINTR never surfaces, nor EAGAIN from a call that waits. Bytes already
 *           moved beat both: the call returns them, and the next call reports the trouble.
 * Time      int64_t nanoseconds of CLOCK_MONOTONIC. A deadline is absolute, a duration relative.
 * Threads   Unless a comment says otherwise, any fiber and any OS thread may make a call at any
 *           time; none is async-signal-safe.
 * Memory    Structures of this interface have fixed size. Reserved fields must be 0; otherwise the
 *           call fails with EINVAL.
 * Language  C11 with GNU extensions (-std=gnu11, or _GNU_SOURCE), or C++11 and later;
 *           coir.hpp is the same for C++17 with its means.
 * C++       Exceptions are each fiber's own, also while it is parked in a catch block or a
 *           destructor; one that nobody on its fiber catches ends the program by std::terminate. */
#ifndef COIR_BASE_H
#define COIR_BASE_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#if defined(__STRICT_ANSI__) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#error "coir needs -std=gnu11 (or later), or _GNU_SOURCE"
#endif

/* clang-format off */
#ifdef __cplusplus
#define COIR_BEGIN_DECLS extern "C" {
#define COIR_END_DECLS   }
/* Initialiser of any coir structure whose fields should all be 0. */
#define COIR_ZERO        {}
#define COIR_ZERO_ARRAY_ {}
/* x as a type, without what C++ compilers warn of. */
#define COIR_INT64_(x)   static_cast<int64_t>(x)
#define COIR_POINTER_(x) reinterpret_cast<void *>(static_cast<intptr_t>(x))
#else
#define COIR_BEGIN_DECLS
#define COIR_END_DECLS
#define COIR_ZERO        {0}
#define COIR_ZERO_ARRAY_ {{0}}
#define COIR_INT64_(x)   ((int64_t)(x))
#define COIR_POINTER_(x) ((void *)(x))
#endif
/* clang-format on */

#define COIR_API       __attribute__((visibility("default")))
#define COIR_NODISCARD __attribute__((warn_unused_result))

#define COIR_VERSION_MAJOR 0
#define COIR_VERSION_MINOR 1
#define COIR_VERSION_PATCH 0

#endif
