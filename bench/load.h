/* bench/load.h - the shape of the load that row accept is put under: see load.c.
 * SPDX-License-Identifier: MIT */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#define LOAD_MESSAGE_BYTES 64
#define LOAD_REQUESTS      20L /* of each connection, one after the other */

#endif
