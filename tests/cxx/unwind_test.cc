// tests/cxx/unwind_test.cc - many fibers throw, catch and unwind at the same time, on all workers.
// SPDX-License-Identifier: MIT
//
// Method: fibers nest catch blocks and destructors to a random depth and park in each of them; what
// they find there must be their own exception, and their own number of those in flight.
#include <atomic>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/fiber_test.h"

namespace {

struct mixture {
    int fibers, rounds;
    std::atomic<int> wrong{ 0 }, caught{ 0 };
};

struct fiber {
    mixture *all;
    unsigned random;
    int number;

    unsigned draw(unsigned below)
    {
        random = random * 1664525u + 1013904223u;
        return (random >> 16) % below;
    }
    void expect(bool holds)
    {
        if (!holds)
            all->wrong++;
    }
    void park()
    {
        switch (draw(4)) {
        case 0:
            coir_sleep(COIR_US(5));
            break;
        case 1:
            coir_join(coir_spawn([](void *arg) { return arg; }, nullptr), nullptr);
            break;
        default:
            coir_yield();
        }
    }
};

// Parks while an exception is on its way through; catches one of its own meanwhile.
class in_the_way {
  public:
    in_the_way(fiber &f, int in_flight) : f_(f), in_flight_(in_flight)
    {
    }
    ~in_the_way()
    {
        f_.expect(std::uncaught_exceptions() == in_flight_);
        f_.park();
        try {
            throw f_.number + 1000;
        } catch (int n) {
            f_.park();
            f_.expect(n == f_.number + 1000);
        }
        f_.expect(std::uncaught_exceptions() == in_flight_);
    }

  private:
    fiber &f_;
    int in_flight_;
};

std::string name(const fiber &f, int depth)
{
    return std::to_string(f.number) + ":" + std::to_string(depth);
}

// Throws at the bottom; on every level catches, parks, and throws again, the same or another.
void dive(fiber &f, int depth)
{
    try {
        in_the_way guard(f, 1);
        f.park();
        if (depth == 0)
            throw std::runtime_error(name(f, 0));
        dive(f, depth - 1);
    } catch (const std::runtime_error &e) {
        f.all->caught++;
        f.expect(std::uncaught_exceptions() == 0);
        std::string seen = e.what();
        f.park();
        f.expect(seen == e.what() &&
                 seen.compare(0, seen.find(':'), std::to_string(f.number)) == 0);
        if (f.draw(2))
            throw std::runtime_error(name(f, depth));
        throw;
    }
}

void *dive_often(void *arg)
{
    auto &f = *static_cast<fiber *>(arg);
    for (int round = 0; round < f.all->rounds; round++) {
        std::exception_ptr kept;
        try {
            dive(f, static_cast<int>(f.draw(5)));
            f.expect(false);
        } catch (...) {
            f.park();
            kept = std::current_exception();
        }
        f.park();
        f.expect(!std::current_exception() && std::uncaught_exceptions() == 0);
        try {
            std::rethrow_exception(kept);
        } catch (const std::exception &e) {
            f.expect(std::string(e.what()).find(std::to_string(f.number) + ":") == 0);
        }
    }
    return nullptr;
}

void mix(void *arg)
{
    auto *all = static_cast<mixture *>(arg);
    std::vector<fiber> fibers(static_cast<size_t>(all->fibers));
    std::vector<coir_fiber *> handles;
    for (int i = 0; i < all->fibers; i++) {
        coir_attr attr = COIR_ATTR_INIT;
        attr.flags = i % 2 ? COIR_SPREAD : 0;
        fibers[static_cast<size_t>(i)] = { all, static_cast<unsigned>(i), i };
        handles.push_back(coir_spawn_with(&attr, dive_often, &fibers[static_cast<size_t>(i)]));
    }
    for (coir_fiber *h : handles)
        coir_join(h, nullptr);
}

void exceptions_of_many_fibers_do_not_mix(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        mixture all;
        all.fibers = 20;
        all.rounds = test_scaled(200, 5);
        assert_int_equal(fiber_test_run(*w, mix, &all), 0);
        assert_int_equal(all.wrong.load(), 0);
        assert_true(all.caught.load() >= all.fibers * all.rounds);
    }
}

struct blocks {
    int wrong;
};

// A fiber is cancelled, or its time is up, deep inside; it throws, and cleans up in destructors.
struct cleans_up {
    blocks *b;
    ~cleans_up()
    {
        b->wrong += coir_sleep(1) != -1;
        COIR_SHIELD(COIR_SEC(60))
        {
            b->wrong += coir_sleep(COIR_US(10)) != 0;
        }
        b->wrong += coir_sleep(1) != -1;
    }
};

void *time_out_by_throw(void *arg)
{
    auto *b = static_cast<blocks *>(arg);
    for (int i = 0; i < 20; i++) {
        int64_t before = coir_deadline();
        try {
            COIR_TIMEOUT(COIR_US(100))
            {
                cleans_up guard{ b };
                while (coir_sleep(COIR_SEC(1000)) == 0)
                    ;
                throw errno;
            }
            b->wrong++;
        } catch (int err) {
            b->wrong += err != ETIMEDOUT;
        }
        b->wrong += coir_deadline() != before || coir_check() != 0;
    }
    return nullptr;
}

void *cancelled_by_throw(void *arg)
{
    auto *b = static_cast<blocks *>(arg);
    try {
        cleans_up guard{ b };
        while (coir_sleep(COIR_SEC(1000)) == 0)
            ;
        throw errno;
    } catch (int err) {
        b->wrong += err != ECANCELED || coir_check() != -1;
    }
    return nullptr;
}

void run_blocks(void *arg)
{
    coir_fiber *a = coir_spawn(time_out_by_throw, arg);
    coir_fiber *b = coir_spawn(cancelled_by_throw, arg);
    coir_sleep(COIR_MS(1));
    coir_cancel(b);
    coir_join(a, nullptr);
    coir_join(b, nullptr);
}

void blocks_left_by_exceptions_clean_up_and_restore(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        blocks b = { 0 };
        assert_int_equal(fiber_test_run(*w, run_blocks, &b), 0);
        assert_int_equal(b.wrong, 0);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exceptions_of_many_fibers_do_not_mix),
        cmocka_unit_test(blocks_left_by_exceptions_clean_up_and_restore),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
