// tests/cxx/hpp_fiber_test.cc - coir.hpp: fibers, scopes, futures and blocks as objects.
// SPDX-License-Identifier: MIT
#include "checks.h"

#include <chrono>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;
using checks::counted;
using checks::spread;
using checks::throws;

namespace {

void sleep_for_ever()
{
    for (;;)
        coir::sleep_for(1000s);
}

bool throws_out_of_run(int how)
{
    try {
        coir::run([how] {
            if (how == 1)
                throw std::runtime_error("out of run");
        });
    } catch (const std::runtime_error &e) {
        return std::strcmp(e.what(), "out of run") == 0;
    }
    return false;
}

void run_returns_what_the_function_returns_or_throws(void **)
{
    auto text = coir::run([own = std::make_unique<int>(7)] { return std::to_string(*own); });
    assert_string_equal(text.c_str(), "7");
    assert_true(throws_out_of_run(1));
    assert_false(throws_out_of_run(0));
    coir_options bad = COIR_ZERO;
    bad.flags = 1u << 31;
    assert_true(throws(EINVAL, [&bad] { coir::run([] {}, &bad); }));
}

void fibers()
{
    std::atomic<int> ran{ 0 };
    std::vector<coir::fiber> many;
    for (int i = 0; i < 10; i++)
        many.emplace_back([&ran, c = counted(i)] { ran += c.value; }, i % 2 ? spread() : nullptr);
    for (coir::fiber &f : many)
        f.join();
    CHECK(ran == 45 && counted::alive == 0); // closures go with their fibers
    CHECK(!many[0].joinable() && throws(EINVAL, [&many] { many[0].join(); }));

    coir::fiber none, moved([] { coir::yield(); });
    CHECK(!none.joinable() && moved.joinable());
    none = std::move(moved);
    CHECK(none.joinable() && !moved.joinable() && none.native_handle());
    none.join();

    std::atomic<bool> let_go{ false };
    coir::fiber detached([&let_go] { let_go = true; });
    detached.detach();
    while (!let_go)
        coir::yield();
}

// The function's frame may go: the destructor waits, in every state of the caller.
void cancelled_by_destructor()
{
    for (int how = 0; how < 3; how++) {
        int said = 0;
        coir::fiber outer([&said, how] {
            if (how == 1)
                coir_cancel(coir_self());
            coir::timeout t(how == 2 ? -1ns : std::chrono::nanoseconds::max());
            coir_attr attr = *spread();
            attr.deadline_ns = COIR_NEVER;
            coir::fiber inner(
                [&said] {
                    try {
                        sleep_for_ever();
                    } catch (const std::system_error &e) {
                        said = e.code().value();
                    }
                },
                &attr);
        });
        outer.join();
        CHECK(said == ECANCELED);
    }
    {
        coir::timeout t(1us); // the fiber inherits it; that it was late does not terminate
        coir::fiber late(sleep_for_ever);
        coir::shield until_it_has_ended;
        late.join();
    }
    coir::fiber replaced([] { CHECK(throws(ECANCELED, sleep_for_ever)); });
    replaced = coir::fiber();
    CHECK(!replaced.joinable());
}

// Its destructor could not wait.
void detached_by_attributes()
{
    coir_attr attr = COIR_ATTR_INIT;
    attr.flags = COIR_DETACHED;
    CHECK(throws(EINVAL, [&attr] { coir::fiber f([] {}, &attr); }));
}

void a_fiber_runs_a_lambda_and_is_joined(void **)
{
    checks::run(fibers);
}

void the_end_of_its_handle_cancels_a_fiber_and_waits(void **)
{
    checks::run(cancelled_by_destructor);
}

void the_attributes_cannot_detach_a_fiber_that_has_a_handle(void **)
{
    checks::run(detached_by_attributes);
}

void blocks()
{
    int64_t before = coir_deadline();
    {
        coir::timeout outer(1h);
        int64_t hour = coir_deadline();
        CHECK(hour <= coir_after(COIR_SEC(3600)) && hour > coir_now());
        {
            coir::timeout longer(2h);
            CHECK(coir_deadline() == hour);
            coir::timeout inner(1us);
            CHECK(throws(ETIMEDOUT, sleep_for_ever));
            CHECK(throws(ETIMEDOUT, coir::checkpoint));
            coir::shield masked(1h);
            coir::sleep_for(1us);
            coir::checkpoint();
        }
        CHECK(coir_deadline() == hour);
        try {
            coir::shield masked;
            CHECK(coir_deadline() == COIR_NEVER);
            throw 1;
        } catch (int) {
            CHECK(coir_deadline() == hour && test_shields() == 0);
        }
    }
    CHECK(coir_deadline() == before);
    CHECK(coir::deadline_ns(std::chrono::steady_clock::time_point::max()) == COIR_NEVER);
    CHECK(coir::deadline_ns(std::chrono::steady_clock::now()) <= coir_now());
    static_assert(!std::is_copy_constructible_v<coir::timeout>, "it is a place in the program");
}

void timeouts_and_shields_are_objects(void **)
{
    checks::run(blocks);
}

void scopes()
{
    std::atomic<int> ran{ 0 };
    {
        coir::scope s;
        for (int i = 0; i < 10; i++)
            CHECK(s.spawn([&ran, c = counted(1)] { ran += c.value; }, spread()));
        s.wait();
        CHECK(ran == 10 && counted::alive == 0);
        CHECK(throws(EINVAL, [&s] { s.wait(); }));
        CHECK(throws(EINVAL, [&s] { s.spawn([] {}); }));
    }
    {
        coir::scope nothing_waits; // the destructor cancels
        nothing_waits.spawn([&ran] {
            CHECK(throws(ECANCELED, sleep_for_ever));
            ran++;
        });
    }
    CHECK(ran == 11);
    coir::scope two(2);
    std::atomic<int> at_once{ 0 }, most{ 0 };
    for (int i = 0; i < 50; i++)
        two.spawn([&at_once, &most] {
            most = std::max(most.load(), ++at_once);
            coir::yield();
            at_once--;
        });
    two.wait();
    CHECK(most == 2);
    coir::scope given_up;
    given_up.spawn(sleep_for_ever);
    given_up.cancel();
    bool spawned = given_up.spawn([c = counted(1)] { CHECK(false); });
    CHECK(!spawned && counted::alive == 0);
    given_up.wait(); // no failure
}

void a_scope_spawns_lambdas_and_closes_itself(void **)
{
    checks::run(scopes);
}

// How a child fails, and what wait() says of it.
void failures()
{
    coir::scope thrown;
    thrown.spawn(sleep_for_ever); // whose own exception says nothing
    thrown.spawn([] { throw std::runtime_error("child"); }, spread());
    try {
        thrown.wait();
        CHECK(false);
    } catch (const std::runtime_error &e) {
        CHECK(std::strcmp(e.what(), "child") == 0);
    }
    coir::scope returned;
    returned.spawn([] {
        errno = ENOENT;
        return -1;
    });
    CHECK(throws(ENOENT, [&returned] { returned.wait(); }));
    coir::scope with_code;
    with_code.spawn([] { throw std::system_error(EPIPE, std::generic_category(), "pipe"); });
    CHECK(throws(EPIPE, [&with_code] { with_code.wait(); }));
    coir::scope fine;
    fine.spawn([] { return 3; });
    fine.wait();
    coir::scope goes_on(0, COIR_SCOPE_KEEP_GOING);
    std::atomic<int> ended{ 0 };
    goes_on.spawn([] { throw std::runtime_error("first"); });
    for (int i = 0; i < 5; i++)
        goes_on.spawn([&ended] {
            coir::sleep_for(1us);
            ended++;
        });
    try {
        goes_on.wait();
        CHECK(false);
    } catch (const std::runtime_error &) {
        CHECK(ended == 5);
    }
    coir::scope of_two(0, COIR_SCOPE_KEEP_GOING);
    std::atomic<bool> first_failed{ false };
    of_two.spawn([&first_failed] {
        first_failed = true;
        errno = EIO;
        return -1;
    });
    of_two.spawn([&first_failed] {
        while (!first_failed)
            coir::yield();
        coir::sleep_for(1ms);
        throw std::runtime_error("second");
    });
    CHECK(throws(EIO, [&of_two] { of_two.wait(); }));
    coir::scope late;
    coir_attr no_deadline = COIR_ATTR_INIT;
    no_deadline.deadline_ns = COIR_NEVER;
    coir::timeout soon(100us);
    late.spawn(sleep_for_ever, &no_deadline);
    CHECK(throws(ETIMEDOUT, [&late] { late.wait(); }));
}

void a_child_fails_by_exception_or_errno(void **)
{
    checks::run(failures);
}

void futures()
{
    auto number = coir::async([c = counted(6)] { return c.value * 7; }, spread());
    CHECK(number.valid());
    CHECK(number.get() == 42 && !number.valid() && counted::alive == 0);
    CHECK(throws(EINVAL, [&number] { number.get(); }));
    CHECK(!number.ready() && !coir::future<int>().ready());
    auto nothing = coir::async([] {});
    nothing.wait();
    CHECK(nothing.ready() && nothing.valid());
    nothing.get();
    auto moved = coir::async([] { return counted(5); });
    auto to = std::move(moved);
    CHECK(to.get().value == 5);
    CHECK(counted::alive == 0);
    auto failed = coir::async([]() -> std::string { throw std::runtime_error("async"); });
    try {
        failed.get();
        CHECK(false);
    } catch (const std::runtime_error &e) {
        CHECK(std::strcmp(e.what(), "async") == 0);
    }
    auto never = coir::async([] { return counted(1); }); // nobody asks
    never.wait();
}

// A future that goes cancels its fiber and waits; one whose caller gives up stays as it is.
void futures_end()
{
    std::atomic<int> said{ 0 };
    {
        auto f = coir::async(
            [&said] {
                try {
                    sleep_for_ever();
                } catch (const std::system_error &e) {
                    said = e.code().value();
                    throw;
                }
            },
            spread());
    }
    CHECK(said == ECANCELED);
    std::atomic<bool> go{ false };
    auto slow = coir::async([&go] {
        coir::shield s;
        while (!go)
            coir::yield();
        return 3;
    });
    {
        coir::timeout t(100us);
        CHECK(throws(ETIMEDOUT, [&slow] { slow.get(); }));
        CHECK(slow.valid());
    }
    go = true;
    CHECK(slow.get() == 3);
    auto cancelled = coir::async(sleep_for_ever);
    cancelled.cancel();
    CHECK(throws(ECANCELED, [&cancelled] { cancelled.get(); }));
    auto first = coir::async([] { return 1; }), second = coir::async([] { return 2; });
    first = std::move(second);
    CHECK(first.get() == 2);
    coir_future *both[2];
    auto fast = coir::async([] { return 1; }), stuck = coir::async([] {
        sleep_for_ever();
        return 2;
    });
    both[0] = stuck.native_handle();
    both[1] = fast.native_handle();
    CHECK(coir_race(both, 2, nullptr) == 1 && fast.get() == 1);
}

void a_future_carries_a_value_or_an_exception(void **)
{
    checks::run(futures);
    assert_int_equal(counted::alive.load(), 0);
}

void the_end_of_a_future_cancels_its_fiber_and_waits(void **)
{
    checks::run(futures_end);
}

int let_out_of_fiber(void *)
{
    alarm(60);
    coir::run([] {
        coir::fiber f([] { throw std::runtime_error("nobody joins this"); });
        f.join();
    });
    return 1;
}

void an_exception_out_of_a_fiber_object_terminates(void **)
{
    char text[4096] = "";
    int status = test_child(let_out_of_fiber, nullptr, text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(std::strstr(text, "nobody joins this"));
}

// On a plain thread all of it blocks that thread.
void everything_works_on_plain_threads(void **)
{
    int ran = 0;
    coir::fiber f([&ran] { ran++; });
    f.join();
    coir::scope s;
    assert_true(s.spawn([&ran] { ran++; }));
    s.wait();
    assert_int_equal(coir::async([] { return 5; }).get(), 5);
    {
        coir::timeout t(100us);
        coir::scope stuck;
        coir_attr no_deadline = COIR_ATTR_INIT;
        no_deadline.deadline_ns = COIR_NEVER;
        stuck.spawn(sleep_for_ever, &no_deadline);
        assert_true(throws(ETIMEDOUT, [&stuck] { stuck.wait(); }));
        coir::fiber left(sleep_for_ever, &no_deadline); // destroyed past the deadline
    }
    assert_int_equal(ran, 2);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run_returns_what_the_function_returns_or_throws),
        cmocka_unit_test(a_fiber_runs_a_lambda_and_is_joined),
        cmocka_unit_test(the_end_of_its_handle_cancels_a_fiber_and_waits),
        cmocka_unit_test(the_attributes_cannot_detach_a_fiber_that_has_a_handle),
        cmocka_unit_test(timeouts_and_shields_are_objects),
        cmocka_unit_test(a_scope_spawns_lambdas_and_closes_itself),
        cmocka_unit_test(a_child_fails_by_exception_or_errno),
        cmocka_unit_test(a_future_carries_a_value_or_an_exception),
        cmocka_unit_test(the_end_of_a_future_cancels_its_fiber_and_waits),
        cmocka_unit_test(an_exception_out_of_a_fiber_object_terminates),
        cmocka_unit_test(everything_works_on_plain_threads),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
