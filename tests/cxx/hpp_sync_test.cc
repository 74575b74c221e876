// tests/cxx/hpp_sync_test.cc - coir.hpp: locks under the standard's guards, and channels.
// SPDX-License-Identifier: MIT
#include "checks.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <string>
#include <type_traits>
#include <vector>

using namespace std::chrono_literals;
using checks::counted;
using checks::spread;
using checks::throws;

namespace {

enum { FIBERS = 8 };

void guards()
{
    const int rounds = test_scaled(500, 20);
    coir::mutex m, n;
    int value = 0;
    coir::scope s;
    for (int i = 0; i < FIBERS; i++)
        s.spawn(
            [&] {
                for (int k = 0; k < rounds; k++) {
                    if (k % 3 == 0) {
                        std::scoped_lock both(m, n);
                        value++;
                    } else {
                        std::lock_guard<coir::mutex> lock(m);
                        int before = value;
                        if (k % 10 == 1)
                            coir::yield();
                        value = before + 1;
                    }
                }
            },
            spread());
    s.wait();
    CHECK(value == FIBERS * rounds);

    CHECK(coir::deadline_ns(std::chrono::nanoseconds::max()) == COIR_NEVER);
    std::unique_lock<coir::mutex> held(m);
    coir::async([&] {
        std::unique_lock<coir::mutex> other(m, std::defer_lock);
        CHECK(!other.try_lock());
        CHECK(!other.try_lock_for(100us));
        CHECK(!other.try_lock_until(std::chrono::steady_clock::now()));
        coir::timeout t(100us);
        CHECK(!other.try_lock_for(1000s));
        coir_cancel(coir_self());
        CHECK(throws(ECANCELED, [&] { (void)other.try_lock_for(1000s); }));
    }).get();
    held.unlock();
    CHECK(held.try_lock());
}

void readers()
{
    coir::shared_mutex m;
    std::atomic<int> inside{ 0 }, together{ 0 };
    int value = 0;
    coir::scope s;
    for (int i = 0; i < FIBERS; i++)
        s.spawn([&, i] {
            for (int k = 0; k < 50; k++)
                if ((i + k) % 4 == 0) {
                    std::unique_lock<coir::shared_mutex> lock(m);
                    CHECK(inside == 0);
                    value++;
                } else {
                    std::shared_lock<coir::shared_mutex> lock(m);
                    if (inside++)
                        together++;
                    coir::yield();
                    inside--;
                }
        });
    s.wait();
    CHECK(value == FIBERS * 50 / 4);
    CHECK(together > 0);
    std::shared_lock<coir::shared_mutex> read(m);
    CHECK(!m.try_lock());
    CHECK(m.try_lock_shared());
    m.unlock_shared();
}

void conditions()
{
    coir::mutex m;
    coir::condition_variable changed;
    int turn = 0;
    coir::scope s;
    for (int i = 0; i < FIBERS; i++)
        s.spawn(
            [&, i] {
                std::unique_lock<coir::mutex> lock(m);
                changed.wait(lock, [&] { return turn == i; });
                turn++;
                changed.notify_all();
            },
            spread());
    s.wait();
    CHECK(turn == FIBERS);
    std::unique_lock<coir::mutex> lock(m);
    CHECK(!changed.wait_for(lock, 100us, [] { return false; }));
    CHECK(changed.wait_until(lock, std::chrono::steady_clock::now(), [] { return true; }));
    CHECK(lock.owns_lock());
    coir::timeout t(100us);
    CHECK(throws(ETIMEDOUT, [&] { changed.wait_for(lock, 1000s, [] { return false; }); }));
    CHECK(throws(ETIMEDOUT, [&] { changed.wait(lock); }));
}

void mutexes_work_under_the_standards_guards(void **)
{
    checks::run(guards);
}

void shared_mutexes_let_readers_in_together(void **)
{
    checks::run(readers);
}

void condition_variables_wait_and_time_out(void **)
{
    checks::run(conditions);
}

template <typename Value, typename Make> void pass(size_t capacity, Make make)
{
    coir::channel<Value> c(capacity);
    std::atomic<int> sum{ 0 };
    coir::scope s;
    for (int i = 0; i < 3; i++)
        s.spawn(
            [&] {
                for (Value &v : c)
                    sum += *v;
            },
            spread());
    for (int i = 1; i <= 100; i++)
        CHECK(c.send(make(i)));
    c.close();
    s.wait();
    CHECK(sum == 5050);
    CHECK(!c.send(make(1)) && !c.recv() && !c.try_recv());
    CHECK(!c.try_send(make(1)));
}

// Trivially copyable, without a default.
struct number {
    explicit number(int n) : value(n)
    {
    }
    int operator*() const
    {
        return value;
    }
    int value;
};

void values()
{
    for (size_t capacity : { 0u, 1u, 8u }) {
        pass<number>(capacity, [](int n) { return number(n); });
        pass<std::unique_ptr<int>>(capacity, [](int n) { return std::make_unique<int>(n); });
        pass<std::shared_ptr<int>>(capacity, [](int n) { return std::make_shared<int>(n); });
    }
}

void leftovers()
{
    {
        coir::channel<counted> c(3);
        for (int i = 0; i < 3; i++)
            CHECK(c.send(counted(i)));
        counted refused(7);
        CHECK(!c.try_send(std::move(refused)) && refused.value == 7);
        CHECK(c.size() == 3 && counted::alive == 4);
        coir::timeout t(100us);
        CHECK(throws(ETIMEDOUT, [&] { c.send(counted(8)); }));
        CHECK(counted::alive == 4);
        coir::shield masked;
        CHECK(c.recv()->value == 0);
        CHECK(c.try_recv()->value == 1);
        CHECK(c.try_send(std::move(refused)) && c.size() == 2);
        coir::channel<counted> moved(std::move(c));
        CHECK(moved.size() == 2);
    }
    CHECK(counted::alive == 0);
    coir::channel<int> empty;
    coir::timeout t(100us);
    CHECK(!empty.try_recv());
    CHECK(throws(ETIMEDOUT, [&] { empty.recv(); }));
}

void selects()
{
    coir::channel<int> numbers;
    coir::channel<std::string> texts(1);
    coir::fiber sender([&] { numbers.send(5); });
    CHECK(texts.send("text"));
    int number = 0;
    std::string *text = nullptr;
    for (int i = 0; i < 2; i++) {
        coir_case cases[] = { COIR_CASE_RECV(numbers.native_handle(), &number),
                              COIR_CASE_RECV(texts.native_handle(), &text) };
        CHECK(coir_select(cases, 2, COIR_NEVER) >= 0);
    }
    std::unique_ptr<std::string> own(text);
    CHECK(number == 5 && own && *own == "text");
    sender.join();
}

void channels_pass_values_of_any_type(void **)
{
    checks::run(values);
}

void what_nobody_received_goes_with_the_channel(void **)
{
    checks::run(leftovers);
}

void a_channels_handle_is_for_select(void **)
{
    checks::run(selects);
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutexes_work_under_the_standards_guards),
        cmocka_unit_test(shared_mutexes_let_readers_in_together),
        cmocka_unit_test(condition_variables_wait_and_time_out),
        cmocka_unit_test(channels_pass_values_of_any_type),
        cmocka_unit_test(what_nobody_received_goes_with_the_channel),
        cmocka_unit_test(a_channels_handle_is_for_select),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
