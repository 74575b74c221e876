/* bench/peers/boost_fiber.cc - Boost.Fiber, round_robin, one thread.   Try: boost_fiber yield 1000
 * SPDX-License-Identifier: MIT
 *
 * Rows as in coir_bench.c. Stacks of 16 KiB come from Boost's pool where they are reused
 * (spawn_waves: ten times as fast as malloc), else from malloc, where it touches half the pages.
 * Both are unguarded: protected_fixedsize_stack takes two memory maps per stack, and ends at about
 * 32 000 fibers. */
#include <memory>
#include <vector>

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include "../report.h"

namespace fibers = boost::fibers;

namespace
{

constexpr std::size_t stack_bytes = 16 * 1024;

struct {
    long n, each, warm, done, parked, ops;
    int64_t t0, t1;
    memory at_park;
} run;

/* The thread's own allocator: every copy refers to one pool. */
fibers::pooled_fixedsize_stack pool(stack_bytes);

template <typename Fn, typename Stack> fibers::fiber spawn(Stack stack, Fn fn)
{
    return fibers::fiber(fibers::launch::post, std::allocator_arg, stack, fn);
}

void yielder()
{
    for (long i = 0; i < BENCH_WARM; i++)
        boost::this_fiber::yield();
    if (++run.warm == run.n)
        run.t0 = clock_ns();
    for (long i = 0; i < run.each; i++)
        boost::this_fiber::yield();
    if (++run.done == run.n)
        run.t1 = clock_ns();
}

void yield_row()
{
    std::vector<fibers::fiber> f;
    f.reserve(run.n);
    run.each = BENCH_YIELDS / run.n;
    run.ops = run.each * run.n;
    for (long i = 0; i < run.n; i++)
        f.push_back(spawn(fibers::fixedsize_stack(stack_bytes), yielder));
    for (auto &one : f)
        one.join();
}

template <typename Stack> void waves(long size, Stack stack)
{
    std::vector<fibers::fiber> f;
    f.reserve(size);
    run.t0 = clock_ns();
    for (; run.ops < run.n; run.ops += size) {
        for (long i = 0; i < size; i++)
            f.push_back(spawn(stack, [] {}));
        for (auto &one : f)
            one.join();
        f.clear();
    }
    run.t1 = clock_ns();
}

void spawn_waves_row()
{
    waves(BENCH_WAVE, pool);
}

void spawn_once_row()
{
    waves(run.n, fibers::fixedsize_stack(stack_bytes));
}

void parked_row()
{
    std::vector<fibers::fiber> f;
    fibers::mutex mutex;
    fibers::condition_variable released;
    bool release = false;
    f.reserve(run.n);
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++)
        f.push_back(spawn(fibers::fixedsize_stack(stack_bytes), [&] {
            std::unique_lock<fibers::mutex> lock(mutex);
            run.parked++;
            released.wait(lock, [&] { return release; });
        }));
    while (run.parked < run.n)
        boost::this_fiber::yield();
    run.t1 = clock_ns();
    run.ops = run.n;
    run.at_park = memory_now();
    release = true;
    released.notify_all();
    for (auto &one : f)
        one.join();
}

struct {
    const char *name;
    void (*fn)();
} const rows[] = { { "yield", yield_row },
                   { "spawn_waves", spawn_waves_row },
                   { "spawn_once", spawn_once_row },
                   { "parked", parked_row } };

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3 || (run.n = atol(argv[2])) < 1) {
        fprintf(stderr, "usage: %s yield|spawn_waves|spawn_once|parked N\n", argv[0]);
        return 2;
    }
    if (!strcmp(argv[1], "version")) {
        report_version("Boost", BOOST_LIB_VERSION);
        return 0;
    }
    for (const auto &row : rows) {
        if (strcmp(argv[1], row.name))
            continue;
        row.fn();
        report(row.name, double(run.t1 - run.t0) / double(run.ops), run.ops,
               run.at_park.maps ? &run.at_park : nullptr, "");
        return 0;
    }
    fprintf(stderr, "%s: no row '%s'\n", argv[0], argv[1]);
    return 2;
}
