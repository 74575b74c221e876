// tests/cxx/dump_test.cc - a dump leaves the C++ runtime's state of a fiber alone.
// SPDX-License-Identifier: MIT
#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>

#include "support/fiber_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace {

struct shared {
    std::atomic<int> dumps, stop, failed;
};

struct thrower {
    shared *all;
    int number, wrong;
};

// Parks with an exception in flight, and with one caught, each time until a dump has come.
void wait_for_dump(shared *all)
{
    int seen = all->dumps;
    while (all->dumps < seen + 2)
        coir_sleep(COIR_US(100));
}

struct parks_on_the_way {
    thrower *t;
    ~parks_on_the_way()
    {
        wait_for_dump(t->all);
        t->wrong += std::uncaught_exceptions() != 1;
    }
};

void *throw_around(void *arg)
{
    auto *t = static_cast<thrower *>(arg);
    const std::string mine = "exception " + std::to_string(t->number);
    for (int i = 0; i < 3; i++) {
        try {
            try {
                parks_on_the_way guard{ t };
                throw std::runtime_error(mine);
            } catch (...) {
                wait_for_dump(t->all);
                throw;
            }
        } catch (const std::exception &e) {
            t->wrong += e.what() != mine;
        }
        t->wrong += std::uncaught_exceptions() != 0;
    }
    return nullptr;
}

void *dump_on_and_on(void *arg)
{
    auto *all = static_cast<shared *>(arg);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (!all->stop) {
        all->failed += coir_dump(null) < 0;
        all->dumps++;
    }
    close(null);
    return nullptr;
}

enum { THROWERS = 8 };

struct scene {
    shared all;
    thrower throwers[THROWERS];
};

void throw_while_dumped(void *arg)
{
    auto *s = static_cast<scene *>(arg);
    coir_fiber *fibers[THROWERS];
    pthread_t thread;
    pthread_create(&thread, nullptr, dump_on_and_on, &s->all);
    coir_attr attr = COIR_ATTR_INIT;
    attr.flags = COIR_SPREAD;
    for (int i = 0; i < THROWERS; i++) {
        s->throwers[i] = { &s->all, i, 0 };
        fibers[i] = coir_spawn_with(&attr, throw_around, &s->throwers[i]);
    }
    for (auto *f : fibers)
        coir_join(f, nullptr);
    s->all.stop = 1;
    pthread_join(thread, nullptr);
}

// Goal: exceptions in flight and caught are the fiber's own after a dump.
void exceptions_survive_a_dump(void **)
{
    for (const unsigned *w = test_workers; *w; w++) {
        scene s{};
        assert_int_equal(fiber_test_run(*w, throw_while_dumped, &s), 0);
        assert_int_equal(s.all.failed, 0);
        for (const auto &t : s.throwers)
            assert_int_equal(t.wrong, 0);
    }
}

} // namespace

int main()
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exceptions_survive_a_dump),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
