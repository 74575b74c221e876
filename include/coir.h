/* coir.h - stackful green threads for Linux: blocking-style code that blocks no OS thread.
 * SPDX-License-Identifier: MIT
 *
 * Include this one. The parts, in reading order: conventions, time and deadlines, the runtime,
 * fibers, scopes, locks and the like, futures, channels, select, streams, I/O, children,
 * fetching URLs (a library of its own: -lcoir-fetch), seeing what goes on. */
#ifndef COIR_H
#define COIR_H

#include <coir/base.h>
#include <coir/time.h>
#include <coir/runtime.h>
#include <coir/fiber.h>
#include <coir/scope.h>
#include <coir/sync.h>
#include <coir/future.h>
#include <coir/chan.h>
#include <coir/select.h>
#include <coir/stream.h>
#include <coir/io.h>
#include <coir/process.h>
#include <coir/fetch.h>
#include <coir/debug.h>

#endif
