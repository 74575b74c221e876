/* io/sock_timeout.h - SO_RCVTIMEO and SO_SNDTIMEO.
 * SPDX-License-Identifier: MIT
 *
 * The kernel honours them only while it is the one that waits. To ask for them takes a system call,
 * which is too much for each wait: most are short, and few sockets have such a timeout. So the
 * descriptors that fibers begin to wait for are listed, and ten milliseconds later who still waits
 * is asked about, once. From then on its time counts: it may end late by about as much, and never
 * early. Who waits for a socket that had no timeout before is asked about after a second: the
 * program may have set one meanwhile. */
#ifndef COIR_IO_SOCK_TIMEOUT_H
#define COIR_IO_SOCK_TIMEOUT_H

#include "op.h"

/* SO_RCVTIMEO, or SO_SNDTIMEO, of fd, in ns; 0: none. */
COIR_HIDDEN int64_t coir__sock_timeout_option(int fd, int option);

/* That which op's wait is subject to. */
COIR_HIDDEN int64_t coir__sock_timeout(const struct coir__op *op);

/* A fiber begins to wait for op, on this worker. */
COIR_HIDDEN void coir__sock_timeout_note(struct coir__io *io, const struct coir__op *op);

/* until_ns, or before it when the list is to be looked at then; and what is due now is. */
COIR_HIDDEN int64_t coir__sock_timeout_check(struct coir__worker *w, int64_t until_ns);

COIR_HIDDEN void coir__sock_timeouts_init(struct coir__sock_timeouts *t);
COIR_HIDDEN void coir__sock_timeouts_fini(struct coir__sock_timeouts *t);

#endif
