/* bench/peers/boost_fiber.cc - Boost.Fiber.   Try: boost_fiber yield 1000
 * SPDX-License-Identifier: MIT
 *
 * Rows as in coir_bench.c and its companions. One thread has round_robin, several have
 * work_stealing, whose idle threads sleep: spinning ones are slower, but for a ping-pong. Stacks of
 * 16 KiB come from Boost's pool where they are reused (spawn_waves: ten times as fast as malloc),
 * else from malloc, where it touches half the pages. Both are unguarded: protected_fixedsize_stack
 * takes two memory maps per stack, and ends at about 32 000 fibers. */
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
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

void fail(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

void pingpong_row()
{
    fibers::unbuffered_channel<long> there, back;
    auto echo = spawn(fibers::fixedsize_stack(stack_bytes), [&] {
        for (long v; there.pop(v) == fibers::channel_op_status::success;)
            back.push(v);
    });
    run.t0 = clock_ns();
    for (long i = 0; i < run.n; i++) {
        there.push(i);
        if (back.value_pop() != i)
            fail("chan_pingpong: another number came back");
    }
    run.t1 = clock_ns();
    run.ops = run.n;
    there.close();
    echo.join();
}

template <typename Channel> void chan(Channel &&c)
{
    long sum = 0;
    run.t0 = clock_ns();
    auto producer = spawn(fibers::fixedsize_stack(stack_bytes), [&] {
        for (long i = 0; i < run.n; i++)
            c.push(i);
        c.close();
    });
    for (long v; c.pop(v) == fibers::channel_op_status::success;)
        sum += v;
    run.t1 = clock_ns();
    run.ops = run.n;
    producer.join();
    if (sum != run.n * (run.n - 1) / 2)
        fail("a message was lost");
}

void chan_unbuf_row()
{
    chan(fibers::unbuffered_channel<long>());
}

void chan_buf128_row()
{
    chan(fibers::buffered_channel<long>(128));
}

void mutex_row()
{
    std::vector<fibers::fiber> f;
    fibers::mutex mutex;
    std::atomic<long> started{ 0 };
    long value = 0;
    f.reserve(run.n);
    mutex.lock();
    for (long i = 0; i < run.n; i++)
        f.push_back(spawn(fibers::fixedsize_stack(stack_bytes), [&] {
            started++;
            for (long j = 0; j < BENCH_LOCKS; j++) {
                mutex.lock();
                value++;
                boost::this_fiber::yield();
                mutex.unlock();
            }
        }));
    while (started < run.n)
        boost::this_fiber::yield();
    run.t0 = clock_ns();
    mutex.unlock();
    for (auto &one : f)
        one.join();
    run.t1 = clock_ns();
    run.ops = run.n * BENCH_LOCKS;
    if (value != run.ops)
        fail("mutex: a count was lost");
}

using results = fibers::buffered_channel<long>;

void skynet(results &parent, long first, long size)
{
    if (size == 1) {
        parent.push(first);
        return;
    }
    results children(16);
    long sum = 0;
    fibers::fiber f[10];
    for (long i = 0; i < 10; i++)
        f[i] = spawn(fibers::fixedsize_stack(stack_bytes), [&children, first, size, i] {
            skynet(children, first + i * (size / 10), size / 10);
        });
    for (auto &one : f) {
        sum += children.value_pop();
        one.detach();
    }
    parent.push(sum);
}

void skynet_row()
{
    results top(2);
    run.t0 = clock_ns();
    spawn(pool, [&] { skynet(top, 0, run.n); }).detach();
    long sum = top.value_pop();
    run.t1 = clock_ns();
    run.ops = run.n;
    if (sum != run.n * (run.n - 1) / 2)
        fail("skynet: a wrong sum");
}

/* Run fn on this thread and workers - 1 more, which end when it has. */
void on_threads(unsigned workers, void (*fn)())
{
    std::vector<std::thread> others;
    fibers::mutex mutex;
    fibers::condition_variable ended;
    bool end = false;
    for (unsigned i = 1; i < workers; i++)
        others.emplace_back([&] {
            fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
            std::unique_lock<fibers::mutex> lock(mutex);
            ended.wait(lock, [&] { return end; });
        });
    if (workers > 1)
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
    fn();
    {
        std::unique_lock<fibers::mutex> lock(mutex);
        end = true;
    }
    ended.notify_all();
    for (auto &one : others)
        one.join();
}

/* Rows of one thread only share plain variables, or a pool. */
struct {
    const char *name;
    void (*fn)();
    unsigned workers_max;
} const rows[] = { { "yield", yield_row, 1 },
                   { "spawn_waves", spawn_waves_row, 1 },
                   { "spawn_once", spawn_once_row, 1 },
                   { "parked", parked_row, 1 },
                   { "chan_pingpong", pingpong_row, 64 },
                   { "chan_unbuf", chan_unbuf_row, 64 },
                   { "chan_buf128", chan_buf128_row, 64 },
                   { "mutex", mutex_row, 64 },
                   { "skynet", skynet_row, 1 } };

} // namespace

int main(int argc, char **argv)
{
    unsigned workers = argc > 3 ? atoi(argv[3]) : 1;
    run.n = argc > 2 ? atol(argv[2]) : 0;
    if (argc > 4 || run.n < 1 || workers < 1) {
        fprintf(stderr, "usage: %s ROW N [WORKERS]\n", argv[0]);
        return 2;
    }
    if (!strcmp(argv[1], "version")) {
        report_version("Boost", BOOST_LIB_VERSION);
        return 0;
    }
    for (const auto &row : rows) {
        if (strcmp(argv[1], row.name) || workers > row.workers_max)
            continue;
        on_threads(workers, row.fn);
        report(row.name, double(run.t1 - run.t0) / double(run.ops), run.ops,
               run.at_park.maps ? &run.at_park : nullptr, "");
        return 0;
    }
    fprintf(stderr, "%s: no row '%s' with %u threads\n", argv[0], argv[1], workers);
    return 2;
}
