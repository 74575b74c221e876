// tests/cxx/checks.h - checks that fibers make as they go: counted, and asserted by the test's own
// thread.
// SPDX-License-Identifier: MIT
#ifndef TESTS_CXX_CHECKS_H
#define TESTS_CXX_CHECKS_H

#include <atomic>
#include <cerrno>
#include <system_error>

#include <coir.hpp>

#include "support/fiber_test.h"

namespace checks {

inline std::atomic<int> passed, failed, line; // line: of the first that failed

inline void check(bool holds, int at)
{
    int none = 0;
    (holds ? passed : failed)++;
    if (!holds)
        line.compare_exchange_strong(none, at);
}

// function() throws a std::system_error with that errno.
template <typename Function> bool throws(int error, Function function)
{
    try {
        function();
    } catch (const std::system_error &e) {
        return e.code().value() == error;
    }
    return false;
}

// function() as the first fiber, with every number of workers.
inline void run(void (*function)())
{
    for (const unsigned *w = test_workers; *w; w++) {
        coir_options options = COIR_ZERO;
        options.workers = *w;
        passed = failed = line = 0;
        coir::run(function, &options);
        if (line)
            print_error("the check in line %d failed\n", line.load());
        assert_int_equal(failed.load(), 0);
        assert_true(passed > 0);
    }
}

inline const coir_attr *spread()
{
    static const coir_attr attr = [] {
        coir_attr a = COIR_ATTR_INIT;
        a.flags = COIR_SPREAD;
        return a;
    }();
    return &attr;
}

// An object that is counted, and cannot be copied.
class counted
{
  public:
    static inline std::atomic<int> alive{ 0 };

    explicit counted(int n) : value(n)
    {
        alive++;
    }
    counted(counted &&other) noexcept : value(other.value)
    {
        other.value = -1;
        alive++;
    }
    counted &operator=(counted &&other) noexcept
    {
        value = other.value;
        other.value = -1;
        return *this;
    }
    ~counted()
    {
        alive--;
    }
    int value;
};

} // namespace checks

#define CHECK(cond) checks::check(cond, __LINE__)

#endif
