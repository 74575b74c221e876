/* fetch/names.h - hosts' addresses, found by coir before curl needs them; kept for a minute.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_FETCH_NAMES_H
#define COIR_FETCH_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { COIR__ADDRESSES_BYTES = 1024 };

/* The addresses of host, as CURLOPT_RESOLVE has them: "1.2.3.4,[::1]"; what does not fit is left
 * out. A numeric host has none. 0; -1 with errno, and in *why a text that stays. Parks. */
int coir__names_find(const char *host, char addresses[COIR__ADDRESSES_BYTES], const char **why);

/* An address that anybody may be sent to: not private, nor of this machine, its link, or many. */
bool coir__names_public(const struct sockaddr *addr);

#endif
