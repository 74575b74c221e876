/* coir/time.hpp - how failures are thrown; the clock, and blocks that bound time.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_TIME_HPP
#define COIR_TIME_HPP

#include <coir.h>

#include <cerrno>
#include <chrono>
#include <system_error>

namespace coir
{

/* Throw the errno of a call that has just failed. */
[[noreturn]] inline void throw_errno(const char *what)
{
    throw std::system_error(errno, std::generic_category(), what);
}

/* The result of a call that returns -1 when it fails. */
template <typename Number> Number check(Number result, const char *what)
{
    if (result < 0)
        throw_errno(what);
    return result;
}

/* A moment, as a deadline of coir.h. */
inline int64_t deadline_ns(std::chrono::steady_clock::time_point when)
{
    if (when == std::chrono::steady_clock::time_point::max())
        return COIR_NEVER;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(when.time_since_epoch()).count();
}

/* So much from now; max() and what goes beyond the clock: never. */
inline int64_t deadline_ns(std::chrono::nanoseconds from_now) noexcept
{
    return coir_after(from_now.count());
}

/* COIR_TIMEOUT and COIR_SHIELD as objects: from here to the end of their life, in reverse order. */
class guard
{
  public:
    guard(const guard &) = delete;
    guard &operator=(const guard &) = delete;
    ~guard()
    {
        coir_guard_leave(&guard_);
    }

  protected:
    explicit guard(coir_guard entered) noexcept : guard_(entered)
    {
    }

  private:
    coir_guard guard_;
};

/* Narrows the deadline to so much from now. */
class timeout : public guard
{
  public:
    explicit timeout(std::chrono::nanoseconds time) noexcept
        : guard(coir_timeout_enter(time.count()))
    {
    }
};

/* Masks cancel and deadline, for so long, for cleaning up. */
class shield : public guard
{
  public:
    explicit shield(std::chrono::nanoseconds time = std::chrono::nanoseconds::max()) noexcept
        : guard(coir_shield_enter(time.count()))
    {
    }
};

/* Park for so long. */
inline void sleep_for(std::chrono::nanoseconds time)
{
    check(coir_sleep(time.count()), "coir::sleep_for");
}

/* Let the others run. */
inline void yield() noexcept
{
    coir_yield();
}

/* For loops that compute: throws when the caller was cancelled, or its deadline has passed. */
inline void checkpoint()
{
    check(coir_check(), "coir::checkpoint");
}

} // namespace coir

#endif
