/* coir/io.h - blocking-style I/O on any file descriptor.
 * SPDX-License-Identifier: MIT
 *
 * Each call has the prototype, arguments and result of the POSIX call without the prefix, with
 * these differences for all:
 *   Parks     until it is done, the deadline passes or the caller is cancelled (coir/base.h); -1
 *             with ETIMEDOUT or ECANCELED then. A read, write or sync of a regular file that the
 *             kernel has begun cannot be stopped: it completes first.
 *   Never     EINTR, EAGAIN or SIGPIPE (EPIPE comes as an error), whatever the descriptor's
 *             O_NONBLOCK says; but EAGAIN, or EINPROGRESS from a connect, when SO_RCVTIMEO or
 *             SO_SNDTIMEO of a socket is over, some ten milliseconds late.
 *   EBADF     also when coir_close() closes the descriptor meanwhile.
 *   ENOMEM    also when the kernel or the runtime has no memory to start the operation; nothing has
 *             happened then.
 *   Owns      nothing; buffers are lent to the kernel and must stay valid and untouched until the
 *             call returns.
 *   Threads   any number of fibers and threads may use one descriptor at once, each call on its
 *             own; which of two readers gets which bytes is unspecified.
 * File descriptors made here are close-on-exec. On a plain thread a call that has to wait lends its
 * operation to a worker; if there is no runtime it starts by itself, and its failure to start is
 * the call's. */
#ifndef COIR_IO_H
#define COIR_IO_H

#include <coir/base.h>

COIR_BEGIN_DECLS

/* Bytes moved (0: end of file), or -1. A file with an offset of its own is read and written there,
 * as read(2) does. */
COIR_API ssize_t coir_read(int fd, void *buf, size_t len);
COIR_API ssize_t coir_write(int fd, const void *buf, size_t len);
COIR_API ssize_t coir_readv(int fd, const struct iovec *iov, int count);
COIR_API ssize_t coir_writev(int fd, const struct iovec *iov, int count);
COIR_API ssize_t coir_pread(int fd, void *buf, size_t len, off_t offset);
COIR_API ssize_t coir_pwrite(int fd, const void *buf, size_t len, off_t offset);
COIR_API ssize_t coir_preadv(int fd, const struct iovec *iov, int count, off_t offset);
COIR_API ssize_t coir_pwritev(int fd, const struct iovec *iov, int count, off_t offset);

/* Sockets. MSG_DONTWAIT is honoured: the call then fails with EAGAIN instead of parking. What sends
 * always acts as if MSG_NOSIGNAL were given. */
COIR_API ssize_t coir_recv(int fd, void *buf, size_t len, int flags);
COIR_API ssize_t coir_send(int fd, const void *buf, size_t len, int flags);
COIR_API ssize_t coir_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *addr,
                               socklen_t *addr_len);
COIR_API ssize_t coir_sendto(int fd, const void *buf, size_t len, int flags,
                             const struct sockaddr *addr, socklen_t addr_len);
/* With MSG_WAITALL, what comes with control data ends the wait. */
COIR_API ssize_t coir_recvmsg(int fd, struct msghdr *msg, int flags);
COIR_API ssize_t coir_sendmsg(int fd, const struct msghdr *msg, int flags);
COIR_API int coir_accept(int fd, struct sockaddr *addr, socklen_t *len);
COIR_API int coir_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
/* After ETIMEDOUT or ECANCELED the connection may still come about; close the socket. */
COIR_API int coir_connect(int fd, const struct sockaddr *addr, socklen_t len);

/* Files. The mode is read when flags contain O_CREAT or O_TMPFILE. */
COIR_API int coir_open(const char *path, int flags, ...);
COIR_API int coir_openat(int dir, const char *path, int flags, ...);
COIR_API int coir_fsync(int fd);
COIR_API int coir_fdatasync(int fd);

/* Files by name, or as a whole: on threads of the library's, at most 16 at a time. */
struct stat;
struct statx;
COIR_API int coir_stat(const char *path, struct stat *st);
COIR_API int coir_fstat(int fd, struct stat *st);
COIR_API int coir_statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx);
COIR_API int coir_rename(const char *from, const char *to);
COIR_API int coir_unlink(const char *path);
COIR_API int coir_mkdir(const char *path, mode_t mode);
COIR_API int coir_ftruncate(int fd, off_t bytes);
COIR_API int coir_fallocate(int fd, int mode, off_t offset, off_t bytes);

/* Close fd. Calls of other fibers and threads that are parked on it end with EBADF first; only then
 * does the number become free. Not affected by deadline or cancel: it always closes. Parks only
 * while such calls are ended.
 * Returns  0; -1 with EBADF, or what close(2) says (the number is free then, too). */
COIR_API int coir_close(int fd);

/* poll(2): wait up to timeout_ms (-1: for ever, 0: not at all) for one of n descriptors.
 * Returns  how many have revents; 0 after timeout_ms; -1, also with ETIMEDOUT when the caller's
 *          deadline comes first. */
COIR_API int coir_poll(struct pollfd *fds, nfds_t n, int timeout_ms);

/* select(2): the same for sets of descriptors. mask is NULL, else EINVAL: what a fiber waits for is
 * not interrupted by signals (coir_signal_watch, coir_sigwait). timeout NULL: for ever. */
COIR_API int coir_pselect(int n, fd_set *reads, fd_set *writes, fd_set *excepts,
                          const struct timespec *timeout, const sigset_t *mask);

/* sendfile(2): all count bytes, unless the file ends or something fails, whatever O_NONBLOCK says;
 * by reads and writes of 64 KiB. */
COIR_API ssize_t coir_sendfile(int out, int in, off_t *offset, size_t count);

/* splice(2): on a thread of the library's, of which there are at most 64 for that, once in is
 * readable and out writable. */
COIR_API ssize_t coir_splice(int in, off_t *in_offset, int out, off_t *out_offset, size_t len,
                             unsigned flags);

/* Read until len bytes are there or the file ends. Returns len, fewer at the end of the file only,
 * or -1: bytes that arrived before a failure are in buf, but how many is not told. */
COIR_API ssize_t coir_read_full(int fd, void *buf, size_t len);

/* Write all of buf. Returns len, or -1: how much went out before the failure is not told. */
COIR_API ssize_t coir_write_all(int fd, const void *buf, size_t len);

/* Reading by lines. The program sets fd, and cap bytes at
 * buf, which stay its own; the rest is 0:
 *   char buf[4096];
 *   coir_reader r = { .fd = fd, .buf = buf, .cap = sizeof buf };
 * Used by one fiber or thread at a time. */
typedef struct coir_reader {
    int fd;
    unsigned flags;
    char *buf;
    size_t cap, start, end; /* buf[start, end) has been read, and not given out */
    uint64_t reserved[2];
} coir_reader;

/* The next line: in *line its text, in buf, until the next call; a 0 is in the place of its
 * newline. A last line need not have one.
 * Returns  how many bytes the line is, with its newline; 0 at end of file; -1 with EMSGSIZE (it is
 *          longer than cap - 2 bytes), EINVAL (r is not sound), or as coir_read. What was read
 *          stays, and comes with a later call.
 * Parks. */
COIR_API ssize_t coir_reader_line(coir_reader *r, char **line);

/* As coir_read, but first what has been read already. */
COIR_API ssize_t coir_reader_read(coir_reader *r, void *buf, size_t len);

/* Write what printf would print, whole. Returns how many bytes, or -1: as coir_write_all, or with
 * ENOMEM, EOVERFLOW. */
COIR_API int coir_dprintf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* getaddrinfo(3) and getnameinfo(3): the C library's own, on threads of the library's, at most 32
 * at a time. Those who ask the same at the same time get one answer. Who is cancelled, or has no
 * time left, does not wait for it: EAI_SYSTEM with ECANCELED or ETIMEDOUT. The list is the caller's
 * to freeaddrinfo.
 * Returns  0, or EAI_* (gai_strerror). Parks. */
struct addrinfo;
COIR_API int coir_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                              struct addrinfo **list);
COIR_API int coir_getnameinfo(const struct sockaddr *addr, socklen_t addr_len, char *host,
                              socklen_t host_len, char *service, socklen_t service_len, int flags);

/* A listening TCP socket with SO_REUSEADDR. host: a name or a numeric address, of which the first
 * that this machine has is taken; or NULL for every address (IPv6 that takes IPv4 too where the
 * machine has IPv6, else IPv4). port: a number or a service's name, "0" for a free one (getsockname
 * tells it). backlog: as listen(2), 0 for SOMAXCONN; with COIR_REUSEPORT added, several sockets may
 * listen on one port, and share what comes.
 * Returns  the descriptor; -1 with EINVAL (port), EHOSTUNREACH (there is no such host), ETIMEDOUT
 *          (the name service did not answer), or what socket, bind or listen said.
 * Parks only for a name other than "localhost". */
enum { COIR_REUSEPORT = 1 << 30 };
COIR_API int coir_tcp_listen(const char *host, const char *port, int backlog);

/* Connect to host (a name or a numeric address) and port (a number or a service's name). Of several
 * addresses, IPv6 and IPv4 in turn, each has 250 ms, or until it fails, before the next is tried
 * beside it; the first to answer is taken (RFC 8305). TCP_NODELAY is set. Returns the descriptor;
 * -1 with EINVAL (port, or host is NULL), EHOSTUNREACH (there is no such host), ETIMEDOUT (also:
 * the name service did not answer), or the error of the first address that failed, if it is one
 * that this machine has a way to. Parks. */
COIR_API int coir_tcp_dial(const char *host, const char *port);

COIR_END_DECLS

#endif
