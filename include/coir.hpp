/* coir.hpp - coir for C++17: objects that clean up after themselves, functions that are lambdas,
 * failures that are exceptions.
 * SPDX-License-Identifier: MIT
 *
 * A thin layer over coir.h; both may be used side by side, and what is said there holds. Parking,
 * cancel and deadline are as there, except that destructors wait whatever happens.
 *
 * Failures  of calls throw std::system_error with the errno: ETIMEDOUT and ECANCELED tell of the
 *           caller's deadline and cancel.
 * Functions are given as anything that can be called, move-only lambdas included. They are moved
 *           to the heap, called once, and destroyed by the fiber that ran them, before it ends.
 * Time      durations and points of std::chrono::steady_clock, which is CLOCK_MONOTONIC. */
#ifndef COIR_HPP
#define COIR_HPP

#include <coir/time.hpp>
#include <coir/fiber.hpp>
#include <coir/scope.hpp>
#include <coir/sync.hpp>
#include <coir/chan.hpp>
#include <coir/future.hpp>

#endif
