/* api/dial.h - sockets for addresses, of which there may be several.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_API_DIAL_H
#define COIR_API_DIAL_H

#include "arch/arch.h"

#include <netdb.h>

/* A TCP socket of the family of a; flags: SOCK_NONBLOCK, or 0. -errno. */
COIR_HIDDEN int coir__tcp_socket(const struct addrinfo *a, int flags);

/* A socket that is connected to one of list, or -errno. Parks. */
COIR_HIDDEN int coir__dial(const struct addrinfo *list);

#endif
