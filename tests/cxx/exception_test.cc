// tests/cxx/exception_test.cc - C++ on fibers: the unwinder's state is each fiber's own, and blocks
// that bound the time are left rightly by exceptions.
// SPDX-License-Identifier: MIT
#include <exception>
#include <stdexcept>
#include <string>

#include "support/fiber_test.h"

namespace {

struct thrower {
    const char *mine;  // what this fiber throws
    std::string seen;  // what came back by `throw;` after the other fiber's turn
    int caught_inside; // std::uncaught_exceptions() where none is in flight
};

void rethrow(thrower *t)
{
    try {
        coir_yield(); // the other fiber throws, and enters its own catch
        throw;
    } catch (const std::exception &e) {
        t->seen = e.what();
    }
}

void *throw_and_yield(void *arg)
{
    auto *t = static_cast<thrower *>(arg);
    try {
        throw std::runtime_error(t->mine);
    } catch (...) {
        coir_yield();
        t->caught_inside = std::uncaught_exceptions();
        rethrow(t);
    }
    return nullptr;
}

void two_throwers(void *arg)
{
    auto *both = static_cast<thrower *>(arg);
    coir_fiber *a = coir_spawn(throw_and_yield, &both[0]);
    coir_fiber *b = coir_spawn(throw_and_yield, &both[1]);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

// Goal: `throw;` in a catch block throws this fiber's exception, not that of the fiber which
// entered a catch block last. Method: two fibers on one worker that park inside catch.
void throw_again_throws_ones_own(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        thrower both[2] = { { "first", "", -1 }, { "second", "", -1 } };
        assert_int_equal(fiber_test_run(*w, two_throwers, both), 0);
        assert_string_equal(both[0].seen.c_str(), "first");
        assert_string_equal(both[1].seen.c_str(), "second");
        assert_int_equal(both[0].caught_inside, 0);
        assert_int_equal(both[1].caught_inside, 0);
    }
}

// Parks while an exception is in flight: std::uncaught_exceptions() is 1 here.
struct parks_on_the_way {
    int *uncaught;
    ~parks_on_the_way()
    {
        coir_sleep(COIR_MS(1));
        *uncaught = std::uncaught_exceptions();
    }
};

struct in_flight {
    int inside, outside;
    bool caught;
};

void *throw_through_a_park(void *arg)
{
    auto *f = static_cast<in_flight *>(arg);
    try {
        parks_on_the_way guard{ &f->inside };
        throw std::runtime_error("through");
    } catch (const std::runtime_error &) {
        f->caught = true;
    }
    return nullptr;
}

void *look(void *arg)
{
    auto *f = static_cast<in_flight *>(arg);
    f->outside = std::uncaught_exceptions();
    return nullptr;
}

void fly(void *arg)
{
    coir_fiber *a = coir_spawn(throw_through_a_park, arg);
    coir_fiber *b = coir_spawn(look, arg);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

// Goal: an exception in flight is counted in its own fiber only, also by one that starts meanwhile.
void an_exception_in_flight_is_its_fibers(void **)
{
    in_flight f = { -1, -1, false };
    assert_int_equal(fiber_test_run(1, fly, &f), 0);
    assert_true(f.caught);
    assert_int_equal(f.inside, 1);
    assert_int_equal(f.outside, 0);
}

struct deadlines {
    int64_t before, inside, shielded, after;
};

void leave_blocks_by_throw(void *arg)
{
    auto *d = static_cast<deadlines *>(arg);
    d->before = coir_deadline();
    try {
        COIR_TIMEOUT(COIR_SEC(5))
        {
            d->inside = coir_deadline();
            COIR_SHIELD(COIR_SEC(1))
            {
                d->shielded = coir_deadline();
                throw 1;
            }
        }
    } catch (int) {
        d->after = coir_deadline();
    }
}

// Goal: COIR_TIMEOUT and COIR_SHIELD put the deadline back when an exception leaves them.
void a_throw_out_of_a_timeout_restores_the_deadline(void **)
{
    deadlines d = { 0, 0, 0, 0 };
    assert_int_equal(fiber_test_run(1, leave_blocks_by_throw, &d), 0);
    assert_true(d.before == COIR_NEVER);
    assert_true(d.inside != COIR_NEVER && d.shielded < d.inside);
    assert_true(d.after == COIR_NEVER);
}

// Goal: the public structures start out clean in C++ too.
void structures_initialise_to_zero(void **)
{
    coir_attr attr = COIR_ATTR_INIT;
    coir_options options = COIR_ZERO;
    assert_null(attr.name);
    assert_int_equal(options.workers, 0);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throw_again_throws_ones_own),
        cmocka_unit_test(an_exception_in_flight_is_its_fibers),
        cmocka_unit_test(a_throw_out_of_a_timeout_restores_the_deadline),
        cmocka_unit_test(structures_initialise_to_zero),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
